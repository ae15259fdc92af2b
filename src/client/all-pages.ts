/** Lists that brokers tell page by page. Runs in browsers. */
import { LISTED_MAX } from '../limits/client.js';

/** The items of all pages; of a broker that never comes to an end the first LISTED_MAX. */
export async function allPages<Item>(
  ask: (pageToken: string) => Promise<{ readonly items: readonly Item[]; readonly nextPageToken: string }>,
): Promise<Item[]> {
  const all: Item[] = [];
  let pageToken = '';
  do {
    const { items, nextPageToken } = await ask(pageToken);
    all.push(...items);
    pageToken = nextPageToken;
  } while (pageToken !== '' && all.length < LISTED_MAX);
  return all;
}

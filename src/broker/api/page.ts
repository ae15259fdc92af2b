/** Pages of long lists: the token of a page is the number of the last item before it. */
import { invalid } from '../../errors.js';
import { SUBSCRIPTIONS_PAGE_BYTES, SUBSCRIPTIONS_PAGE_MAX } from '../../limits.js';
import { countOf, textOf } from '../../subscriptions/request/values.js';
import { shown } from '../../text/shown.js';

/** As a request has it, from any transport. */
export interface PageRequest {
  readonly pageSize?: unknown;
  readonly pageToken?: unknown;
}

export interface Page {
  readonly size: number;
  /** The items that follow the one with this number. */
  readonly after: number;
}

const TOKEN = /^\d{1,15}$/;

/** @throws BackplaneError invalid_argument, naming the field */
export function pageOf({ pageSize, pageToken }: PageRequest): Page {
  const size = countOf('page_size', pageSize, SUBSCRIPTIONS_PAGE_MAX);
  const token = textOf('page_token', pageToken);
  if (token !== '' && !TOKEN.test(token)) {
    throw invalid('page_token', `must be what the answer before said, got ${shown(token)}`);
  }
  return { size: size === 0 ? SUBSCRIPTIONS_PAGE_MAX : size, after: Number(token) };
}

/** The items of a page, and the token of the next one; empty where there is none. */
export function onePage<Item extends { readonly number: number }>(
  items: Iterable<Item>,
  { size, after }: Page,
  bytesOf: (item: Item) => number,
): { readonly items: readonly Item[]; readonly nextPageToken: string } {
  const taken: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    if (item.number <= after) continue;
    const last = taken.at(-1);
    if (last !== undefined && (taken.length >= size || bytes >= SUBSCRIPTIONS_PAGE_BYTES)) {
      return { items: taken, nextPageToken: String(last.number) };
    }
    taken.push(item);
    bytes += bytesOf(item);
  }
  return { items: taken, nextPageToken: '' };
}

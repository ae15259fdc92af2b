/** Pages of long lists: the token of a page is the key of the last item before it, by which the list is in order. */
import { invalid } from '../../errors.js';
import { NAME_BYTES_MAX, PAGE_BYTES, PAGE_ITEMS_MAX } from '../../limits.js';
import { countOf, textOf } from '../../subscriptions/request/values.js';
import { shown } from '../../text/shown.js';

/** As a request has it, from any transport. */
export interface PageRequest {
  readonly pageSize?: unknown;
  readonly pageToken?: unknown;
}

export interface Page<Key extends number | string> {
  readonly size: number;
  /** The items that follow the one with this key. */
  readonly after: Key;
}

const NUMBER = /^\d{1,15}$/;
const NAME = new RegExp(`^[\\x21-\\x7e]{1,${NAME_BYTES_MAX}}$`);

/** Of items that are numbered. @throws BackplaneError invalid_argument, naming the field */
export function pageByNumber(request: PageRequest): Page<number> {
  const { size, token } = read(request, NUMBER);
  return { size, after: Number(token) };
}

/** Of items that have names. @throws BackplaneError invalid_argument, naming the field */
export function pageByName(request: PageRequest): Page<string> {
  const { size, token } = read(request, NAME);
  return { size, after: token };
}

function read({ pageSize, pageToken }: PageRequest, form: RegExp): { readonly size: number; readonly token: string } {
  const size = countOf('page_size', pageSize, PAGE_ITEMS_MAX);
  const token = textOf('page_token', pageToken);
  if (token !== '' && !form.test(token)) {
    throw invalid('page_token', `must be what the answer before said, got ${shown(token)}`);
  }
  return { size: size === 0 ? PAGE_ITEMS_MAX : size, token };
}

/**
 * The items of a page, and the token of the next one; empty where there is none.
 * @param items in the order of their keys
 */
export function onePage<Item, Key extends number | string>(
  items: Iterable<Item>,
  { size, after }: Page<Key>,
  keyOf: (item: Item) => Key,
  bytesOf: (item: Item) => number,
): { readonly items: readonly Item[]; readonly nextPageToken: string } {
  const taken: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    if (keyOf(item) <= after) continue;
    const last = taken.at(-1);
    if (last !== undefined && (taken.length >= size || bytes >= PAGE_BYTES)) {
      return { items: taken, nextPageToken: String(keyOf(last)) };
    }
    taken.push(item);
    bytes += bytesOf(item);
  }
  return { items: taken, nextPageToken: '' };
}

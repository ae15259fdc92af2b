/**
 * Tells whether a cursor that names some nodes is short enough, from the sizes
 * of its parts. A cursor goes out with every batch, and one batch changes one
 * node: measuring that node costs little, encoding the cursor once more to
 * see whether it fits would cost as much as the cursor itself.
 */
import { CURSOR_BYTES_MAX, NAME_BYTES_MAX, PARTITIONS } from '../../../limits.js';
import { type CursorState, encodeCursor, encodeNote } from '../../../wire/cursor.js';
import type { NodeView } from './node-view.js';

const U32_MAX = 2 ** 32 - 1;
const U64_MAX = 2n ** 64n - 1n;

export class CursorSize {
  /** By view, the size of its entry in a cursor, until the view changes. */
  readonly #bytes = new Map<NodeView, number>();
  readonly #restBytes: number;

  constructor(asked: Pick<CursorState, 'selectors'>) {
    this.#restBytes = REST_BYTES_MAX + selectorsBytes(asked);
  }

  /** @param view has changed, so that it is measured again before it is next counted */
  changed(view: NodeView): void {
    this.#bytes.delete(view);
  }

  /** False when only encoding the cursor can tell, because it takes more than some seven eighths of CURSOR_BYTES_MAX. */
  surelyFits(named: Iterable<NodeView>): boolean {
    let bytes = this.#restBytes;
    for (const view of named) bytes += this.#of(view);
    return base64Length(bytes) <= CURSOR_BYTES_MAX;
  }

  #of(view: NodeView): number {
    let bytes = this.#bytes.get(view);
    if (bytes === undefined) {
      // A note has the same entries as a cursor. With one entry it is a few bytes longer, so the sum is never too small.
      bytes = encodeNote({ id: 0, before: undefined, nodes: [view.toCursor()] }).length;
      this.#bytes.set(view, bytes);
    }
    return bytes;
  }
}

/** Size of a cursor without nodes, with its checksum, when everything else in it is as long as it can be. */
const REST_BYTES_MAX = longestRest();

function longestRest(): number {
  const number = Number.MAX_SAFE_INTEGER;
  const state = {
    clusterId: 'f'.repeat(16),
    predicateId: U64_MAX,
    sinceNs: U64_MAX,
    nodes: [],
    note: { partition: PARTITIONS - 1, offset: number, id: U32_MAX },
  };
  const position = { epoch: number, timeNs: U64_MAX, lane: 0xffff, tie: U32_MAX };
  const history = { wallNs: U64_MAX, node: 'n'.repeat(NAME_BYTES_MAX), position };
  const places = Array.from({ length: PARTITIONS }, () => ({ offset: number, mark: U32_MAX, index: 0xffff }));
  // A cursor has either a place in a replay or places in the log.
  return Math.max(encodedBytes({ ...state, history, places: [] }), encodedBytes({ ...state, places }));
}

/** Of selectors, beyond a predicate's id. */
function selectorsBytes({ selectors }: Pick<CursorState, 'selectors'>): number {
  if (selectors === undefined) return 0;
  const topicBytes = selectors.topics.reduce((bytes, topic) => bytes + topic.length + 2, 0);
  return topicBytes + selectors.each.length * 18 + 10;
}

function encodedBytes(state: CursorState): number {
  return Buffer.from(encodeCursor(state)!, 'base64url').length;
}

function base64Length(bytes: number): number {
  return Math.ceil((bytes * 4) / 3);
}

/** Whether a cursor stands within the depth of history that its bearer may have. */
import { msToNs } from '../../../nanoseconds.js';
import type { CursorState } from '../../../wire/cursor.js';
import { cursorBeyondDepth } from '../../access/authorize.js';
import type { LogStore } from '../../log/log-store.js';

/**
 * What lies between a cursor and the floor would be missing without a word, so such a cursor is refused. In a replay
 * its place in merged order says where it stands; later the first frame that it would read does.
 * Throws permission_denied, naming the floor.
 */
export async function checkDepth(
  { history, sinceNs = 0n, places }: CursorState,
  topics: readonly string[],
  store: LogStore,
  floorNs: bigint,
): Promise<void> {
  if (history !== undefined) {
    const standsNs = history.wallNs > sinceNs ? history.wallNs : sinceNs;
    if (standsNs < floorNs) throw cursorBeyondDepth(floorNs);
    return;
  }
  for (const [partition, { offset }] of places.entries()) {
    const reader = store.partition(partition).reader(offset, new Set(topics));
    try {
      let item = await reader.next();
      while (item !== undefined && item.kind !== 'frame') item = await reader.next();
      if (item !== undefined && msToNs(item.appendedMs) < floorNs) throw cursorBeyondDepth(floorNs);
    } finally {
      reader.close();
    }
  }
}

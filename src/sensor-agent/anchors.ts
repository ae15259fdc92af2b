/** Finds the checkpoint at which to open a recording. */
import type { SegmentLog } from '../storage/segment-log.js';
import { comparePositions, type Position } from '../wire/position.js';
import { readCheckpoint } from './replay.js';

export interface Anchor {
  readonly ordinal: number;
  /** Everything up to here is behind the checkpoint. */
  readonly position: Position;
}

/** The newest checkpoint at or before a position; the oldest one where the recorder does not reach back so far. */
export function anchorAtPosition(log: SegmentLog, position: Position): Anchor | undefined {
  let found: Anchor | undefined;
  for (const { ordinal } of log.anchors()) {
    const head = readCheckpoint(log, ordinal)?.[0]?.head;
    if (!head) continue;
    found = { ordinal, position: head.position };
    if (comparePositions(head.position, position) <= 0) return found;
  }
  return found;
}

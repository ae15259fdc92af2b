/** Finds the checkpoint at which to open a recording. */
import type { SegmentLog } from '../storage/segment-log.js';
import { comparePositions, type Position } from '../wire/position.js';
import type { Checkpoint } from './checkpoint.js';
import { readCheckpoint, readCheckpointHead } from './replay.js';

export interface Anchor {
  readonly ordinal: number;
  /** Everything up to here is behind the checkpoint. */
  readonly position: Position;
  readonly checkpoint: readonly Checkpoint[];
}

/** The newest checkpoint at or before a position; the oldest one where the recorder does not reach back so far. */
export function anchorAtPosition(log: SegmentLog, position: Position): Anchor | undefined {
  const ordinals = Array.from(log.anchors(), ({ ordinal }) => ordinal);
  // Newest first, so that those at or before the position are at the end.
  let at = 0;
  for (let end = ordinals.length; at < end; ) {
    const middle = (at + end) >>> 1;
    const head = readCheckpointHead(log, ordinals[middle]!);
    if (head && comparePositions(head.position, position) <= 0) end = middle;
    else at = middle + 1;
  }
  const whole = (ordinal: number) => wholeAnchor(log, ordinal);
  return firstOf(ordinals.slice(at), whole) ?? firstOf(ordinals.slice(0, at).toReversed(), whole);
}

function firstOf<T, R>(items: readonly T[], find: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = find(item);
    if (found) return found;
  }
  return undefined;
}

function wholeAnchor(log: SegmentLog, ordinal: number): Anchor | undefined {
  const checkpoint = readCheckpoint(log, ordinal);
  const position = checkpoint?.[0]?.head?.position;
  return checkpoint && position && { ordinal, position, checkpoint };
}

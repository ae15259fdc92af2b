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
  const later: number[] = [];
  for (const { ordinal } of log.anchors()) {
    const head = readCheckpointHead(log, ordinal);
    if (!head) continue;
    later.push(ordinal);
    if (comparePositions(head.position, position) > 0) continue;
    const anchor = wholeAnchor(log, ordinal);
    if (anchor) return anchor;
  }
  for (const ordinal of later.toReversed()) {
    const anchor = wholeAnchor(log, ordinal);
    if (anchor) return anchor;
  }
  return undefined;
}

function wholeAnchor(log: SegmentLog, ordinal: number): Anchor | undefined {
  const checkpoint = readCheckpoint(log, ordinal);
  const position = checkpoint?.[0]?.head?.position;
  return checkpoint && position && { ordinal, position, checkpoint };
}

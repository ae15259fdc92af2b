/**
 * Finds the checkpoint at which to open a recording. A checkpoint that cannot
 * be read whole is skipped: an older one serves as well, with more records to
 * read from there.
 */
import { BackplaneError } from '../../errors.js';
import { partitionPoint } from '../../flow/partition-point.js';
import type { SegmentLog } from '../../storage/segment-log/segment-log.js';
import { comparePositions, type Position } from '../../wire/position.js';
import type { Checkpoint, CheckpointHead } from './checkpoint.js';
import { CHECKPOINT_HEAD_SHAPE, CHECKPOINT_SHAPE, CLOCK_BEFORE_SHAPE, checkShape } from './record-shape.js';
import { RecordKind, unpackRecord } from './recording.js';

/** A checkpoint of which every part can be read. */
export interface Anchor {
  readonly ordinal: number;
  /** Everything up to `head.position` was told before the checkpoint. */
  readonly head: CheckpointHead;
  readonly checkpoint: readonly Checkpoint[];
}

/** All whole checkpoints, newest first. */
export function* wholeAnchors(log: SegmentLog): Generator<Anchor> {
  for (const { ordinal } of log.anchors()) {
    const anchor = wholeAnchor(log, ordinal);
    if (anchor) yield anchor;
  }
}

/** The checkpoints to open at when reading the recording backwards, stretch by stretch; undefined: the log's start. */
export function* stretches(log: SegmentLog): Generator<Anchor | undefined> {
  let from = log.nextOrdinal;
  for (const anchor of wholeAnchors(log)) {
    from = anchor.head.resumeOrdinal;
    yield anchor;
  }
  if (from > log.firstOrdinal) yield undefined;
}

/** The newest whole checkpoint at or before a time (wall, nanoseconds); undefined when none reaches back so far. */
export function anchorAtTime(log: SegmentLog, timeNs: bigint): Anchor | undefined {
  for (const anchor of log.anchors()) {
    const whole = anchor.timeNs <= timeNs ? wholeAnchor(log, anchor.ordinal) : undefined;
    if (whole) return whole;
  }
  return undefined;
}

/** The newest whole checkpoint at or before a position; undefined when none reaches back so far. */
export function anchorAtPosition(log: SegmentLog, position: Position): Anchor | undefined {
  const ordinals = Array.from(log.anchors(), ({ ordinal }) => ordinal);
  const before = (head: CheckpointHead | undefined) => head && comparePositions(head.position, position) <= 0;
  let misled = false;
  // Newest first, so that those at or before the position are at the end.
  const at = partitionPoint(0, ordinals.length, (index) => {
    const head = readHead(log, ordinals[index]!);
    misled ||= head === undefined;
    return !before(head);
  });
  for (const ordinal of ordinals.slice(at)) {
    const anchor = wholeAnchor(log, ordinal);
    if (anchor) return anchor;
  }
  // An unreadable head may have led the search past every usable checkpoint, so the newer ones are tried too.
  for (const ordinal of misled ? ordinals.slice(0, at) : []) {
    const anchor = before(readHead(log, ordinal)) && wholeAnchor(log, ordinal);
    if (anchor) return anchor;
  }
  return undefined;
}

export function oldestAnchor(log: SegmentLog): Anchor | undefined {
  for (const { ordinal } of [...log.anchors()].reverse()) {
    const anchor = wholeAnchor(log, ordinal);
    if (anchor) return anchor;
  }
  return undefined;
}

export function wholeAnchor(log: SegmentLog, ordinal: number): Anchor | undefined {
  const checkpoint = readParts(log, ordinal, Number.MAX_SAFE_INTEGER);
  const head = checkpoint?.[0]?.head;
  return checkpoint && head && { ordinal, head, checkpoint };
}

/** Reads a checkpoint's head only: its other parts may still be unreadable. */
export function readHead(log: SegmentLog, ordinal: number): CheckpointHead | undefined {
  return readParts(log, ordinal, 1)?.[0]?.head;
}

/** The first `partsMax` parts of the checkpoint at an anchor; undefined when one of them cannot be read. */
function readParts(log: SegmentLog, anchor: number, partsMax: number): Checkpoint[] | undefined {
  const reader = log.reader(anchor);
  const parts: Checkpoint[] = [];
  try {
    do {
      const item = reader.next();
      if (item?.kind !== 'record' || item.recordKind !== RecordKind.CHECKPOINT) return undefined;
      const part = unpackRecord<Checkpoint>(item.payload, CHECKPOINT_SHAPE);
      if (part.head !== undefined) checkShape(part.head, CHECKPOINT_HEAD_SHAPE);
      if (part.head?.before !== undefined) checkShape(part.head.before, CLOCK_BEFORE_SHAPE);
      if (part.part !== parts.length || (part.part === 0) !== (part.head !== undefined)) return undefined;
      parts.push(part);
    } while (parts.length < Math.min(partsMax, parts[0]!.parts));
    return parts;
  } catch (cause) {
    if (cause instanceof BackplaneError) return undefined;
    throw cause;
  } finally {
    reader.close();
  }
}

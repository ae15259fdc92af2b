/**
 * What of an owed range the log has forgotten, or cannot read any more: between which positions it lies, by the frames
 * around it, and how much of what is owed it is, by what the other frames of the range say.
 */
import { Turns } from '../../../flow/turns.js';
import { REFILL_COUNTED_FRAMES_MAX } from '../../../limits.js';
import type { Frame } from '../../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../../wire/position.js';
import type { LogItem, PartitionReader } from '../../log/partition-log.js';
import { NONE_OWED, type OwedTally, owedOf, owedTogether, owedWithout } from '../selectors/owed-tally.js';
import type { OwedStretch } from './owed-stretch.js';

export type LogGap = Exclude<LogItem, { kind: 'frame' }>;

/** Positions in (from, to]; undefined if unknown. */
export interface LostStretch {
  readonly why: LogGap['kind'];
  readonly from: Position | undefined;
  readonly to: Position | undefined;
  /** What is owed of it; undefined if unknown. */
  readonly due: OwedTally | undefined;
  /** Offset behind it. */
  readonly offsetTo: number;
}

/** A range of which nothing before the gap is owed any more. */
export interface GappedRange {
  readonly node: string;
  /** Position up to which frames before the gap reach, or to which events were refilled. */
  readonly from: Position | undefined;
  /** What is owed of the range; undefined if unknown. */
  readonly due: OwedTally | undefined;
  /** Offset at which the range ends. */
  readonly end: number;
  /** Offset up to which the log was delivered, at or after `end`, and the position that the topic's frames reach there. */
  readonly delivered: number;
  readonly reached: Position | undefined;
  /** What is owed because of a frame behind the gap. */
  readonly owedOf: (frame: Frame) => OwedStretch | undefined;
}

/** @param reader stands behind the gap. Undefined where the log gives nothing at this moment. */
export async function lostStretch(
  reader: PartitionReader,
  gap: LogGap,
  range: GappedRange,
): Promise<LostStretch | undefined> {
  const { node, from, end, delivered } = range;
  let offsetTo = gap.offsetTo;
  let to: Position | undefined;
  let rest: OwedTally | undefined = NONE_OWED;
  let read = 0;
  const turns = new Turns();
  for (; read < REFILL_COUNTED_FRAMES_MAX; read++) {
    if (turns.over) await turns.give();
    const item = await reader.next();
    if (item === undefined && reader.offset < delivered) return undefined;
    const offset = item === undefined ? delivered : item.kind === 'frame' ? item.offset : item.offsetFrom;
    if (item === undefined || offset >= delivered || (offset >= end && to !== undefined)) break;
    if (item.kind !== 'frame') {
      // Both are one gap if no frame of the node is between them; else how much is owed of either is not known.
      if (to === undefined) offsetTo = item.offsetTo;
      else rest = undefined;
    } else if (item.node === node) {
      to ??= item.frame.coveredFrom;
      if (offset < end) rest = owedTogether(rest, dueOf(range.owedOf(item.frame)));
    }
  }
  const whole = read < REFILL_COUNTED_FRAMES_MAX;
  if (whole) to ??= range.reached;
  const apart = from === undefined || to === undefined || comparePositions(to, from) > 0;
  const due = apart ? owedWithout(range.due, whole ? rest : undefined) : NONE_OWED;
  return { why: gap.kind, from, to, due, offsetTo: Math.min(offsetTo, end) };
}

function dueOf(stretch: OwedStretch | undefined): OwedTally | undefined {
  if (stretch === undefined) return NONE_OWED;
  return stretch.due && owedOf(stretch.kind, stretch.due);
}

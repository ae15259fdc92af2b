/** Selects the part of one live frame that one subscription gets. */

import { partitionPoint } from '../../../flow/partition-point.js';
import { eventWallNs } from '../../../wire/event/event-time.js';
import type { Frame, Match } from '../../../wire/frame/frame.js';
import { positionAt } from '../../../wire/frame/frame-columns.js';
import { type Selection, selectEvents, sliceEvents } from '../../../wire/frame/splice.js';
import { comparePositions, type Position } from '../../../wire/position.js';
import type { Ahead } from '../cursor/node-view.js';

export interface LiveCut {
  /** Position up to which events were delivered before. */
  readonly floor: Position | undefined;
  /** End of the window in wall nanoseconds by the node's clock, exclusive; undefined if it has no end. */
  readonly untilNs: bigint | undefined;
  readonly countMax: number;
  /** Returns false for events that must not be delivered. */
  readonly admit?: ((element: Buffer) => boolean) | undefined;
}

/** Undefined when no event of the frame matches, not even one that `admit` refused. */
export function selectLive(frame: Frame, predicateId: bigint, cut: LiveCut): Selection | undefined {
  const match = matchOf(frame, predicateId);
  if (match === undefined) return undefined;
  const from = cut.floor === undefined ? 0 : firstAfter(frame, cut.floor);
  const to = cut.untilNs === undefined ? frame.count : firstAtOrAfter(frame, cut.untilNs);
  const selection = selectEvents(frame, match, from, to, cut.countMax, cut.admit);
  if (selection.count + selection.refused === 0) return undefined;
  return frame.namedFields ? { ...selection, namedFields: true } : selection;
}

/** Number of events of a frame that a node shed for one subscription. */
export interface ShedPart {
  /** 0 when `unknown` is true. */
  readonly events: number;
  /** True when only a part of the frame is missing: nodes state the count of the whole frame only. */
  readonly unknown: boolean;
}

/** Undefined when nothing was shed. `ahead` is what history delivered of the topic's next frame. */
export function shedOf(
  frame: Frame,
  predicateId: bigint,
  { floor, untilNs }: Pick<LiveCut, 'floor' | 'untilNs'>,
  ahead?: Ahead | undefined,
): ShedPart | undefined {
  const events = frame.shed.find((each) => each.predicateId === predicateId)?.events ?? 0;
  if (events === 0 || (floor && comparePositions(frame.coveredTo, floor) <= 0)) return undefined;
  const begun = floor !== undefined && comparePositions(floor, frame.coveredFrom) > 0;
  const had = begun ? hadOf(frame, ahead) : 0;
  if (had === undefined || had > events || (untilNs !== undefined && frame.watermarkNs >= untilNs)) {
    return { events: 0, unknown: true };
  }
  return had === events ? undefined : { events: events - had, unknown: false };
}

/** Number of matches of a frame that came as history; undefined if unknown. */
export function hadOf(frame: Frame, ahead: Ahead | undefined): number | undefined {
  return ahead !== undefined && comparePositions(ahead.from, frame.coveredFrom) === 0 ? ahead.events : undefined;
}

/** Match lists by predicate. Frames are shared by all subscriptions, so each frame is indexed only once. */
const indexed = new WeakMap<Frame, ReadonlyMap<bigint, Match>>();
const SCANNED_MAX = 8;

function matchOf(frame: Frame, predicateId: bigint): Match | undefined {
  if (frame.matches.length <= SCANNED_MAX) return frame.matches.find((match) => match.predicateId === predicateId);
  let index = indexed.get(frame);
  if (index === undefined) {
    index = new Map(frame.matches.map((match) => [match.predicateId, match]));
    indexed.set(frame, index);
  }
  return index.get(predicateId);
}

function firstAfter(frame: Frame, floor: Position): number {
  if (comparePositions(floor, frame.coveredFrom) <= 0) return 0;
  return partitionPoint(
    0,
    frame.count,
    (index) => comparePositions(positionAt(frame.coveredTo.epoch, frame, index), floor) <= 0,
  );
}

/** Wall times do not decrease within a frame, and none exceeds its watermark. */
function firstAtOrAfter(frame: Frame, untilNs: bigint): number {
  if (frame.watermarkNs !== 0n && frame.watermarkNs < untilNs) return frame.count;
  return partitionPoint(
    0,
    frame.count,
    (index) => eventWallNs(sliceEvents(frame, index, index + 1).parts[0]!) < untilNs,
  );
}

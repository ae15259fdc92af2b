/** Selects the part of one live frame that one subscription gets. */

import { partitionPoint } from '../../../flow/partition-point.js';
import { eventWallNs } from '../../../wire/event/event-time.js';
import type { Frame } from '../../../wire/frame/frame.js';
import { positionAt } from '../../../wire/frame/frame-columns.js';
import { type Selection, sliceEvents } from '../../../wire/frame/splice.js';
import { comparePositions, laterPosition, type Position } from '../../../wire/position.js';
import type { Ahead } from '../cursor/node-view.js';
import type { SelectorSet } from '../selectors/selector-set.js';
import { exceeds, NONE, type Tally, without } from '../selectors/tally.js';

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
export function selectLive(frame: Frame, selectors: SelectorSet, cut: LiveCut): Selection | undefined {
  const from = cut.floor === undefined ? 0 : firstAfter(frame, cut.floor);
  const to = cut.untilNs === undefined ? frame.count : firstAtOrAfter(frame, cut.untilNs);
  const selection = selectors.ofFrame(frame, from, to, cut.countMax, cut.admit);
  if (selection === undefined || selection.count + selection.refused === 0) return undefined;
  return frame.namedFields ? { ...selection, namedFields: true } : selection;
}

/** The events of a frame that a node shed for one subscription. */
export interface ShedPart {
  /** None when `unknown` is true. */
  readonly tally: Tally;
  /** True when only a part of the frame is missing: nodes state the count of the whole frame only. */
  readonly unknown: boolean;
  /** With selectors: whether events of a selector are missing. */
  readonly concerns: (selector: number) => boolean;
}

/** A part of a topic's frames, (from, to]. */
export type Stretch = Pick<Frame, 'topic' | 'coveredFrom' | 'coveredTo'>;

/** What a frame has behind a position: the frame may begin before it, as those do that a node sends again. */
export function behind({ topic, coveredFrom, coveredTo }: Frame, floor: Position | undefined): Stretch {
  return { topic, coveredFrom: laterPosition(coveredFrom, floor), coveredTo };
}

/** Undefined when nothing was shed. `ahead` is what history delivered of the topic's next frame. */
export function shedOf(
  frame: Frame,
  selectors: SelectorSet,
  { floor, untilNs }: Pick<LiveCut, 'floor' | 'untilNs'>,
  ahead?: Ahead | undefined,
): ShedPart | undefined {
  const shed = selectors.shedIn(frame);
  if (shed.events === 0 || (floor && comparePositions(frame.coveredTo, floor) <= 0)) return undefined;
  const begun = floor !== undefined && comparePositions(floor, frame.coveredFrom) > 0;
  const had = begun ? hadOf(frame, ahead) : NONE;
  if (had === undefined || exceeds(had, shed) || (untilNs !== undefined && frame.watermarkNs >= untilNs)) {
    return { tally: NONE, unknown: true, concerns: (selector) => (shed.of[selector] ?? 0) > 0 };
  }
  const tally = without(shed, had);
  if (tally.events === 0) return undefined;
  return { tally, unknown: false, concerns: (selector) => (tally.of[selector] ?? 0) > 0 };
}

/** Number of matches of a frame that came as history; undefined if unknown. */
export function hadOf(frame: Frame, ahead: Ahead | undefined): Tally | undefined {
  return ahead !== undefined && comparePositions(ahead.from, frame.coveredFrom) === 0 ? ahead.tally : undefined;
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

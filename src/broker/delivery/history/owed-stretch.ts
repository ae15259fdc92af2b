/** Computes which stretch of a node's recording a subscriber is owed because of one frame of the log. */
import type { Frame } from '../../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../../wire/position.js';
import type { Owed } from '../cursor/node-view.js';
import { selectLive } from '../live/live-frame.js';
import type { SelectorSet } from '../selectors/selector-set.js';
import { NONE, type Tally, without } from '../selectors/tally.js';

/** Positions in (from, to]. */
export interface OwedStretch {
  readonly from: Position;
  readonly to: Position;
  /** The matches still to be delivered; undefined if unknown, and then the gap was told without a count too. */
  readonly due: Tally | undefined;
  /** Matches that `due` leaves out as they were delivered; none of a skipped frame, counted behind them. Undefined if unknown. */
  readonly taken: Tally | undefined;
  /** How the gap was told. It is only one of the two, because a frame has either events or shed counts. */
  readonly kind: 'shed' | 'skipped';
}

/**
 * Undefined when nothing is owed. `selectors`: those that it is owed to. `untilNs`: the window's end, wall nanoseconds
 * by the node's clock, exclusive.
 */
export function owedStretch(
  frame: Frame,
  selectors: SelectorSet,
  owed: Pick<Owed, 'after' | 'skipped' | 'taken'>,
  untilNs: bigint | undefined,
): OwedStretch | undefined {
  const { coveredFrom, coveredTo, watermarkNs } = frame;
  const begun = owed.after !== undefined && comparePositions(owed.after, coveredFrom) > 0;
  const from = begun ? owed.after! : coveredFrom;
  if (comparePositions(from, coveredTo) >= 0) return undefined;
  // A refused frame stands for an unknown number of events.
  if (frame.refused) return { from, to: coveredTo, due: undefined, taken: undefined, kind: 'shed' };
  const taken = begun ? owed.taken : NONE;
  const shed = selectors.shedIn(frame);
  if (shed.events > 0) {
    const known = taken !== undefined && (untilNs === undefined || watermarkNs < untilNs);
    const due = known ? without(shed, taken) : undefined;
    return due?.events === 0 ? undefined : { from, to: coveredTo, due, taken, kind: 'shed' };
  }
  // A skipped frame has its events, so the matches can be counted exactly.
  const window = { floor: owed.after, untilNs, countMax: Number.MAX_SAFE_INTEGER };
  const skipped = owed.skipped ? selectLive(frame, selectors, window) : undefined;
  const due = skipped && selectors.taken(skipped);
  return due && { from, to: coveredTo, due, taken: NONE, kind: 'skipped' };
}

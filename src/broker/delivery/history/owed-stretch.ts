/** Computes which stretch of a node's recording a subscriber is owed because of one frame of the log. */
import type { Frame } from '../../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../../wire/position.js';
import type { Owed } from '../cursor/node-view.js';
import { selectLive } from '../live/live-frame.js';

/** Positions in (from, to]. */
export interface OwedStretch {
  readonly from: Position;
  readonly to: Position;
  /** Number of matches still to be delivered; undefined if unknown, and then the gap was told without a count too. */
  readonly events: number | undefined;
  /** Number of matches of the frame that were delivered already; undefined if unknown. */
  readonly taken: number | undefined;
  /** How the gap was told. It is only one of the two, because a frame has either events or shed counts. */
  readonly kind: 'shed' | 'skipped';
}

/** Undefined when nothing is owed. `untilNs`: the window's end, wall nanoseconds by the node's clock, exclusive. */
export function owedStretch(
  frame: Frame,
  predicateId: bigint,
  owed: Pick<Owed, 'after' | 'skipped' | 'taken'>,
  untilNs: bigint | undefined,
): OwedStretch | undefined {
  const { coveredFrom, coveredTo, watermarkNs } = frame;
  const begun = owed.after !== undefined && comparePositions(owed.after, coveredFrom) > 0;
  const from = begun ? owed.after! : coveredFrom;
  if (comparePositions(from, coveredTo) >= 0) return undefined;
  // A refused frame stands for an unknown number of events.
  if (frame.refused) return { from, to: coveredTo, events: undefined, taken: undefined, kind: 'shed' };
  const taken = begun ? owed.taken : 0;
  const shed = frame.shed.find((each) => each.predicateId === predicateId)?.events ?? 0;
  if (shed > 0) {
    const known = taken !== undefined && (untilNs === undefined || watermarkNs < untilNs);
    const events = known ? shed - taken : undefined;
    return events === 0 ? undefined : { from, to: coveredTo, events, taken, kind: 'shed' };
  }
  // A skipped frame has its events, so the matches can be counted exactly.
  const window = { floor: owed.after, untilNs, countMax: Number.MAX_SAFE_INTEGER };
  const events = owed.skipped ? (selectLive(frame, predicateId, window)?.count ?? 0) : 0;
  return events === 0 ? undefined : { from, to: coveredTo, events, taken, kind: 'skipped' };
}

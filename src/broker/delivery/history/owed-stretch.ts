/** Which stretch of a node's recording a subscriber is owed by one frame of the log. */
import type { Frame } from '../../../wire/frame/frame.js';
import { comparePositions, type Position } from '../../../wire/position.js';
import type { Owed } from '../cursor/node-view.js';
import { selectLive } from '../live/live-frame.js';

/** Positions in (from, to]. */
export interface OwedStretch {
  readonly from: Position;
  readonly to: Position;
  /** Matches in it that are still to come; undefined: not known, and not counted when the subscriber was told. */
  readonly events: number | undefined;
  /** Matches that came of the frame before; undefined: not known. */
  readonly taken: number | undefined;
  /** As what it was told: a frame has either events or what was shed. */
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
  // What it holds nobody knows.
  if (frame.refused) return { from, to: coveredTo, events: undefined, taken: undefined, kind: 'shed' };
  const taken = begun ? owed.taken : 0;
  const shed = frame.shed.find((each) => each.predicateId === predicateId)?.events ?? 0;
  if (shed > 0) {
    const known = taken !== undefined && (untilNs === undefined || watermarkNs < untilNs);
    const events = known ? shed - taken : undefined;
    return events === 0 ? undefined : { from, to: coveredTo, events, taken, kind: 'shed' };
  }
  // What was sent is counted event by event.
  const window = { floor: owed.after, untilNs, countMax: Number.MAX_SAFE_INTEGER };
  const events = owed.skipped ? (selectLive(frame, predicateId, window)?.count ?? 0) : 0;
  return events === 0 ? undefined : { from, to: coveredTo, events, taken, kind: 'skipped' };
}

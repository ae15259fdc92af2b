/** Which stretch of a node's recording a subscriber is owed by one frame of the log. */
import type { OwedRange } from '../../wire/cursor.js';
import type { Frame } from '../../wire/frame.js';
import { comparePositions, type Position } from '../../wire/position.js';
import { selectLive } from './live-frame.js';

/** Positions in (from, to]. */
export interface OwedStretch {
  readonly from: Position;
  readonly to: Position;
  /** Matches in it; undefined: not known. */
  readonly events: number | undefined;
  /** As what it was told: a frame has either events or what was shed. */
  readonly kind: 'shed' | 'skipped';
}

/** Undefined when nothing is owed. `untilNs`: the window's end, wall nanoseconds by the node's clock, exclusive. */
export function owedStretch(
  frame: Frame,
  predicateId: bigint,
  { after, skipped }: OwedRange,
  untilNs: bigint | undefined,
): OwedStretch | undefined {
  const { coveredFrom, coveredTo, watermarkNs } = frame;
  const shed = frame.shed.find((each) => each.predicateId === predicateId)?.events ?? 0;
  const window = { floor: undefined, untilNs: undefined, countMax: Number.MAX_SAFE_INTEGER };
  const sent = skipped ? (selectLive(frame, predicateId, window)?.count ?? 0) : 0;
  if (shed + sent === 0) return undefined;
  const begun = after !== undefined && comparePositions(after, coveredFrom) > 0;
  const from = begun ? after : coveredFrom;
  if (comparePositions(from, coveredTo) >= 0) return undefined;
  const partly = begun || (untilNs !== undefined && watermarkNs >= untilNs);
  return { from, to: coveredTo, events: partly ? undefined : shed + sent, kind: shed > 0 ? 'shed' : 'skipped' };
}

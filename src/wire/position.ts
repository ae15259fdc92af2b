/**
 * The place of an event on its node: (epoch, time, lane, tie), ordered lexicographically. It comes from the kernel's
 * own record, so that live delivery, history and refill name the same event alike.
 */
export interface Position {
  /** One boot's recording; grows. */
  readonly epoch: number;
  /** Nanoseconds of the trace clock. */
  readonly timeNs: bigint;
  /** CPU, or AGENT_LANE. */
  readonly lane: number;
  /** Ordinal among equal times on that lane. */
  readonly tie: number;
}

/** The lane of an agent's events about itself: it sorts after every CPU at equal times. */
export const AGENT_LANE = 0xffff;

/** Ties are 32 bits. */
export const TIE_MAX = 0xffffffff;

export const ORIGIN: Position = { epoch: 0, timeNs: 0n, lane: 0, tie: 0 };

/** Negative when a comes before b, 0 when they name the same event. */
export function comparePositions(a: Position, b: Position): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  if (a.timeNs !== b.timeNs) return a.timeNs < b.timeNs ? -1 : 1;
  if (a.lane !== b.lane) return a.lane - b.lane;
  return a.tie - b.tie;
}

/** The later of the two; undefined only where both are. */
export function laterPosition(a: Position, b: Position | undefined): Position;
export function laterPosition(a: Position | undefined, b: Position | undefined): Position | undefined;
export function laterPosition(a: Position | undefined, b: Position | undefined): Position | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return comparePositions(a, b) >= 0 ? a : b;
}

/** The last position before it that an event of its epoch can have. */
export function positionBefore({ epoch, timeNs, lane, tie }: Position): Position {
  if (tie > 0) return { epoch, timeNs, lane, tie: tie - 1 };
  if (lane > 0) return { epoch, timeNs, lane: lane - 1, tie: TIE_MAX };
  return { epoch, timeNs: timeNs - 1n, lane: AGENT_LANE, tie: TIE_MAX };
}

/** For people and map keys: `epoch:time:lane:tie`. */
export function positionText(p: Position): string {
  return `${p.epoch}:${p.timeNs}:${p.lane}:${p.tie}`;
}

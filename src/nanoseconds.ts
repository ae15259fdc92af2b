/** Times of events are nanoseconds, as bigints; timers, settings and `Date` have milliseconds, as numbers. */

const NS_PER_MS = 1_000_000n;

/** @param ms rounded to whole ones */
export function msToNs(ms: number): bigint {
  return BigInt(Math.round(ms)) * NS_PER_MS;
}

/** Whole milliseconds, rounded towards zero. */
export function nsToMs(ns: bigint): number {
  return Number(ns / NS_PER_MS);
}

/** Of the wall clock: since 1970, as exact as `Date.now()` is. */
export function wallNowNs(): bigint {
  return msToNs(Date.now());
}

/** Times of events are nanoseconds, as bigints; timers, settings and `Date` have milliseconds, as numbers. */

const NS_PER_MS = 1_000_000n;
const NS_PER_SECOND = 1_000_000_000n;

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

/**
 * Seconds and nanoseconds of many times that lie near each other, as events' do: by numbers from a base on, since dividing
 * each by a billion would leave two BigInts for collection.
 */
export class TimestampParts {
  seconds = 0;
  nanos = 0;
  /** A whole second near the times, in nanoseconds and in seconds. */
  #baseNs = 0n;
  #baseSeconds = 0;

  /** Sets `seconds` and `nanos`, which is never negative. */
  split(wallNs: bigint): void {
    let after = Number(wallNs - this.#baseNs);
    if (!Number.isSafeInteger(after)) {
      this.#baseSeconds = Number(wallNs / NS_PER_SECOND);
      this.#baseNs = BigInt(this.#baseSeconds) * NS_PER_SECOND;
      after = Number(wallNs - this.#baseNs);
    }
    const rest = after % 1e9;
    const before = rest < 0;
    this.seconds = this.#baseSeconds + (after - rest) / 1e9 - (before ? 1 : 0);
    this.nanos = before ? rest + 1e9 : rest;
  }
}

/**
 * By how much the wall clock of a peer (a node, another broker, servers of NATS) is ahead of this broker's. Each measurement
 * includes the travel time of its message, which on a busy machine is seconds and makes the peer's clock seem behind, never
 * ahead. So the largest of the last few measurements, which travelled least, is taken. A clock that was set back therefore
 * shows only once all of these measurements are newer than that.
 */
import { CLOCK_MEASUREMENTS_MAX, CLOCK_TOLERANCE_MS } from '../limits.js';
import { msToNs, wallNowNs } from '../nanoseconds.js';

const TOLERANCE_NS = msToNs(CLOCK_TOLERANCE_MS);

export class PeerClock {
  #measuredNs: bigint[] = [];
  #offsetNs = 0n;

  /** `wallNs` is the peer's clock when it wrote a message, `nowNs` the broker's clock when the message arrived. */
  measured(wallNs: bigint, nowNs = wallNowNs()): void {
    this.#measuredNs = [...this.#measuredNs, wallNs - nowNs].slice(-CLOCK_MEASUREMENTS_MAX);
    this.#offsetNs = this.#measuredNs.reduce((most, ns) => (ns > most ? ns : most));
  }

  /** The peer's wall clock minus the broker's, in nanoseconds; 0 before the first measurement. */
  get offsetNs(): bigint {
    return this.#offsetNs;
  }

  /**
   * Offset by which windows are shifted. A difference smaller than a message's travel time can be measurement error, so
   * it counts as zero.
   */
  get windowOffsetNs(): bigint {
    const { offsetNs } = this;
    return clocksDiffer(offsetNs, 0n) ? offsetNs : 0n;
  }
}

/** Whether two offsets differ by more than an error of measurement. */
export function clocksDiffer(a: bigint, b: bigint): boolean {
  return a - b > TOLERANCE_NS || b - a > TOLERANCE_NS;
}

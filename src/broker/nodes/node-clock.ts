/**
 * How far a node's wall clock is from the broker's. A measurement contains the
 * way of the message that carried it, and on a busy machine that is seconds: it
 * makes the node seem behind, never ahead. Of the last few the largest had the
 * shortest way. That a clock was set back is believed once all of them say so.
 */
import { CLOCK_MEASUREMENTS_MAX, CLOCK_TOLERANCE_MS } from '../../limits.js';
import { msToNs, wallNowNs } from '../../nanoseconds.js';

const TOLERANCE_NS = msToNs(CLOCK_TOLERANCE_MS);

export class NodeClock {
  private measuredNs: bigint[] = [];

  /** `wallNs`: what the node's clock said when it wrote a message; `nowNs`: what the broker's says now. */
  measured(wallNs: bigint, nowNs = wallNowNs()): void {
    this.measuredNs = [...this.measuredNs, wallNs - nowNs].slice(-CLOCK_MEASUREMENTS_MAX);
  }

  /** The node's wall clock less the broker's; 0 before the first measurement. */
  get offsetNs(): bigint {
    const [first = 0n, ...others] = this.measuredNs;
    return others.reduce((most, ns) => (ns > most ? ns : most), first);
  }

  /** What windows are shifted by: what is smaller than the way of a message may be is none. */
  get windowOffsetNs(): bigint {
    const { offsetNs } = this;
    return offsetNs > TOLERANCE_NS || offsetNs < -TOLERANCE_NS ? offsetNs : 0n;
  }
}

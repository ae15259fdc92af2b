/**
 * Remembers how late a publisher may be for reasons other than its budget: no
 * broker was there or could take frames, or matching was slowed. The allowance
 * holds while the lag shrinks within the budget. Once the lag stops shrinking,
 * more events come than the budget takes, so the allowance drops to zero
 * whatever caused the lag.
 */
import { BUDGET_WAIT_MS_MAX } from '../../limits.js';

export class LagAllowance {
  lagNs = 0n;
  /** The last review; undefined before the first one after a grant. */
  #reviewed: { readonly ms: number; readonly lagNs: bigint } | undefined;

  /** Records a lag that the budget did not cause. */
  grant(lagNs: bigint): void {
    if (lagNs > this.lagNs) this.lagNs = lagNs;
    this.#reviewed = undefined;
  }

  /**
   * Records a lag while only the budget holds the publisher back; ends the allowance when the lag no longer shrinks.
   */
  review(lagNs: bigint, nowMs: number): void {
    if (lagNs < this.lagNs) this.lagNs = lagNs;
    const before = this.#reviewed;
    if (before && nowMs - before.ms < BUDGET_WAIT_MS_MAX) return;
    if (before && lagNs >= before.lagNs) this.lagNs = 0n;
    this.#reviewed = { ms: nowMs, lagNs };
  }
}

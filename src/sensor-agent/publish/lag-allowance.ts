/**
 * How late a publisher may be for other reasons than its budget: nobody was
 * there, or could take it, or matching was slowed. It holds for as long as the
 * publisher gets less late within its budget. Where it does not, there is more
 * than the budget takes, whatever the lag began with.
 */
import { BUDGET_WAIT_MS_MAX } from '../../limits.js';

export class LagAllowance {
  lagNs = 0n;
  /** The last review; undefined: the next is the first. */
  #reviewed: { readonly ms: number; readonly lagNs: bigint } | undefined;

  /** It is so late, and its budget has no part in it. */
  grant(lagNs: bigint): void {
    if (lagNs > this.lagNs) this.lagNs = lagNs;
    this.#reviewed = undefined;
  }

  /** It is so late, and only its budget keeps it back. */
  review(lagNs: bigint, nowMs: number): void {
    if (lagNs < this.lagNs) this.lagNs = lagNs;
    const before = this.#reviewed;
    if (before && nowMs - before.ms < BUDGET_WAIT_MS_MAX) return;
    if (before && lagNs >= before.lagNs) this.lagNs = 0n;
    this.#reviewed = { ms: nowMs, lagNs };
  }
}

/**
 * Keeps work to a share of one core: time used is paid back by waiting, after a burst that spares small jobs any wait.
 */
export class Pacer {
  #creditMs: number;
  #sinceMs: number;

  readonly #share: number;
  readonly #burstMs: number;
  readonly #nowMs: () => number;

  /** `share` of one core (0 to 1]; `burstMs` of work may run before any wait. */
  constructor(share: number, burstMs: number, nowMs: () => number = () => performance.now()) {
    this.#share = share;
    this.#burstMs = burstMs;
    this.#nowMs = nowMs;
    this.#creditMs = burstMs;
    this.#sinceMs = nowMs();
  }

  /** Milliseconds to wait before more work, after `usedMs` of it. */
  spend(usedMs: number): number {
    const now = this.#nowMs();
    this.#creditMs = Math.min(this.#burstMs, this.#creditMs + (now - this.#sinceMs) * this.#share) - usedMs;
    this.#sinceMs = now;
    return this.#creditMs >= 0 ? 0 : -this.#creditMs / this.#share;
  }
}

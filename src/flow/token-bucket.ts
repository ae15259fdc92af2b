/**
 * A rate with a burst: tokens that are taken come back with time. Over any stretch of t seconds no more can be taken
 * than burst + rate * t, plus what the last taker overdrew.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** Longest sleep before the level is checked again, because the rate may change meanwhile. */
const WAIT_MS_MAX = 1_000;

export class TokenBucket {
  #level: number;
  #sinceMs: number;

  #ratePerSecond: number;
  #burst: number;
  readonly #nowMs: () => number;

  /** Full at the start. `ratePerSecond` and `burst` above 0; infinite ones never run out. */
  constructor(ratePerSecond: number, burst: number, nowMs: () => number = () => performance.now()) {
    this.#ratePerSecond = ratePerSecond;
    this.#burst = burst;
    this.#nowMs = nowMs;
    this.#level = burst;
    this.#sinceMs = nowMs();
  }

  /** The amount that can be taken now; below 0 after an overdraft. */
  get level(): number {
    if (this.#ratePerSecond === Number.POSITIVE_INFINITY) return this.#burst;
    const now = this.#nowMs();
    this.#level = Math.min(this.#burst, this.#level + ((now - this.#sinceMs) / 1000) * this.#ratePerSecond);
    this.#sinceMs = now;
    return this.#level;
  }

  get burstMax(): number {
    return this.#burst;
  }

  /** Takes an amount. A negative one gives back tokens that were not used. */
  take(amount: number): void {
    this.#level = Math.min(this.#burst, this.level - amount);
  }

  /** Resolves when something can be taken, or the signal fires. */
  async positive(signal: AbortSignal): Promise<void> {
    while (this.level <= 0 && !signal.aborted) {
      const waitMs = Math.min(WAIT_MS_MAX, Math.max(1, (-this.level / this.#ratePerSecond) * 1000));
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Sets another rate from now on. Saved tokens stay, within the new burst; a debt stays. */
  change(ratePerSecond: number, burst: number): void {
    const { level } = this;
    this.#ratePerSecond = ratePerSecond;
    this.#burst = burst;
    this.#level = Math.min(level, burst);
  }
}

/** Whether and when a batch is sent again: the ids of its events keep them from being stored twice. Runs in browsers. */
import type { BackplaneError } from '../errors.js';
import type { BrokerRing } from '../flow/reconnect.js';
import { PUBLISH_AWAY_MS, RECONNECT_MS_MIN } from '../limits/client.js';

export class PublishRetries {
  #answered = false;
  readonly #ring: BrokerRing;
  readonly #triesMin: number;
  readonly #nowMs: () => number;

  /**
   * @param ring says how long the next broker is waited for
   * @param triesMin how often a batch is tried before any broker has answered
   */
  constructor(ring: BrokerRing, triesMin: number, nowMs = () => performance.now()) {
    this.#ring = ring;
    this.#triesMin = triesMin;
    this.#nowMs = nowMs;
  }

  /** A broker has acknowledged a batch: if none answers later, one is being started again. */
  answered(): void {
    this.#answered = true;
  }

  /** Of one batch: begins when it is sent first. */
  batch(): (error: BackplaneError) => number | undefined {
    let failures = 0;
    const untilMs = this.#nowMs() + PUBLISH_AWAY_MS;
    /** Milliseconds until the batch is sent again; undefined where it is not. */
    return ({ code, details: { retryAfterMs } }) => {
      if (code === 'resource_exhausted' && retryAfterMs !== undefined) {
        // Others were told the same time.
        return Math.max(retryAfterMs, RECONNECT_MS_MIN) * (1 + Math.random() / 4);
      }
      if (code !== 'unavailable') return undefined;
      failures += 1;
      const isWaited = failures < this.#triesMin || (this.#answered && this.#nowMs() < untilMs);
      return isWaited ? this.#ring.waitMs(this.#ring.next()) : undefined;
    };
  }
}

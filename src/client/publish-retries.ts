/** Whether and when a batch is sent again: the ids of its events keep them from being stored twice. Runs in browsers. */
import type { BackplaneError } from '../errors.js';
import { reconnectDelayMs } from '../flow/reconnect.js';
import { PUBLISH_TRIES_MAX, RECONNECT_MS_MIN } from '../limits/client.js';

export class PublishRetries {
  #answered = false;
  readonly #triesMin: number;

  /** @param triesMin how often a batch is tried before any broker has answered */
  constructor(triesMin: number) {
    this.#triesMin = triesMin;
  }

  /** A broker has acknowledged a batch: if none answers later, one is being started again. */
  answered(): void {
    this.#answered = true;
  }

  /**
   * Milliseconds until the batch is sent again; undefined where it is not.
   * @param failures of this batch in a row, without those for which the broker named a time
   */
  delayMs({ code, details: { retryAfterMs } }: BackplaneError, failures: number): number | undefined {
    if (code === 'resource_exhausted' && retryAfterMs !== undefined) {
      // Others were told the same time.
      return Math.max(retryAfterMs, RECONNECT_MS_MIN) * (1 + Math.random() / 4);
    }
    const triesMax = this.#answered ? Math.max(this.#triesMin, PUBLISH_TRIES_MAX) : this.#triesMin;
    return code === 'unavailable' && failures < triesMax ? reconnectDelayMs(failures) : undefined;
  }
}

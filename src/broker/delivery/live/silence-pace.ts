/**
 * How often subscriptions are told that nothing comes for them: each second while they are few, less often the more there
 * are, so that telling it to all of them costs no more than it does to some hundreds.
 */
import { NOTICE_INTERVAL_MS, SILENCE_INTERVAL_MS_MAX, SILENCES_PER_SECOND } from '../../../limits.js';

export class SilencePace {
  #live = 0;

  /** Counts a subscription; returns a function that ends that. */
  join(): () => void {
    this.#live++;
    return () => {
      this.#live--;
    };
  }

  /** Until a subscription is told again: not the same for those that began together. */
  intervalMs(): number {
    const ms = Math.min(SILENCE_INTERVAL_MS_MAX, (this.#live / SILENCES_PER_SECOND) * 1000);
    return ms <= NOTICE_INTERVAL_MS ? NOTICE_INTERVAL_MS : ms * (0.75 + Math.random() / 2);
  }
}

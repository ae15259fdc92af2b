/**
 * Gaps wait for the cursor behind them. A stream that breaks before it is
 * resumed from before them, and tells them again: what waited is dropped, so
 * that every gap is told once. Brokers send a cursor behind gaps at once; with
 * one that does not, more than can wait are told without.
 */
import { HELD_GAPS_MAX } from '../limits.js';
import type { SubscribeItem } from './subscribe-item.js';

export class HeldGaps {
  #held: SubscribeItem[] = [];

  /** What may be told now. */
  *pass(item: SubscribeItem): Generator<SubscribeItem> {
    if (item.kind === 'gap') {
      if (this.#held.length === HELD_GAPS_MAX) yield* this.take();
      this.#held.push(item);
      return;
    }
    if (item.kind === 'events' || item.kind === 'watermark' || item.kind === 'coverage') yield* this.take();
    yield item;
  }

  /** No stream follows that would tell them. */
  take(): SubscribeItem[] {
    const held = this.#held;
    this.#held = [];
    return held;
  }
}

/**
 * Holds gaps back until a cursor follows them. If the stream breaks before that,
 * it is resumed from before the gaps and sends them again; the held ones are
 * dropped, so that every gap is told once. Brokers send a cursor right after
 * gaps. If none comes, gaps beyond HELD_GAPS_MAX are told without a cursor.
 */
import { HELD_GAPS_MAX } from '../limits/client.js';

export class HeldGaps<Item extends { readonly kind: string }> {
  #held: Item[] = [];

  /** Returns the items that may be told now: `item`, after the held gaps if it carries a cursor. */
  *pass(item: Item): Generator<Item> {
    if (item.kind === 'gap') {
      if (this.#held.length === HELD_GAPS_MAX) yield* this.take();
      this.#held.push(item);
      return;
    }
    if (item.kind === 'events' || item.kind === 'watermark' || item.kind === 'coverage') yield* this.take();
    yield item;
  }

  /** Returns and clears the held gaps. Call it at the end, when no further stream would send them again. */
  take(): Item[] {
    const held = this.#held;
    this.#held = [];
    return held;
  }
}

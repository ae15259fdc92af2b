/**
 * Decides which budget is in force: the node's own, the one its broker leases
 * it, or the fallback once a lease has run out.
 */
import type { TokenBucket } from '../../flow/token-bucket.js';
import type { Lease__Output } from '../../wire/messages.js';
import { type Budget, budgetFromMessage, historyBurstBytes, type LiveBudget } from '../publish/budget.js';

export class Allowance {
  #endsMs = Number.POSITIVE_INFINITY;
  #fallback: Budget;

  readonly #own: Budget;
  readonly #live: LiveBudget;
  readonly #history: TokenBucket;

  constructor(own: Budget, live: LiveBudget, history: TokenBucket) {
    this.#own = own;
    this.#live = live;
    this.#history = history;
    this.#fallback = own;
  }

  /** `nowMs` is monotonic. */
  lease({ budget, validMs, fallback }: Lease__Output, nowMs: number): void {
    if (!budget) return;
    this.#endsMs = validMs === 0 ? Number.POSITIVE_INFINITY : nowMs + validMs;
    this.#fallback = fallback ? budgetFromMessage(fallback, this.#own) : this.#own;
    this.#use(budgetFromMessage(budget, this.#own));
  }

  /** Ends a lease that has run out: a silent broker grants nothing. */
  expire(nowMs: number): void {
    if (nowMs < this.#endsMs) return;
    this.#endsMs = Number.POSITIVE_INFINITY;
    this.#use(this.#fallback);
  }

  /**
   * Returns to the node's own budget when the broker is gone: nothing is sent until the next broker says what holds.
   */
  end(): void {
    this.#endsMs = Number.POSITIVE_INFINITY;
    this.#use(this.#own);
  }

  #use({ live, history }: Budget): void {
    this.#live.change(live);
    this.#history.change(history.bytesPerSecond, historyBurstBytes(history));
  }
}

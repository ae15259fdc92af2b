/** All running subscriptions: admitted under a bound, listed, and ended together when the broker drains. */
import { BackplaneError } from '../../errors.js';
import { RETRY_AFTER_MS, SUBSCRIPTIONS_MAX } from '../../limits.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import type { Caller } from '../access/gate.js';
import type { Sink } from './outlet.js';
import type { DeliveryContext } from './planned-subscription.js';
import { Subscription } from './subscription.js';

/** The window's end was reached, or so many events as were asked for were delivered. */
export type Ending = 'window' | 'limit';

export class Subscriptions {
  readonly #running = new Map<Subscription, { readonly caller: Caller; readonly done: Promise<void> }>();
  readonly #drained = new AbortController();

  readonly #context: DeliveryContext;

  constructor(context: DeliveryContext) {
    this.#context = context;
  }

  get size(): number {
    return this.#running.size;
  }

  all(): Iterable<Subscription> {
    return this.#running.keys();
  }

  /** The caller of a running subscription; undefined when it has ended. */
  callerOf(subscription: Subscription): Caller | undefined {
    return this.#running.get(subscription)?.caller;
  }

  /**
   * Delivers to the sink until the subscription ends, and says why it did. Throws BackplaneError: what
   * the subscription or its cursor is refused with, cancelled when the subscriber
   * went, unavailable when the broker drains, resource_exhausted when there are
   * too many subscriptions.
   */
  async deliver(checked: CheckedSubscription, sink: Sink, caller: Caller): Promise<Ending> {
    if (this.#drained.signal.aborted) throw draining();
    if (this.#running.size >= SUBSCRIPTIONS_MAX) {
      const message = `at most ${SUBSCRIPTIONS_MAX} subscriptions run at once`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: RETRY_AFTER_MS });
    }
    const signal = AbortSignal.any([sink.closed, this.#drained.signal]);
    const subscription = new Subscription(checked, this.#context, sink, signal);
    const done = this.#run(subscription, sink, signal);
    this.#running.set(subscription, { caller, done: done.catch(() => undefined) });
    try {
      await done;
    } finally {
      this.#running.delete(subscription);
    }
    return subscription.outlet.left <= 0 ? 'limit' : 'window';
  }

  /** Ends every stream after a last cursor to resume with, and resolves when all have ended. */
  async drain(): Promise<void> {
    this.#drained.abort();
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  async #run(subscription: Subscription, sink: Sink, signal: AbortSignal): Promise<void> {
    try {
      await subscription.run();
    } catch (cause) {
      if (!this.#drained.signal.aborted || sink.closed.aborted) throw cause;
    }
    if (!signal.aborted) return;
    if (sink.closed.aborted) throw new BackplaneError('cancelled', 'the subscriber went');
    const { cursor } = subscription;
    if (cursor !== '') await subscription.outlet.message({ watermark: { node: '', cursor } });
    throw draining();
  }
}

function draining(): BackplaneError {
  const message = 'the broker is shutting down: resume with the last cursor';
  return new BackplaneError('unavailable', message, { retryAfterMs: RETRY_AFTER_MS });
}

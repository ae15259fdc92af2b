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

/** A member's part of a group, until the member went or the broker drains. Throws BackplaneError. */
export type JoinGroup = (
  checked: CheckedSubscription,
  sink: Sink,
  caller: Caller,
  signal: AbortSignal,
) => Promise<void>;

export class Subscriptions {
  /** Members of groups, whose slices are subscriptions of their own. */
  readonly #members = new Set<Promise<void>>();
  readonly #running = new Map<Subscription, { readonly caller: Caller; readonly done: Promise<void> }>();
  readonly #drained = new AbortController();

  readonly #context: DeliveryContext;
  readonly #joinGroup: JoinGroup;

  constructor(context: DeliveryContext, joinGroup: JoinGroup) {
    this.#context = context;
    this.#joinGroup = joinGroup;
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
    if (this.#running.size + this.#members.size >= SUBSCRIPTIONS_MAX) {
      const message = `at most ${SUBSCRIPTIONS_MAX} subscriptions run at once`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: RETRY_AFTER_MS });
    }
    const signal = AbortSignal.any([sink.closed, this.#drained.signal]);
    if (checked.group !== undefined) return this.#runMember(checked, sink, caller, signal);
    const { subscription, done } = this.#start(checked, sink, caller, signal);
    await done;
    return subscription.outlet.left <= 0 ? 'limit' : 'window';
  }

  /** Delivers one slice of a group to its member's stream, as deliver() does. Its member was admitted before. */
  runSlice(checked: CheckedSubscription, sink: Sink, caller: Caller) {
    return this.#start(checked, sink, caller, AbortSignal.any([sink.closed, this.#drained.signal]));
  }

  #start(
    checked: CheckedSubscription,
    sink: Sink,
    caller: Caller,
    signal: AbortSignal,
  ): { readonly subscription: Subscription; readonly done: Promise<void> } {
    const subscription = new Subscription(checked, this.#context, sink, signal);
    const done = this.#run(subscription, sink, signal).finally(() => this.#running.delete(subscription));
    this.#running.set(subscription, { caller, done: done.catch(() => undefined) });
    return { subscription, done };
  }

  async #runMember(checked: CheckedSubscription, sink: Sink, caller: Caller, signal: AbortSignal): Promise<never> {
    const done = this.#joinGroup(checked, sink, caller, signal);
    const settled = done.catch(() => undefined);
    this.#members.add(settled);
    try {
      await done;
    } finally {
      this.#members.delete(settled);
    }
    if (sink.closed.aborted) throw new BackplaneError('cancelled', 'the subscriber went');
    throw draining();
  }

  /** Ends every stream after a last cursor to resume with, and resolves when all have ended. */
  async drain(): Promise<void> {
    this.#drained.abort();
    await Promise.all([...this.#running.values()].map(({ done }) => done));
    await Promise.all(this.#members);
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

/** All running subscriptions: admitted under a bound, listed, and ended together when the broker drains. */
import { BackplaneError } from '../../errors.js';
import { RETRY_AFTER_MS, SUBSCRIPTIONS_MAX } from '../../limits.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import { timestampNsText } from '../../text/time-text.js';
import type { AccessControl } from '../access/access-control.js';
import type { Caller } from '../access/gate.js';
import type { AuditTrail } from '../cluster/audit-trail.js';
import type { Sink } from './outlet.js';
import type { DeliveryContext } from './planned-subscription.js';
import { Subscription } from './subscription.js';

/** The window's end was reached, or so many events as were asked for were delivered. */
export type Ending = 'window' | 'limit';

interface Running {
  readonly caller: Caller;
  readonly done: Promise<void>;
  /** Aborted, with the error as its reason, when the subscriber may no longer have what it gets. */
  readonly over: AbortController;
}

export class Subscriptions {
  readonly #running = new Map<Subscription, Running>();
  readonly #drained = new AbortController();

  readonly #context: DeliveryContext;
  readonly #access: Pick<AccessControl, 'begin' | 'whyOver'>;
  readonly #trail: Pick<AuditTrail, 'recordReading' | 'note'>;

  constructor(
    context: DeliveryContext,
    access: Pick<AccessControl, 'begin' | 'whyOver'>,
    trail: Pick<AuditTrail, 'recordReading' | 'note'>,
  ) {
    this.#context = context;
    this.#access = access;
    this.#trail = trail;
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
   * too many subscriptions or it cannot be put on record, unauthenticated and permission_denied when the subscriber
   * may no longer have it.
   */
  async deliver(checked: CheckedSubscription, sink: Sink, caller: Caller): Promise<Ending> {
    if (this.#drained.signal.aborted) throw draining();
    if (this.#running.size >= SUBSCRIPTIONS_MAX) {
      const message = `at most ${SUBSCRIPTIONS_MAX} subscriptions run at once`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: RETRY_AFTER_MS });
    }
    const end = this.#access.begin(caller, checked);
    const over = new AbortController();
    const signal = AbortSignal.any([sink.closed, this.#drained.signal, over.signal]);
    const subscription = new Subscription(checked, this.#context, sink, signal);
    const done = this.#run(subscription, sink, caller, signal, over.signal);
    this.#running.set(subscription, { caller, done: done.catch(() => undefined), over });
    try {
      await done;
    } finally {
      this.#running.delete(subscription);
      end();
      this.#noteRead(subscription, caller);
    }
    return subscription.outlet.left <= 0 ? 'limit' : 'window';
  }

  /** Ends every stream after a last cursor to resume with, and resolves when all have ended. */
  async drain(): Promise<void> {
    this.#drained.abort();
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  /** Ends those whose subscribers may no longer have what they get. */
  review(): void {
    for (const [{ checked }, { caller, over }] of this.#running) {
      const reason = over.signal.aborted ? undefined : this.#access.whyOver(caller, checked);
      if (reason !== undefined) over.abort(reason);
    }
  }

  async #run(
    subscription: Subscription,
    sink: Sink,
    caller: Caller,
    signal: AbortSignal,
    over: AbortSignal,
  ): Promise<void> {
    await this.#trail.recordReading({ action: 'subscribe', ...caller, ...asked(subscription) });
    try {
      await subscription.run();
    } catch (cause) {
      if ((!this.#drained.signal.aborted && !over.aborted) || sink.closed.aborted) throw cause;
    }
    if (!signal.aborted) return;
    if (sink.closed.aborted) throw new BackplaneError('cancelled', 'the subscriber went');
    const { cursor } = subscription;
    if (cursor !== '') await subscription.outlet.message({ watermark: { node: '', cursor } });
    throw over.aborted ? over.reason : draining();
  }

  /** How much somebody got who asked for the past. */
  #noteRead({ id, checked, outlet }: Subscription, { peer, identity }: Caller): void {
    if (!checked.window.history) return;
    const { events } = outlet.ledger;
    this.#trail.note({ action: 'history', peer, identity, subscription: id, events, bytes: outlet.bytes });
  }
}

/** What a subscriber wants, as it is kept on record. */
function asked({ id, checked, selectors }: Subscription): Readonly<Record<string, unknown>> {
  const { topics, nodes, window, limit, cursor, client } = checked;
  const { sinceNs, untilNs, follow, last } = window;
  return {
    subscription: id,
    topics,
    nodes: nodes.globs,
    filters: selectors.predicates.map(({ canonical }) => canonical),
    ...(sinceNs === undefined ? {} : { since: timestampNsText(sinceNs) }),
    ...(untilNs === undefined ? {} : { until: timestampNsText(untilNs) }),
    ...(last === 0 ? {} : { last }),
    ...(limit === 0 ? {} : { limit }),
    ...(cursor === '' ? {} : { cursor: true }),
    ...(client === '' ? {} : { client }),
    follow,
  };
}

function draining(): BackplaneError {
  const message = 'the broker is shutting down: resume with the last cursor';
  return new BackplaneError('unavailable', message, { retryAfterMs: RETRY_AFTER_MS });
}

/** All running subscriptions: admitted under a bound, listed, and ended together when the broker drains. */
import { BackplaneError } from '../../errors.js';
import { RETRY_AFTER_MS, SUBSCRIPTIONS_MAX } from '../../limits.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import { timestampNsText } from '../../text/time-text.js';
import type { AccessControl } from '../access/access-control.js';
import type { Caller } from '../access/gate.js';
import type { AuditTrail } from '../cluster/audit-trail.js';
import type { Leaving } from '../retirement.js';
import type { Sink } from './outlet.js';
import type { DeliveryContext } from './planned-subscription.js';
import { RecordedSink } from './recorded-sink.js';
import { Subscription } from './subscription.js';

/** The window's end was reached, or so many events as were asked for were delivered. */
export type Ending = 'window' | 'limit';

/** Puts on record what a member of a group reads. */
export interface MemberReading {
  /** Call it once the member may have what the group has, `of`, and before it gets anything. */
  begins(of: CheckedSubscription): Promise<void>;
  /** Call it when its stream has ended. */
  ended(member: string, given: { readonly events: number; readonly bytes: number }): void;
}

/** A member's part of a group, until the member went or the broker drains. Throws BackplaneError. */
export type JoinGroup = (
  checked: CheckedSubscription,
  sink: Sink,
  caller: Caller,
  signal: AbortSignal,
  reading: MemberReading,
) => Promise<void>;

interface Running {
  readonly caller: Caller;
  readonly checked: CheckedSubscription;
  readonly done: Promise<void>;
  /** Aborted, with the error as its reason, when the subscriber went, may no longer have what it gets, or the broker drains. */
  readonly over: AbortController;
}

export class Subscriptions {
  /** Members of groups, whose slices are subscriptions of their own. */
  readonly #members = new Set<Running>();
  readonly #running = new Map<Subscription, Running>();
  /** Of both, those whose credential ends by itself. */
  readonly #ending = new Set<Running>();
  /** Why new ones are refused. */
  #refusal: BackplaneError | undefined;

  readonly #context: DeliveryContext;
  readonly #joinGroup: JoinGroup;
  readonly #access: Pick<AccessControl, 'begin' | 'whyOver'>;
  readonly #trail: Pick<AuditTrail, 'recordReading' | 'note'>;

  constructor(
    context: DeliveryContext,
    joinGroup: JoinGroup,
    access: Pick<AccessControl, 'begin' | 'whyOver'>,
    trail: Pick<AuditTrail, 'recordReading' | 'note'>,
  ) {
    this.#context = context;
    this.#joinGroup = joinGroup;
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
    if (this.#refusal !== undefined) throw this.#refusal;
    if (this.#running.size + this.#members.size >= SUBSCRIPTIONS_MAX) {
      const message = `at most ${SUBSCRIPTIONS_MAX} subscriptions run at once`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: RETRY_AFTER_MS });
    }
    if (checked.group !== undefined) return this.#runMember(checked, sink, caller);
    const end = this.#access.begin(caller, checked);
    try {
      const { subscription, done } = this.#start(checked, sink, caller, true);
      await done;
      return subscription.outlet.left <= 0 ? 'limit' : 'window';
    } finally {
      end();
    }
  }

  /** Delivers one slice of a group to its member's stream, as deliver() does. Its member was admitted before. */
  runSlice(checked: CheckedSubscription, sink: Sink, caller: Caller) {
    return this.#start(checked, sink, caller, false);
  }

  /** @param isRecorded who reads is on record: not of slices, whose member is */
  #start(
    checked: CheckedSubscription,
    sink: Sink,
    caller: Caller,
    isRecorded: boolean,
  ): { readonly subscription: Subscription; readonly done: Promise<void> } {
    const over = this.#overWith(sink);
    // Whoever reads documents may read the record itself: that it was asked for is before what it reads.
    const held = isRecorded && checked.documents === undefined ? new RecordedSink(sink) : undefined;
    const subscription = new Subscription(checked, this.#context, held ?? sink, over.signal);
    const recorded = isRecorded ? this.#record(subscription, caller, over) : undefined;
    if (recorded !== undefined) held?.heldUntil(recorded);
    const running = this.#run(subscription, sink, over.signal, held === undefined ? recorded : undefined);
    const done = running.finally(() => {
      this.#running.delete(subscription);
      this.#ending.delete(entry);
      if (isRecorded) this.#noteRead(subscription, caller);
    });
    const entry = { caller, checked, done: done.catch(() => undefined), over };
    this.#running.set(subscription, entry);
    this.#noteEnding(entry);
    return { subscription, done };
  }

  async #runMember(checked: CheckedSubscription, sink: Sink, caller: Caller): Promise<never> {
    const end = this.#access.begin(caller, checked);
    const over = this.#overWith(sink);
    const by = { ...caller, group: checked.group?.name };
    const done = this.#joinGroup(checked, sink, caller, over.signal, {
      begins: (of) => this.#trail.recordReading({ action: 'subscribe', ...by, ...askedFor(of) }),
      // Each slice begins behind what was processed of it, which is past.
      ended: (subscription, given) => this.#trail.note({ action: 'history', ...by, subscription, ...given }),
    });
    const member = { caller, checked, done: done.catch(() => undefined), over };
    this.#members.add(member);
    this.#noteEnding(member);
    try {
      await done;
    } finally {
      this.#members.delete(member);
      this.#ending.delete(member);
      end();
    }
    if (sink.closed.aborted) throw new BackplaneError('cancelled', 'the subscriber went');
    throw over.signal.aborted ? over.signal.reason : (this.#refusal ?? draining());
  }

  #noteEnding(entry: Running): void {
    if (entry.caller.identity.untilMs !== undefined) this.#ending.add(entry);
  }

  /** One signal, and not one made of several: there is one for each subscriber. */
  #overWith({ closed }: Sink): AbortController {
    const over = new AbortController();
    const went = () => over.abort(new BackplaneError('cancelled', 'the subscriber went'));
    if (closed.aborted) went();
    else closed.addEventListener('abort', went, { once: true });
    if (this.#refusal !== undefined) over.abort(this.#refusal);
    return over;
  }

  /** Ends every stream after a last cursor to resume with, and resolves when all have ended. */
  async drain(): Promise<void> {
    this.#refusal = draining();
    for (const { over } of [...this.#running.values(), ...this.#members]) over.abort(draining());
    await Promise.all([...this.#running.values()].map(({ done }) => done));
    await Promise.all([...this.#members].map(({ done }) => done));
  }

  /** Each ends after a last cursor, which other brokers know. */
  retire(): readonly Leaving[] {
    const reason = 'the broker is retired: resume at another one with the last cursor';
    this.#refusal ??= unavailable(reason);
    // Each in its turn, so that it need not wait.
    const sentAway = unavailable(reason, 0);
    return [...this.#running.values(), ...this.#members].map(({ over }) => ({ leave: () => over.abort(sentAway) }));
  }

  /** Ends those whose subscribers may no longer have what they get. */
  review(): void {
    this.#review([...this.#running.values(), ...this.#members]);
  }

  /** Likewise where only time has passed. Call this about once a second: there may be thousands for which that is nothing. */
  reviewEnding(): void {
    this.#review(this.#ending);
  }

  #review(those: Iterable<Running>): void {
    for (const { caller, checked, over } of those) {
      const reason = over.signal.aborted ? undefined : this.#access.whyOver(caller, checked);
      if (reason !== undefined) over.abort(reason);
    }
  }

  /** Rejects where it cannot be put on record who reads, and ends the subscription, which has told nothing. */
  #record(subscription: Subscription, caller: Caller, over: AbortController): Promise<void> {
    const recorded = this.#trail.recordReading({ action: 'subscribe', ...caller, ...asked(subscription) });
    recorded.catch((cause) => over.abort(cause));
    return recorded;
  }

  async #run(subscription: Subscription, sink: Sink, over: AbortSignal, before?: Promise<void>): Promise<void> {
    await before;
    try {
      await subscription.run();
    } catch (cause) {
      if (!over.aborted || sink.closed.aborted) throw cause;
    }
    if (!over.aborted) return;
    if (sink.closed.aborted) throw new BackplaneError('cancelled', 'the subscriber went');
    const { cursor } = subscription;
    if (cursor !== '') await subscription.outlet.message({ watermark: { node: '', cursor } });
    throw over.reason;
  }

  /** How much somebody got who asked for the past. */
  #noteRead({ id, checked, outlet }: Subscription, { peer, identity }: Caller): void {
    if (!checked.window.history) return;
    const { events } = outlet.ledger;
    this.#trail.note({ action: 'history', peer, identity, subscription: id, events, bytes: outlet.bytes });
  }
}

/** What a subscriber wants, as it is kept on record. */
function asked({ id, checked }: Subscription): Readonly<Record<string, unknown>> {
  return { subscription: id, ...askedFor(checked) };
}

function askedFor(checked: CheckedSubscription): Readonly<Record<string, unknown>> {
  const { topics, documents, publishers, selectors, window, limit, cursor, client } = checked;
  const { sinceNs, untilNs, follow, last } = window;
  return {
    topics: [...topics, ...(documents?.topics ?? [])],
    nodes: publishers.globs,
    filters: selectors.map(({ predicate }) => predicate.canonical),
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
  return unavailable('the broker is shutting down: resume with the last cursor');
}

function unavailable(message: string, retryAfterMs = RETRY_AFTER_MS): BackplaneError {
  return new BackplaneError('unavailable', message, { retryAfterMs });
}

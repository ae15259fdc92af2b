/**
 * Lets callers do what their roles grant: every call, over gRPC and HTTP, asks here. What is refused goes on record.
 */
import { LRUCache } from 'lru-cache';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { TokenBucket } from '../../flow/token-bucket.js';
import { IDENTITY_RATES_MAX, RETRY_AFTER_MS } from '../../limits.js';
import { wallNowNs } from '../../nanoseconds.js';
import { compileNamed } from '../../subscriptions/predicate.js';
import { coversNodes, narrowNodes, nodeGlobsText, unboundedGlobs } from '../../subscriptions/request/node-globs.js';
import {
  type Asked,
  type CheckedSubscription,
  checkSubscription,
  type Scope,
  type SubscriptionRequest,
} from '../../subscriptions/request/subscription-request.js';
import { shown } from '../../text/shown.js';
import { timestampNsText } from '../../text/time-text.js';
import { TOPICS } from '../../wire/event/event.js';
import type { AuditTrail } from '../cluster/audit-trail.js';
import { authorize, describe, type Grant, type Wish } from './authorize.js';
import type { Caller, Identity } from './gate.js';
import type { Policy, Verb } from './roles.js';

/** What a group has, which its members share. */
export interface GroupExtent {
  readonly name: string;
  readonly topics: readonly string[];
  /** Canonical text. */
  readonly filter: string;
  readonly includeSelf: boolean;
  /** Of nodes, and what bounds them: see narrowNodes. */
  readonly globs: readonly string[];
  /** Wall nanoseconds, where it begins. */
  readonly sinceNs: bigint;
}

export class AccessControl {
  /** By identity, the calls that it may make now. */
  readonly #rates = new LRUCache<string, TokenBucket>({ max: IDENTITY_RATES_MAX });
  /** By identity, its running subscriptions and those of them that read recorders. */
  readonly #running = new Map<string, { streams: number; queries: number }>();

  readonly #policy: () => Policy;
  readonly #trail: Pick<AuditTrail, 'refuse'>;
  readonly #holds: (identity: Identity) => boolean;

  /** @param holds whether a credential that was let in still does */
  constructor(
    policy: () => Policy,
    trail: Pick<AuditTrail, 'refuse'>,
    holds: (identity: Identity) => boolean = () => true,
  ) {
    this.#policy = policy;
    this.#trail = trail;
    this.#holds = holds;
  }

  /** Call once for each call: counts it too. Throws permission_denied, or resource_exhausted over the identity's rate. */
  enter(caller: Caller, wish: Wish): Grant {
    const grant = this.authorize(caller, wish);
    this.#count(caller.identity, grant.budgets.rate);
    return grant;
  }

  /** Throws permission_denied; unauthenticated when the caller's credential holds no more. */
  authorize(caller: Caller, wish: Wish): Grant {
    if (!this.#holds(caller.identity)) throw heldNoMore(caller.identity);
    return this.#recorded(caller, wish.verbs.join(' '), () => authorize(this.#policy(), caller.identity, wish));
  }

  /** Whether it is granted: to be asked beside a call, as nothing of it goes on record. */
  may({ identity }: Caller, wish: Wish): boolean {
    try {
      authorize(this.#policy(), identity, wish);
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Throws permission_denied unless the caller may have all of a group: nothing of it is cut for one member.
   * @param verbs what is needed besides `groups`
   */
  group(caller: Caller, verbs: readonly Verb[], extent: GroupExtent): void {
    this.#recorded(caller, 'groups', () => this.#checkGroup(caller, verbs, extent));
  }

  /** Whether the caller may have all of a group: to be asked beside a call, as nothing of it goes on record. */
  mayHaveGroup(caller: Caller, verbs: readonly Verb[], extent: GroupExtent): boolean {
    try {
      this.#checkGroup(caller, verbs, extent);
      return true;
    } catch {
      return false;
    }
  }

  #checkGroup(caller: Caller, verbs: readonly Verb[], extent: GroupExtent): void {
    const { name, topics, filter, includeSelf, globs, sinceNs } = extent;
    const wish: Wish = { verbs: [...verbs, 'groups'], topics, nodes: unboundedGlobs(globs), group: name };
    const grant = authorize(this.#policy(), caller.identity, { ...wish, sinceNs, nowNs: wallNowNs() });
    const { filter: conjunct, floorNs, nodesWithin, nodesWithout } = grant;
    const uncovered =
      conjunct !== undefined && compileNamed({ topics, filter, includeSelf, conjunct }).canonical !== filter
        ? `events that do not match ${conjunct}`
        : !coversNodes(globs, nodesWithin, nodesWithout)
          ? 'nodes beyond those that are granted'
          : floorNs !== undefined && sinceNs < floorNs
            ? `events from before ${timestampNsText(floorNs)}`
            : undefined;
    if (uncovered === undefined) return;
    const message = `${describe(caller.identity)} may not use the group ${shown(name)}: it has ${uncovered}`;
    throw new BackplaneError('permission_denied', message, { field: 'group' });
  }

  /** The request as far as it is granted. Throws what it is refused with. */
  subscription(request: SubscriptionRequest, caller: Caller): CheckedSubscription {
    const { identity } = caller;
    const nowNs = wallNowNs();
    return this.#recorded(caller, 'subscribe', () =>
      checkSubscription(request, nowNs, (asked) => {
        const grant = authorize(this.#policy(), identity, wishOf(asked, nowNs));
        this.#count(identity, grant.budgets.rate);
        return identity.kind === 'local' ? undefined : scopeOf(asked, grant, identity);
      }),
    );
  }

  /**
   * Counts a subscription of the identity; returns a function that it calls when it has ended. Throws
   * resource_exhausted when the identity runs too many.
   */
  begin({ identity }: Caller, { scope, window }: CheckedSubscription): () => void {
    const key = keyOf(identity);
    const now = this.#running.get(key) ?? { streams: 0, queries: 0 };
    const queries = window.history ? 1 : 0;
    const { streamsMax = Number.POSITIVE_INFINITY, queriesMax = Number.POSITIVE_INFINITY } = scope ?? {};
    const over =
      now.streams + 1 > streamsMax
        ? `${streamsMax} subscriptions`
        : now.queries + queries > queriesMax
          ? `${queriesMax} subscriptions that read the past`
          : undefined;
    if (over !== undefined) {
      const message = `${describe(identity)} may run at most ${over} at once`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: RETRY_AFTER_MS });
    }
    this.#running.set(key, now);
    now.streams++;
    now.queries += queries;
    return () => {
      now.streams--;
      now.queries -= queries;
      if (now.streams === 0) this.#running.delete(key);
    };
  }

  /** Why a running subscription may not go on; undefined: it may. */
  whyOver({ identity }: Caller, { scope }: CheckedSubscription): BackplaneError | undefined {
    if (!this.#holds(identity)) return heldNoMore(identity);
    if (scope === undefined) return undefined;
    try {
      // As if it were asked now, but by the time of then: otherwise a window would soon be beyond its depth.
      const { asked, askedNs } = scope;
      const now = scopeOf(asked, authorize(this.#policy(), identity, wishOf(asked, askedNs)), identity);
      if (now.grants === scope.grants) return undefined;
    } catch (cause) {
      return asBackplaneError(cause);
    }
    return new BackplaneError('permission_denied', 'what is granted has changed: subscribe again, without the cursor');
  }

  /** Likewise for an agent that is connected as a node. */
  whyAgentOver({ identity }: Caller, node: string): BackplaneError | undefined {
    if (!this.#holds(identity)) return heldNoMore(identity);
    try {
      authorize(this.#policy(), identity, { verbs: ['uplink'], helloNode: node });
      return undefined;
    } catch (cause) {
      return asBackplaneError(cause);
    }
  }

  #count(identity: Identity, rate: number | undefined): void {
    if (rate === undefined) return;
    const key = keyOf(identity);
    let bucket = this.#rates.get(key);
    if (bucket === undefined) {
      bucket = new TokenBucket(rate, Math.max(1, rate));
      this.#rates.set(key, bucket);
    }
    bucket.change(rate, Math.max(1, rate));
    if (bucket.level < 1) {
      const message = `${describe(identity)} may make ${rate} calls a second`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: Math.ceil(1000 / rate) });
    }
    bucket.take(1);
  }

  #recorded<T>(caller: Caller, action: string, run: () => T): T {
    try {
      return run();
    } catch (cause) {
      const { code, message } = asBackplaneError(cause);
      if (code === 'permission_denied' || code === 'resource_exhausted') {
        this.#trail.refuse({ action, peer: caller.peer, identity: caller.identity, code, refused: message });
      }
      throw cause;
    }
  }
}

function heldNoMore({ kind }: Identity): BackplaneError {
  const what =
    kind === 'certificate'
      ? 'certificate with which this began was revoked'
      : 'token with which this began was revoked, or has expired';
  return new BackplaneError('unauthenticated', `the ${what}`);
}

function keyOf({ kind, name }: Identity): string {
  return `${kind} ${name}`;
}

function wishOf({ topics, nodes, window, group }: Asked, nowNs: bigint): Wish {
  const { follow, history, sinceNs, untilNs } = window;
  const verbs: Verb[] = [
    ...(follow ? (['subscribe'] as const) : []),
    ...(history ? (['history'] as const) : []),
    ...(group === undefined ? [] : (['groups'] as const)),
  ];
  return { verbs, topics, nodes: nodes.globs, group, sinceNs, untilNs, nowNs };
}

/** Throws permission_denied where nothing is left. */
function scopeOf(asked: Asked, grant: Grant, identity: Identity): Scope {
  const { role, floorNs, filter: conjunct, nodesWithin, nodesWithout, budgets } = grant;
  const known = Object.keys(TOPICS);
  const topics = known.filter(grant.topic);
  if (asked.allTopics && topics.length === 0) {
    throw new BackplaneError('permission_denied', `${describe(identity)} may use no topic`, { field: 'topics' });
  }
  const nodes = narrowNodes(asked.nodes, nodesWithin, nodesWithout);
  const isCut = nodes.globs.length > asked.nodes.globs.length;
  const notes = [
    ...(asked.allTopics && topics.length < known.length ? [`of all topics ${topics.join(', ')}`] : []),
    ...(isCut ? [`nodes ${nodeGlobsText(nodes.globs)}`] : []),
    ...(conjunct === undefined ? [] : [`only events that match ${conjunct}`]),
    ...(floorNs === undefined ? [] : [`nothing from before ${timestampNsText(floorNs)}`]),
  ];
  return {
    topics,
    nodes,
    conjunct,
    floorNs,
    streamsMax: budgets.streams,
    queriesMax: budgets.queries,
    notes: notes.length === 0 ? [] : [`role ${role} grants ${notes.join('; ')}`],
    grants: JSON.stringify([role, topics, nodes.globs, conjunct ?? null, floorNs?.toString() ?? null]),
  };
}

/**
 * The budget of each node, from its own setting, the budget an operator set, and
 * its share of a ceiling over all nodes. Shares follow demand, max-min fair, and
 * are leased for a few seconds; an agent whose lease is not renewed falls back to
 * an even share. The broker stops reading from a node that exceeds its budget.
 */
import { BackplaneError } from '../../errors.js';
import { everyOne } from '../../flow/every-step.js';
import { maxMinShares } from '../../flow/max-min.js';
import { TokenBucket } from '../../flow/token-bucket.js';
import {
  BUDGET_BURST_BYTES_MIN,
  BUDGET_BURST_MS_DEFAULT,
  BUDGET_TOLERANCE,
  HISTORY_BYTES_PER_SECOND_DEFAULT,
  LEASE_EXCESS_MAX,
  LEASE_MS,
  LEASE_SHARE_MIN,
  LIVE_BYTES_PER_SECOND_DEFAULT,
} from '../../limits.js';
import type { Budget, ControlResponse } from '../../wire/messages.js';
import type { SharedState, StateValue } from '../cluster/shared-state.js';
import type { NodeRecord } from './node-record.js';
import type { NodeRegistry } from './node-registry.js';
import type { NodeRoute } from './node-route.js';
import { BUDGET_PREFIX, budgetKey, type SavedBudget, savedBudget } from './node-state.js';

/** A rate of 0 leaves the node's own setting in force. */
export interface NodeBudget {
  readonly liveBytesPerSecond: number;
  readonly liveEventsPerSecond: number;
  readonly historyBytesPerSecond: number;
  readonly burstMs: number;
}

export class NodeBudgets {
  /** What operators set, by node. */
  readonly #set = new Map<string, SavedBudget>();
  /** Nodes whose budget was set and that have not been told yet. */
  readonly #untold = new Set<string>();

  readonly #registry: NodeRegistry;
  readonly #route: NodeRoute;
  readonly #state: SharedState;
  /** Bytes per second that all nodes of this broker together may send live now; undefined if there is no ceiling. */
  readonly #ceiling: (() => number) | undefined;
  /** Bytes per second granted beyond the ceiling, to nodes that connected since the last lease(). */
  #excess = 0;

  constructor(registry: NodeRegistry, route: NodeRoute, state: SharedState, ceiling: (() => number) | undefined) {
    this.#registry = registry;
    this.#route = route;
    this.#state = state;
    this.#ceiling = ceiling;
    state.watch(BUDGET_PREFIX, ({ key, value }) => this.#wasSet(key.slice(BUDGET_PREFIX.length), value));
  }

  /** The budget that an operator set for a node. */
  setFor(node: string): SavedBudget | undefined {
    return this.#set.get(node);
  }

  /** Undefined removes what was set. Resolves when the change is durable and in force; rejects when the write fails. */
  async change(nodes: readonly string[], budget: SavedBudget | undefined): Promise<void> {
    await everyOne(nodes.map((node) => this.#save(budgetKey(node), budget)));
  }

  async #save(key: string, budget: SavedBudget | undefined): Promise<void> {
    if (budget === undefined) {
      await this.#state.delete(key);
      return;
    }
    for (;;) {
      const before = this.#state.get(key);
      const value = merged(before && savedBudget(before.value), budget);
      try {
        await this.#state.put(key, { ...value }, before?.revision ?? 0);
        return;
      } catch (cause) {
        // Another change of the same node came first: this one begins from its result.
        if (!(cause instanceof BackplaneError && cause.code === 'failed_precondition')) throw cause;
      }
    }
  }

  #wasSet(node: string, value: StateValue | undefined): void {
    if (value === undefined) this.#set.delete(node);
    else this.#set.set(node, savedBudget(value));
    // Changes of many nodes arrive together, and shares of the ceiling are computed for all of them at once.
    if (this.#untold.size === 0) queueMicrotask(() => this.#tellAll());
    this.#untold.add(node);
  }

  #tellAll(): void {
    const nodes = [...this.#untold];
    this.#untold.clear();
    if (this.#ceiling !== undefined) this.lease();
    else for (const node of nodes) this.#tell(node);
  }

  /** The lease for a new session; undefined if the node is to go by its own setting. */
  first(record: NodeRecord): ControlResponse | undefined {
    if (this.#ceiling === undefined) {
      const budget = this.budget(record);
      this.#measure(record, budget);
      return this.#set.has(record.name) ? leaseOf(budget, 0) : undefined;
    }
    // The other nodes hold leases on the whole ceiling until the next lease(), so a new one starts with a small share.
    const ceiling = this.#ceiling();
    const even = ceiling / (this.#registry.connectedCount + 1);
    const budget = this.budget(record, even * LEASE_SHARE_MIN);
    this.#measure(record, budget);
    this.#excess += budget.liveBytesPerSecond;
    // Once the node is there, too. Where there is nothing to deal out, nobody has less afterwards.
    if (ceiling > 0 && this.#excess > ceiling * LEASE_EXCESS_MAX) queueMicrotask(() => this.lease());
    return leaseOf(budget, LEASE_MS, even);
  }

  /** Computes all shares of the ceiling again and sends new leases. Called every few seconds, and when many nodes connect at once. */
  lease(): void {
    if (this.#ceiling === undefined) return;
    this.#excess = 0;
    const ceiling = this.#ceiling();
    const records = this.#here();
    const even = ceiling / Math.max(1, records.length);
    const shares = maxMinShares(
      records.map((record) => Math.max(this.#demand(record), even * LEASE_SHARE_MIN)),
      ceiling,
    );
    for (const [index, record] of records.entries()) {
      const budget = this.budget(record, shares[index]);
      this.#measure(record, budget);
      this.#route.tell(record.name, leaseOf(budget, LEASE_MS, even));
    }
  }

  /** The bucket that limits how fast the broker reads a node's stream. The node must have a session. */
  meter(record: NodeRecord, kind: 'live' | 'history'): TokenBucket {
    return (record.meters ?? this.#measure(record, this.budget(record)))[kind];
  }

  /** Keeps the buckets over sessions, so that a node cannot gain a full bucket by reconnecting. */
  #measure(record: NodeRecord, budget: NodeBudget): NonNullable<NodeRecord['meters']> {
    const rates = { live: budget.liveBytesPerSecond, history: historyRate(budget) };
    if (record.meters === undefined) {
      const meter = (rate: number) => new TokenBucket(rateOf(rate), burstOf(rate, budget));
      record.meters = { live: meter(rates.live), history: meter(rates.history) };
    } else {
      record.meters.live.change(rateOf(rates.live), burstOf(rates.live, budget));
      record.meters.history.change(rateOf(rates.history), burstOf(rates.history, budget));
    }
    return record.meters;
  }

  #tell(node: string): void {
    const record = this.#registry.record(node);
    if (!record?.isHere) return;
    const budget = this.budget(record);
    this.#measure(record, budget);
    this.#route.tell(node, leaseOf(budget, 0));
  }

  /** What the nodes of this broker ask for, all together, bytes per second, and how many they are. */
  get demand(): { readonly nodes: number; readonly bytesPerSecond: number } {
    const records = this.#here();
    const bytesPerSecond = records.reduce((sum, record) => sum + this.#demand(record), 0);
    return { nodes: records.length, bytesPerSecond };
  }

  #here(): NodeRecord[] {
    return [...this.#registry.all()].filter(({ isHere }) => isHere);
  }

  #demand(record: NodeRecord): number {
    const own = this.budget(record).liveBytesPerSecond;
    return Math.min(own, Number(record.report?.liveDemandBytesPerSecond ?? 0));
  }

  /** The budget in force for a node: its own settings, overridden by what was set for it, bounded by its share. */
  budget(record: NodeRecord, share = Number.POSITIVE_INFINITY): NodeBudget {
    const own = record.budget;
    const set = this.#set.get(record.name);
    const live = set?.liveBytesPerSecond ?? (Number(own?.liveBytesPerSecond ?? 0) || LIVE_BYTES_PER_SECOND_DEFAULT);
    return {
      liveBytesPerSecond: Math.max(1, Math.floor(Math.min(live, share))),
      liveEventsPerSecond: set?.liveEventsPerSecond ?? Number(own?.liveEventsPerSecond ?? 0),
      historyBytesPerSecond: set?.historyBytesPerSecond ?? Number(own?.historyBytesPerSecond ?? 0),
      burstMs: own?.burstMs || BUDGET_BURST_MS_DEFAULT,
    };
  }
}

/** `validMs` 0 makes the lease valid as long as the session. */
function leaseOf(budget: NodeBudget, validMs: number, fallback?: number): ControlResponse {
  const after: Budget | null =
    fallback === undefined
      ? null
      : { ...budget, liveBytesPerSecond: Math.max(1, Math.floor(Math.min(budget.liveBytesPerSecond, fallback))) };
  return { lease: { budget, validMs, fallback: after } };
}

function historyRate({ historyBytesPerSecond }: NodeBudget): number {
  return historyBytesPerSecond || HISTORY_BYTES_PER_SECOND_DEFAULT;
}

/** Rate that the broker enforces: above the budget, so that gRPC overhead and clock drift stop no honest agent. */
function rateOf(bytesPerSecond: number): number {
  return bytesPerSecond * BUDGET_TOLERANCE;
}

function burstOf(bytesPerSecond: number, { burstMs }: NodeBudget): number {
  return BUDGET_BURST_BYTES_MIN + ((bytesPerSecond * burstMs) / 1000) * BUDGET_TOLERANCE;
}

/** Rates that the change does not name stay as they were. */
function merged(before: SavedBudget | undefined, change: SavedBudget): SavedBudget {
  return {
    liveBytesPerSecond: change.liveBytesPerSecond ?? before?.liveBytesPerSecond,
    liveEventsPerSecond: change.liveEventsPerSecond ?? before?.liveEventsPerSecond,
    historyBytesPerSecond: change.historyBytesPerSecond ?? before?.historyBytesPerSecond,
  };
}

/**
 * What each node may send: its own setting, what an operator set for it, and
 * its share of a ceiling over all nodes. Shares are leased by demand, max-min
 * fair, and renewed every few seconds; an agent that hears nothing falls back
 * to an even share. A node that sends more all the same is not read on.
 */
import { maxMinShares } from '../../flow/max-min.js';
import { OneAtATime } from '../../flow/one-at-a-time.js';
import { TokenBucket } from '../../flow/token-bucket.js';
import {
  BUDGET_BURST_BYTES_MIN,
  BUDGET_BURST_MS_DEFAULT,
  BUDGET_BURST_MS_MAX,
  BUDGET_TOLERANCE,
  HISTORY_BYTES_PER_SECOND_DEFAULT,
  LEASE_MS,
  LEASE_SHARE_MIN,
  LIVE_BYTES_PER_SECOND_DEFAULT,
} from '../../limits.js';
import type { Budget, ControlResponse } from '../../wire/messages.js';
import type { BudgetFile, SavedBudget } from '../cluster/embedded/budget-file.js';
import type { NodeRecord } from './node-record.js';
import type { NodeRegistry } from './node-registry.js';

/** 0: as the node's own settings say. */
export interface NodeBudget {
  readonly liveBytesPerSecond: number;
  readonly liveEventsPerSecond: number;
  readonly historyBytesPerSecond: number;
  readonly burstMs: number;
}

export class NodeBudgets {
  private readonly set: Map<string, SavedBudget>;
  /** Each begins with what the one before it left. */
  private readonly changes = new OneAtATime();

  constructor(
    private readonly registry: NodeRegistry,
    private readonly file: BudgetFile,
    saved: ReadonlyMap<string, SavedBudget>,
    /** Bytes per second that all nodes together may send live; undefined: no such bound. */
    private readonly ceiling: number | undefined,
  ) {
    this.set = new Map(saved);
  }

  /** What was set for a node. */
  setFor(node: string): SavedBudget | undefined {
    return this.set.get(node);
  }

  /** Undefined takes back what was set. Resolves when it is durable and holds; rejects when it cannot be written. */
  change(nodes: readonly string[], budget: SavedBudget | undefined): Promise<void> {
    return this.changes.run(() => this.save(nodes, budget));
  }

  private async save(nodes: readonly string[], budget: SavedBudget | undefined): Promise<void> {
    const next = new Map(this.set);
    for (const node of nodes) {
      if (budget === undefined) next.delete(node);
      else next.set(node, { ...next.get(node), ...budget });
    }
    await this.file.save(next);
    this.set.clear();
    for (const [node, each] of next) this.set.set(node, each);
    if (this.ceiling !== undefined) this.lease();
    else for (const node of nodes) this.tell(node);
  }

  /** What a session that begins is told; undefined: it goes by its own setting. */
  first(record: NodeRecord): ControlResponse | undefined {
    if (this.ceiling === undefined) {
      const budget = this.budget(record);
      this.measure(record, budget);
      return this.set.has(record.name) ? leaseOf(budget, 0) : undefined;
    }
    // The others have all of the ceiling until it is shared out anew.
    const even = this.ceiling / (this.registry.connectedCount + 1);
    const budget = this.budget(record, even * LEASE_SHARE_MIN);
    this.measure(record, budget);
    return leaseOf(budget, LEASE_MS, even);
  }

  /** Shares the ceiling out anew. Called every few seconds. */
  lease(): void {
    const { ceiling } = this;
    if (ceiling === undefined) return;
    const records = [...this.registry.all()].filter(({ connection }) => connection !== undefined);
    const even = ceiling / Math.max(1, records.length);
    const shares = maxMinShares(
      records.map((record) => Math.max(this.demand(record), even * LEASE_SHARE_MIN)),
      ceiling,
    );
    for (const [index, record] of records.entries()) {
      const budget = this.budget(record, shares[index]);
      this.measure(record, budget);
      this.registry.session(record.name)?.send(leaseOf(budget, LEASE_MS, even));
    }
  }

  /** What the broker reads of a node that has a session. Over it a stream is not read on. */
  meter(record: NodeRecord, kind: 'live' | 'history'): TokenBucket {
    return (record.meters ?? this.measure(record, this.budget(record)))[kind];
  }

  /** A new session goes on where the one before was: coming back brings nothing. */
  private measure(record: NodeRecord, budget: NodeBudget): NonNullable<NodeRecord['meters']> {
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

  private tell(node: string): void {
    const record = this.registry.record(node);
    if (record?.connection === undefined) return;
    const budget = this.budget(record);
    this.measure(record, budget);
    this.registry.session(node)?.send(leaseOf(budget, 0));
  }

  private demand(record: NodeRecord): number {
    const own = this.budget(record).liveBytesPerSecond;
    return Math.min(own, Number(record.report?.liveDemandBytesPerSecond ?? 0));
  }

  /** What holds for a node: its own settings, what was set for it, its share. */
  budget(record: NodeRecord, share = Number.POSITIVE_INFINITY): NodeBudget {
    const own = record.hello?.budget;
    const set = this.set.get(record.name);
    const live = set?.liveBytesPerSecond ?? (Number(own?.liveBytesPerSecond ?? 0) || LIVE_BYTES_PER_SECOND_DEFAULT);
    return {
      liveBytesPerSecond: Math.max(1, Math.floor(Math.min(live, share))),
      liveEventsPerSecond: set?.liveEventsPerSecond ?? Number(own?.liveEventsPerSecond ?? 0),
      historyBytesPerSecond: set?.historyBytesPerSecond ?? Number(own?.historyBytesPerSecond ?? 0),
      burstMs: Math.min(own?.burstMs || BUDGET_BURST_MS_DEFAULT, BUDGET_BURST_MS_MAX),
    };
  }
}

/** `validMs` 0: as long as the session. */
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

/** More than an agent that keeps to its budget can come to, by what gRPC adds and clocks differ. */
function rateOf(bytesPerSecond: number): number {
  return bytesPerSecond * BUDGET_TOLERANCE;
}

function burstOf(bytesPerSecond: number, { burstMs }: NodeBudget): number {
  return BUDGET_BURST_BYTES_MIN + ((bytesPerSecond * burstMs) / 1000) * BUDGET_TOLERANCE;
}

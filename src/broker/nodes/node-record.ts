/**
 * One node as the broker knows it, connected or not: who it is, what it was
 * asked, and for which predicates its frames in the log are complete, from
 * which position on.
 */

import type { TokenBucket } from '../../flow/token-bucket.js';
import { NODE_KEPT_MS, NODE_RETURN_MS, NODE_SEEN_SAVE_MS, NODE_UNPROVEN_KEPT_MS } from '../../limits.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { type Hello__Output, type NodeReport__Output, timestampToNs } from '../../wire/messages.js';
import type { Position } from '../../wire/position.js';
import type { SavedNode } from '../cluster/embedded/interest-file.js';
import { NodeClock } from './node-clock.js';

/** Interests sent and not yet acknowledged that are remembered; older acknowledgements are passed over. */
const PENDING_MAX = 64;
/** So long a refused frame is shown with its node: one that comes again and again stays. */
const REFUSAL_SHOWN_MS = 60_000;

export interface Connection {
  readonly session: string;
  readonly sinceMs: number;
}

/** A frame of a node that was not sound. */
export interface Refusal {
  /** Topic and where it begins: the same when it comes again. Undefined where that cannot be told. */
  readonly stretch: string | undefined;
  readonly message: string;
  readonly atMs: number;
}

export class NodeRecord {
  recorderId = '';
  epoch = 0;
  hello: Hello__Output | undefined;
  report: NodeReport__Output | undefined;
  connection: Connection | undefined;
  readonly clock = new NodeClock();
  uplinkBytes = 0;
  /** What was read of it, over all its sessions; unset before the first. */
  meters: { readonly live: TokenBucket; readonly history: TokenBucket } | undefined;
  lastSeenMs = Date.now();
  /** A frame of it became durable, ever. */
  delivered = false;
  /** The address it came from last. */
  peer = '';
  /** Nobody saw whether it was there up to then: the broker was not. */
  private unseenToMs = 0;
  /** The last one. */
  refusal: Refusal | undefined;
  /** Predicates that the agent could not evaluate, and why. */
  readonly errors = new Map<bigint, string>();
  readonly holds = new Map<bigint, Position>();
  private asked: readonly PredicateSpec[] | undefined;
  private pending: { readonly generation: number; readonly ids: ReadonlySet<bigint> }[] = [];

  constructor(readonly name: string) {}

  static restored(saved: SavedNode): NodeRecord {
    const record = new NodeRecord(saved.name);
    record.recorderId = saved.recorderId;
    record.epoch = saved.epoch;
    for (const [id, position] of saved.holds) record.holds.set(id, position);
    const nowMs = Date.now();
    record.lastSeenMs = Math.min(saved.seenMs, nowMs);
    record.delivered = saved.delivered;
    record.peer = saved.peer;
    if (saved.connected) record.unseenToMs = nowMs + NODE_RETURN_MS;
    return record;
  }

  saved(): SavedNode {
    const { name, recorderId, epoch, holds, delivered, peer } = this;
    const connected = this.connection !== undefined;
    const seenMs = connected ? Date.now() + NODE_SEEN_SAVE_MS : this.lastSeenMs;
    return { name, recorderId, epoch, holds, seenMs, connected, delivered, peer };
  }

  /** Since when it is known to be gone; undefined while it is connected. */
  get goneSinceMs(): number | undefined {
    return this.connection === undefined ? Math.max(this.lastSeenMs, this.unseenToMs) : undefined;
  }

  /** Whether it has been gone for so long that it is no longer listed. */
  outdated(nowMs: number): boolean {
    const keptMs = this.delivered ? NODE_KEPT_MS : NODE_UNPROVEN_KEPT_MS;
    return this.connection === undefined && nowMs - this.lastSeenMs > keptMs;
  }

  /** Whether all that is recorded is later than a window that ends (wall time of the broker) at `untilNs`. */
  recordedAfter(untilNs: bigint): boolean {
    const from = this.report?.recordedFrom;
    // Recordings lose their oldest: what a report said is later by now, if anything.
    return from ? timestampToNs('recorded_from', from) >= untilNs + this.clock.windowOffsetNs : false;
  }

  /** Not empty: what this node cannot see or say, in a sentence. */
  get degraded(): string {
    const { refusal } = this;
    const refused = refusal && Date.now() - refusal.atMs < REFUSAL_SHOWN_MS ? refusal.message : '';
    return refused || this.report?.degraded || this.hello?.degraded || [...this.errors.values()][0] || '';
  }

  /** A new session was asked nothing yet. */
  begin(connection: Connection): void {
    this.connection = connection;
    this.asked = undefined;
    this.pending = [];
    this.report = undefined;
    this.errors.clear();
  }

  /** Ends what is no longer asked, at once: from here on the node may leave it out. True when something held. */
  narrow(wanted: readonly PredicateSpec[]): boolean {
    const ids = new Set(wanted.map(({ id }) => id));
    let dropped = false;
    for (const id of this.holds.keys()) if (!ids.has(id)) dropped = this.holds.delete(id) || dropped;
    for (const id of this.errors.keys()) if (!ids.has(id)) this.errors.delete(id);
    return dropped;
  }

  /** True when the node must be told: what is asked differs from what it was told in this session. */
  ask(wanted: readonly PredicateSpec[], generation: number): boolean {
    const same = this.asked?.length === wanted.length && this.asked.every(({ id }, i) => id === wanted[i]!.id);
    if (same) return false;
    this.asked = wanted;
    this.pending.push({ generation, ids: new Set(wanted.map(({ id }) => id)) });
    if (this.pending.length > PENDING_MAX) this.pending.shift();
    return true;
  }

  /**
   * The node's answer to one generation. A predicate holds from `position` if
   * it was asked then and ever since. True when something holds that did not.
   */
  acknowledge(generation: number, position: Position, errors: ReadonlyMap<bigint, string>): boolean {
    const at = this.pending.findIndex((interest) => interest.generation === generation);
    if (at < 0) return false;
    const [answered, ...later] = this.pending.slice(at);
    this.pending = later;
    let changed = false;
    for (const id of answered!.ids) {
      if (!later.every(({ ids }) => ids.has(id))) continue;
      const error = errors.get(id);
      if (error !== undefined) {
        this.errors.set(id, error);
        changed = this.holds.delete(id) || changed;
      } else if (!this.holds.has(id)) {
        this.errors.delete(id);
        this.holds.set(id, position);
        changed = true;
      }
    }
    return changed;
  }
}

/**
 * One node as the broker knows it, connected or not: its identity, the
 * predicates it was asked for, and the position from which its frames in the
 * log are complete for each of them.
 */

import type { TokenBucket } from '../../flow/token-bucket.js';
import { NODE_KEPT_MS, NODE_RETURN_MS, NODE_SEEN_SAVE_MS, NODE_UNPROVEN_KEPT_MS } from '../../limits.js';
import { type Budget, type Hello__Output, type NodeReport__Output, timestampToNs } from '../../wire/messages.js';
import { laterPosition, type Position } from '../../wire/position.js';
import { PeerClock } from '../peer-clock.js';
import { type Hold, HoldSteps, type KeptHolds } from './asked/holds.js';
import { NOTHING_WANTED, type Wanted, type WantedChange } from './asked/wanted.js';
import type { SavedNode } from './node-state.js';

/** Number of unacknowledged interests that are remembered; acknowledgements of older ones are ignored. */
const PENDING_MAX = 64;

/** What a node must be told, so that it knows what it is asked for. */
export type Asked =
  | { readonly kind: 'whole' }
  /** On what it was told last, as `base`. */
  | { readonly kind: 'change'; readonly base: number; readonly change: WantedChange };
/** Time for which a node is shown as degraded after a refused frame. A frame that recurs keeps it degraded. */
const REFUSAL_SHOWN_MS = 60_000;

/** From when a node has a recording, by its own clock; `all`: nothing was recorded before. */
export interface Recorded {
  readonly from: { readonly seconds: string; readonly nanos: number };
  readonly all: boolean;
}

/** A node that another broker of the cluster has, or had, as that says. */
export interface NodeElsewhere {
  readonly recorderId: string;
  readonly bootId: string;
  readonly epoch: number;
  /** Empty: it is not connected. */
  readonly session: string;
  readonly holds: HoldSteps;
  readonly recorded?: Recorded | undefined;
  readonly budget?: Budget | undefined;
  /** By how much its clock is ahead of this broker's now, nanoseconds; undefined where that is not known. */
  readonly clockOffsetNs?: (() => bigint) | undefined;
}

export interface Connection {
  readonly session: string;
  readonly sinceMs: number;
}

/** An invalid frame of a node. */
export interface Refusal {
  /** Topic and start of the frame, so that a repetition is recognised. Undefined when they cannot be read. */
  readonly stretch: string | undefined;
  readonly message: string;
  readonly atMs: number;
}

export class NodeRecord {
  recorderId = '';
  /** It had another recorder before: what that one had is gone, so that nobody may say that nothing was recorded. */
  replaced = false;
  epoch = 0;
  hello: Hello__Output | undefined;
  /** Of its latest connection. */
  bootId = '';
  #report: NodeReport__Output | undefined;
  /** As it said last, here or to another broker. */
  recorded: Recorded | undefined;
  connection: Connection | undefined;
  /** Its connection is to another broker of the cluster. */
  isElsewhere = false;
  /** As this broker measured it. */
  readonly clock = new PeerClock();
  /** Its own budget, as it said last, here or to another broker. */
  budget: Budget | undefined;
  uplinkBytes = 0;
  /** Token buckets that limit reading, kept over all sessions; unset before the first session. */
  meters: { readonly live: TokenBucket; readonly history: TokenBucket } | undefined;
  lastSeenMs = Date.now();
  /** At least one frame of this node became durable. */
  delivered = false;
  /** Address of its latest connection, without the port. */
  peer = '';
  /**
   * Milliseconds since 1970; 0 if unused. For a node that was connected when the broker stopped: before this time it
   * counts as present, because nobody could observe it while the broker was down.
   */
  #unseenToMs = 0;
  /** What was saved as the time when the connected node was last seen. */
  #seenSavedMs = 0;
  /** The latest refusal. */
  refusal: Refusal | undefined;
  /** Why the agent could not evaluate a predicate, by predicate id. */
  readonly errors = new Map<bigint, string>();
  /** By predicate, of a node that is, or was last, connected here. */
  readonly holds = new Map<bigint, Hold>();
  /** Of one that another broker has, what that says; else undefined. */
  steps: HoldSteps | undefined;
  #clockElsewhere: NodeElsewhere['clockOffsetNs'];
  /** The latest position from which it answered that something holds. */
  heldTo: Position | undefined;
  #steps: { readonly wanted: Wanted; readonly steps: HoldSteps } | undefined;
  /** What the node was told last in this session. */
  #asked: { readonly generation: number; readonly wanted: Wanted } | undefined;
  /** What was dropped since this node was told last. */
  readonly #dropped = new Set<bigint>();
  /** What was told and is not acknowledged, and what each added that is still asked. */
  #pending: { readonly generation: number; readonly added: Set<bigint> }[] = [];

  constructor(readonly name: string) {}

  static restored(saved: SavedNode): NodeRecord {
    const record = new NodeRecord(saved.name);
    record.recorderId = saved.recorderId;
    record.replaced = saved.replaced ?? false;
    record.epoch = saved.epoch;
    const nowMs = Date.now();
    record.lastSeenMs = Math.min(saved.seenMs, nowMs);
    record.delivered = saved.delivered;
    record.peer = saved.peer;
    if (saved.connected) record.#unseenToMs = nowMs + NODE_RETURN_MS;
    return record;
  }

  saved(): SavedNode {
    const { name, recorderId, epoch, delivered, peer } = this;
    const connected = this.connection !== undefined;
    const nowMs = Date.now();
    // Renewed in good time, and not at every save: what did not change need not be written.
    if (connected && this.#seenSavedMs < nowMs + NODE_SEEN_SAVE_MS / 2) this.#seenSavedMs = nowMs + NODE_SEEN_SAVE_MS;
    const seenMs = connected ? this.#seenSavedMs : this.lastSeenMs;
    const replaced = this.replaced ? { replaced: true } : {};
    return { name, recorderId, ...replaced, epoch, holds: HoldSteps.NONE, seenMs, connected, delivered, peer };
  }

  get report(): NodeReport__Output | undefined {
    return this.#report;
  }

  set report(report: NodeReport__Output | undefined) {
    this.#report = report;
    this.recorded = report?.recordedFrom
      ? { from: report.recordedFrom, all: report.recordedAll && !this.replaced }
      : undefined;
  }

  /** It is connected to this broker. */
  get isHere(): boolean {
    return this.connection !== undefined && !this.isElsewhere;
  }

  /** Time since which the node is known to be gone, milliseconds since 1970; undefined while it is connected. */
  get goneSinceMs(): number | undefined {
    return this.connection === undefined ? Math.max(this.lastSeenMs, this.#unseenToMs) : undefined;
  }

  /** Whether the node has been gone for so long that it is to be forgotten. */
  outdated(nowMs: number): boolean {
    const keptMs = this.delivered ? NODE_KEPT_MS : NODE_UNPROVEN_KEPT_MS;
    return this.connection === undefined && nowMs - this.lastSeenMs > keptMs;
  }

  /** By how much the node's clock is ahead of this broker's, nanoseconds, as far as that is more than a message travels. */
  get clockOffsetNs(): bigint {
    const elsewhere = this.steps === undefined ? undefined : this.#clockElsewhere;
    return elsewhere === undefined ? this.clock.windowOffsetNs : elsewhere();
  }

  /** When the node's recording begins, wall time of the broker; undefined until that is known. */
  get recordedFromNs(): bigint | undefined {
    const from = this.recorded?.from;
    return from ? timestampToNs('recorded_from', from) - this.clockOffsetNs : undefined;
  }

  /** Whether the node's whole recording is later than `timeNs`, wall time of the broker. */
  recordedAfter(timeNs: bigint): boolean {
    // Recordings only lose their oldest events, so the start can only have moved later since the report.
    const fromNs = this.recordedFromNs;
    return fromNs !== undefined && fromNs >= timeNs;
  }

  /** What this node cannot see or send, in a sentence; empty when nothing is wrong. */
  get degraded(): string {
    const { refusal } = this;
    const refused = refusal && Date.now() - refusal.atMs < REFUSAL_SHOWN_MS ? refusal.message : '';
    return refused || this.report?.degraded || this.hello?.degraded || [...this.errors.values()][0] || '';
  }

  recordsWith(recorderId: string): void {
    this.replaced ||= this.recorderId !== '' && this.recorderId !== recorderId;
    this.recorderId = recorderId;
  }

  /** Takes what another broker says of it. */
  learn({ recorderId, bootId, epoch, holds, recorded, budget, clockOffsetNs }: NodeElsewhere): void {
    this.recordsWith(recorderId);
    this.bootId = bootId;
    this.epoch = Math.max(this.epoch, epoch);
    this.holds.clear();
    this.steps = holds;
    this.recorded = recorded;
    this.budget = budget ?? this.budget;
    this.#clockElsewhere = clockOffsetNs;
  }

  /** Starts a session. Clears the state of the session before, because the node was asked for nothing in this one. */
  begin(connection: Connection): void {
    this.connection = connection;
    this.isElsewhere = false;
    this.#asked = undefined;
    this.#pending = [];
    this.report = undefined;
    this.errors.clear();
  }

  /**
   * Drops holds of predicates that are no longer wanted, because from here on the node may leave out their events.
   * Returns true when a hold was dropped.
   */
  narrow(wanted: Wanted): boolean {
    let dropped = false;
    for (const id of this.holds.keys()) {
      if (wanted.has(id)) continue;
      dropped = this.holds.delete(id) || dropped;
      this.#dropped.add(id);
    }
    if (dropped) this.#steps = undefined;
    for (const id of this.errors.keys()) if (!wanted.has(id) && this.errors.delete(id)) this.#dropped.add(id);
    return dropped;
  }

  /** From where the log has the predicate's matches; undefined while that is not known. */
  hold(id: bigint, wanted: Wanted): Hold | undefined {
    return this.steps === undefined ? this.holds.get(id) : this.steps.get(id, wanted.since(id));
  }

  /** What is held of the node, from here on by predicate. */
  keepHolds(kept: KeptHolds, wanted: Wanted): void {
    this.steps = undefined;
    this.holds.clear();
    for (const { id } of wanted.predicates) {
      const hold = kept.get(id, wanted.since(id));
      if (hold !== undefined) this.holds.set(id, hold);
    }
    this.#steps = undefined;
  }

  /** What is held of what is wanted, for others. */
  stepsOf(wanted: Wanted): HoldSteps {
    if (this.#steps?.wanted !== wanted) this.#steps = { wanted, steps: HoldSteps.of(this.holds, wanted) };
    return this.#steps.steps;
  }

  /** Returns what the node must be told; undefined when it was told the same in this session. */
  ask(wanted: Wanted, generation: number): Asked | undefined {
    const before = this.#asked;
    if (before?.wanted === wanted) return undefined;
    const change = this.#withDropped(wanted, wanted.changeFrom(before?.wanted ?? NOTHING_WANTED));
    // It was told this before, or it has not been told that nothing is asked of it.
    if (before !== undefined && change.added.length + change.removed.length === 0) {
      this.#asked = { ...before, wanted };
      return undefined;
    }
    this.#asked = { generation, wanted };
    for (const { added } of this.#pending) for (const id of change.removed) added.delete(id);
    this.#pending.push({ generation, added: new Set(change.added.map(({ id }) => id)) });
    if (this.#pending.length > PENDING_MAX) {
      const oldest = this.#pending.shift()!;
      for (const id of oldest.added) this.#pending[0]!.added.add(id);
    }
    return before === undefined ? { kind: 'whole' } : { kind: 'change', base: before.generation, change };
  }

  /**
   * What was dropped and is wanted again before the node was told of either is told as if it were new: for the node nothing
   * has changed, so that it would never answer from where that holds.
   */
  #withDropped(wanted: Wanted, change: WantedChange): WantedChange {
    if (this.#dropped.size === 0) return change;
    const again = new Set([...this.#dropped].filter((id) => wanted.has(id)));
    this.#dropped.clear();
    if (again.size === 0) return change;
    for (const { id } of change.added) again.delete(id);
    return {
      added: [...change.added, ...wanted.predicates.filter(({ id }) => again.has(id))],
      removed: change.removed,
    };
  }

  /**
   * Takes the node's answer to one generation. A predicate holds from `position`
   * if it was asked in that generation and in every later one. Returns the
   * predicates whose holds were added or dropped.
   */
  acknowledge(generation: number, position: Position, errors: ReadonlyMap<bigint, string>): ReadonlySet<bigint> {
    const changed = new Set<bigint>();
    const at = this.#pending.findIndex((interest) => interest.generation === generation);
    if (at < 0) return changed;
    const answered = this.#pending.splice(0, at + 1);
    const isNewer = (id: bigint) => this.#pending.some(({ added }) => added.has(id));
    // What was answered before counts again only where the answer was, or is now, that it cannot be evaluated.
    const again = [...this.errors.keys(), ...errors.keys()].filter((id) => this.#asked!.wanted.has(id) && !isNewer(id));
    const hold = { position, first: position };
    this.heldTo = laterPosition(position, this.heldTo);
    for (const id of new Set([...answered.flatMap(({ added }) => [...added]), ...again])) {
      const error = errors.get(id);
      if (error !== undefined) {
        this.errors.set(id, error);
        if (this.holds.delete(id)) changed.add(id);
      } else if (!this.holds.has(id)) {
        this.errors.delete(id);
        this.holds.set(id, hold);
        changed.add(id);
      }
    }
    if (changed.size > 0) this.#steps = undefined;
    return changed;
  }
}

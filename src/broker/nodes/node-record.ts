/**
 * One node as the broker knows it, connected or not: its identity, the
 * predicates it was asked for, and the position from which its frames in the
 * log are complete for each of them.
 */

import type { TokenBucket } from '../../flow/token-bucket.js';
import { NODE_KEPT_MS, NODE_RETURN_MS, NODE_SEEN_SAVE_MS, NODE_UNPROVEN_KEPT_MS } from '../../limits.js';
import { type Hello__Output, type NodeReport__Output, timestampToNs } from '../../wire/messages.js';
import { laterPosition, type Position } from '../../wire/position.js';
import { type Hold, HoldSteps, type KeptHolds } from './asked/holds.js';
import { NOTHING_WANTED, type Wanted, type WantedChange } from './asked/wanted.js';
import { NodeClock } from './node-clock.js';
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
  readonly clock = new NodeClock();
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
  /** Holds that were dropped, of what the node was asked and has not been told yet that it is not asked any more. */
  readonly #leaving = new Map<bigint, Hold>();
  /** Of one that another broker has, what that says; else undefined. */
  steps: HoldSteps | undefined;
  /** The latest position from which it answered that something holds. */
  heldTo: Position | undefined;
  #steps: { readonly wanted: Wanted; readonly steps: HoldSteps } | undefined;
  /** What the node was told last in this session. */
  #asked: { readonly generation: number; readonly wanted: Wanted } | undefined;
  /** What was told and is not acknowledged, and what each added that is still asked. */
  #pending: { readonly generation: number; readonly added: Set<bigint> }[] = [];

  constructor(readonly name: string) {}

  static restored(saved: SavedNode): NodeRecord {
    const record = new NodeRecord(saved.name);
    record.recorderId = saved.recorderId;
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
    return { name, recorderId, epoch, holds: HoldSteps.NONE, seenMs, connected, delivered, peer };
  }

  get report(): NodeReport__Output | undefined {
    return this.#report;
  }

  set report(report: NodeReport__Output | undefined) {
    this.#report = report;
    this.recorded = report?.recordedFrom ? { from: report.recordedFrom, all: report.recordedAll } : undefined;
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

  /** When the node's recording begins, wall time of the broker; undefined until that is known. */
  get recordedFromNs(): bigint | undefined {
    const from = this.recorded?.from;
    return from ? timestampToNs('recorded_from', from) - this.clock.windowOffsetNs : undefined;
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

  /** Starts a session. Clears the state of the session before, because the node was asked for nothing in this one. */
  begin(connection: Connection): void {
    this.connection = connection;
    this.isElsewhere = false;
    this.#asked = undefined;
    this.#leaving.clear();
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
    for (const [id, hold] of this.holds) {
      if (wanted.has(id)) continue;
      dropped = this.holds.delete(id) || dropped;
      if (this.#asked?.wanted.has(id)) this.#leaving.set(id, hold);
    }
    if (dropped) this.#steps = undefined;
    for (const id of this.errors.keys()) if (!wanted.has(id)) this.errors.delete(id);
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

  /**
   * To be called before the node is told what is wanted: what was dropped and is wanted again before the node was told so
   * goes on to hold, as the node was asked all the time. It would not be told again, and never answer.
   */
  regain(wanted: Wanted): ReadonlySet<bigint> {
    const regained = [...this.#leaving].filter(([id]) => wanted.has(id) && !this.holds.has(id));
    this.#leaving.clear();
    for (const [id, hold] of regained) this.holds.set(id, hold);
    if (regained.length > 0) this.#steps = undefined;
    return new Set(regained.map(([id]) => id));
  }

  /** Returns what the node must be told; undefined when it was told the same in this session. */
  ask(wanted: Wanted, generation: number): Asked | undefined {
    const before = this.#asked;
    if (before?.wanted === wanted) return undefined;
    const change = wanted.changeFrom(before?.wanted ?? NOTHING_WANTED);
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

/**
 * All nodes: which are connected, what each is asked for, and which predicates
 * hold for each. Interest is sent to nodes only from here, and subscriptions
 * listen here for changes of nodes.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackplaneError } from '../../errors.js';
import { OneAtATime } from '../../flow/one-at-a-time.js';
import {
  INTEREST_GATHER_MS_PER_PREDICATE,
  NODE_REPORT_INTERVAL_MS,
  NODE_SEEN_SAVE_MS,
  NODES_MAX,
  NODES_PER_PEER_MAX,
} from '../../limits.js';
import { systemErrorCode } from '../../storage/file-ops.js';
import { TOPICS } from '../../wire/event/event.js';
import { type Hello__Output, type NodeReport__Output, timestampToNs } from '../../wire/messages.js';
import { comparePositions, laterPosition, type Position } from '../../wire/position.js';
import type { SharedState } from '../cluster/shared-state.js';
import { StateMirror } from '../cluster/state-mirror.js';
import type { LogStore } from '../log/log-store.js';
import { clocksDiffer } from '../peer-clock.js';
import { type CoveredTopic, coveredTopics } from './asked/covered-topics.js';
import type { Hold } from './asked/holds.js';
import type { Interest } from './interest-book.js';
import { checkHello, checkReport } from './node-checks.js';
import { type NodeElsewhere, NodeRecord, type Refusal } from './node-record.js';
import type { NodeSession } from './node-session.js';
import { interestEntries, nodeEntries, savedNodes } from './node-state.js';
import { ReportedEvents } from './reported-events.js';

export interface Admission {
  readonly record: NodeRecord;
  readonly session: string;
  readonly covered: readonly CoveredTopic[];
  /** Earliest epoch in which the node may record from now on. */
  readonly epochMin: number;
  /** Frames of earlier epochs are refused, because they belong to another recording. */
  readonly frameEpochMin: number;
}

/**
 * Called with the name of a node that connected, disconnected, or whose holds or state changed. `acknowledged`: nothing
 * changed but the holds of these predicates.
 */
export type NodeListener = (node: string, acknowledged?: ReadonlySet<bigint>) => void;

/** Delay of a save, so that answers of many nodes that arrive together are written once. */
const SAVE_DELAY_MS = 20;
const NODES_PER_SAVE_DELAY_MS = 4;
/** Delay before a failed save is tried again, for example on a full disk. */
const SAVE_RETRY_MS = 1_000;

/**
 * No machine reboots within this time: if the node was heard of more recently, it is alive, and an agent with the same
 * recorder but another boot runs on a copy.
 */
const ANOTHER_BOOT_MS = 2 * NODE_REPORT_INTERVAL_MS;

export class NodeRegistry {
  /** Why the last save of the state failed, in a sentence; undefined when it succeeded. */
  saveTrouble: string | undefined;
  readonly reportedEvents = new ReportedEvents();
  readonly #records = new Map<string, NodeRecord>();
  readonly #sessions = new Map<string, NodeSession>();
  /** Nodes that are connected to other brokers, with their sessions there. */
  readonly #elsewhere = new Map<string, string>();
  readonly #listeners = new Set<NodeListener>();
  #saveTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #savedMs = Date.now();
  #closed = false;
  readonly #saves = new OneAtATime();
  /** Drops of holds since the start, and how many of them are durable. Nodes are told nothing while one is not. */
  #drops = { made: 0, saved: 0 };
  /** Set while a change of interest is being saved and nodes have not been told of it yet. */
  #reconciling: Promise<void> | undefined;
  /** When nodes were told of a change last. */
  #toldMs = 0;

  readonly #book: Interest;
  readonly #store: LogStore;
  /** What this broker keeps of its nodes for its next start; undefined in a cluster, whose brokers keep it together. */
  readonly #kept: { readonly place: string; readonly mirror: StateMirror } | undefined;
  readonly #onSaveFailure: (message: string) => void;

  /** @param state which this broker alone writes; undefined in a cluster */
  constructor(
    book: Interest,
    store: LogStore,
    state: SharedState | undefined,
    onSaveFailure: (message: string) => void,
  ) {
    this.#book = book;
    this.#store = store;
    this.#kept = state && {
      place: state.place,
      mirror: new StateMirror(state, ['generation', 'claim.', 'node.', 'holds.']),
    };
    this.#onSaveFailure = onSaveFailure;
    for (const saved of state === undefined ? [] : savedNodes(state)) {
      const record = NodeRecord.restored(saved);
      record.keepHolds(saved.holds, book.forNode(saved.name));
      this.#records.set(saved.name, record);
    }
    book.listen(() => this.#reconcile());
  }

  record(node: string): NodeRecord | undefined {
    return this.#records.get(node);
  }

  all(): Iterable<NodeRecord> {
    return this.#records.values();
  }

  session(node: string): NodeSession | undefined {
    return this.#sessions.get(node);
  }

  get connectedCount(): number {
    return this.#sessions.size;
  }

  /** Number of nodes that are connected, to whichever broker. */
  get connectedEverywhere(): number {
    return this.#sessions.size + this.#elsewhere.size;
  }

  /** Names of connected nodes that match, to whichever broker. */
  connected(matches: (node: string) => boolean): string[] {
    return [...this.#sessions.keys(), ...this.#elsewhere.keys()].filter(matches);
  }

  /** Takes what is known of a node from other brokers. One that is connected here is as this broker knows it. */
  learn(node: string, learnt: NodeElsewhere): void {
    if (this.#sessions.has(node)) return;
    const { epoch, session, holds } = learnt;
    const record = this.#records.get(node) ?? this.#newRecord(node, undefined);
    const before = this.#elsewhere.get(node) ?? '';
    // Mostly it has answered to a new predicate, which concerns few.
    const isSame = session === before && record.epoch === epoch && record.steps !== undefined;
    const acknowledged = isSame ? holds.newSince(record.steps!, this.#book.forNode(node)) : undefined;
    record.learn(learnt);
    // Whoever appended its frames: it is kept for longer.
    record.delivered ||= this.coveredTo(node, Object.keys(TOPICS)) !== undefined;
    if (session !== before) {
      const nowMs = Date.now();
      record.lastSeenMs = nowMs;
      record.connection = session === '' ? undefined : { session, sinceMs: nowMs };
      record.isElsewhere = session !== '';
      if (session === '') this.#elsewhere.delete(node);
      else this.#elsewhere.set(node, session);
    }
    this.#changed(node, acknowledged);
  }

  /** Position from which a node's frames are complete for all of the predicates; undefined while they are not. */
  hold(node: string, predicateIds: readonly bigint[]): Position | undefined {
    let latest: Position | undefined;
    for (const id of predicateIds) {
      const hold = this.#holdOf(node, id);
      if (hold === undefined) return undefined;
      latest = laterPosition(hold.position, latest);
    }
    return latest;
  }

  /** Position before which the log lacks nothing of any of the predicates that came later; see Hold.first. */
  heldFrom(node: string, predicateIds: readonly bigint[]): Position | undefined {
    let latest: Position | undefined;
    for (const id of predicateIds) latest = laterPosition(this.#holdOf(node, id)?.first, latest);
    return latest;
  }

  /** Position from which a node's frames are complete for one of the predicates; undefined when they are for none. */
  firstHold(node: string, predicateIds: readonly bigint[]): Position | undefined {
    const holds = predicateIds.flatMap((id) => this.#holdOf(node, id)?.first ?? []);
    return holds.sort(comparePositions)[0];
  }

  #holdOf(node: string, id: bigint): Hold | undefined {
    return this.#records.get(node)?.hold(id, this.#book.forNode(node));
  }

  listen(listener: NodeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Ends the existing session of a recorder that connects again. Throws invalid_argument for an invalid hello,
   * already_exists when the name is in use by another recorder, or by the same recorder in another boot that is alive.
   */
  makeWay(hello: Hello__Output): void {
    const existing = this.#records.get(hello.node);
    checkHello(hello, existing === undefined ? 0 : this.#knownEpoch(existing));
    if (existing?.connection !== undefined) {
      if (existing.recorderId !== hello.recorderId) {
        throw new BackplaneError(
          'already_exists',
          `node ${hello.node} is connected with another recorder: two cannot have one name, set node.name`,
        );
      }
      const heardMs = Date.now() - existing.lastSeenMs;
      if (existing.bootId !== hello.bootId && heardMs < ANOTHER_BOOT_MS) {
        throw new BackplaneError(
          'already_exists',
          `node ${hello.node} is connected with the same recorder from another boot, and was heard of ` +
            `${heardMs} ms ago: is its recorder a copy? remove it, and set node.name`,
        );
      }
      this.#sessions.get(hello.node)?.close('the same recorder connected again');
    }
  }

  /**
   * `peer` is the agent's address. Throws what makeWay throws, and resource_exhausted when too many nodes are known
   * (from that address or in total) and none of them can be dropped.
   */
  admit(hello: Hello__Output, peer: string): Admission {
    this.makeWay(hello);
    const record = this.#records.get(hello.node) ?? this.#newRecord(hello.node, peer);
    const known = this.#knownEpoch(record);
    const epoch = Number(hello.epoch);
    const sameRecorder = record.recorderId === '' || record.recorderId === hello.recorderId;
    // Positions of two recordings must not be compared, so a recorder without the known past starts a new epoch.
    const epochMin = epoch < known || (epoch === known && !sameRecorder) ? known + 1 : known;
    record.recordsWith(hello.recorderId);
    record.epoch = Math.max(epoch, epochMin);
    record.hello = hello;
    record.budget = hello.budget ?? undefined;
    record.bootId = hello.bootId;
    record.peer = peer;
    if (hello.wallTime) record.clock.measured(timestampToNs('hello.wall_time', hello.wallTime));
    // What the broker says that had it before counts as long as what is asked of it goes on.
    if (record.steps !== undefined) record.keepHolds(record.steps, this.#book.forNode(record.name));
    this.#narrow(record);
    const session = randomUUID();
    record.lastSeenMs = Date.now();
    record.begin({ session, sinceMs: record.lastSeenMs });
    this.#scheduleSave();
    // A known recorder may still have unsent frames of earlier epochs, so these are accepted from it.
    const frameEpochMin = sameRecorder ? 0 : epochMin;
    return {
      record,
      session,
      covered: coveredTopics(record, this.#book.forNode(record.name), this.#store),
      epochMin,
      frameEpochMin,
    };
  }

  /** Registers a session that can be written to, and tells the node its interest. */
  attach(session: NodeSession): void {
    // An agent that did not read its welcome is gone already, and nothing would remove its session again.
    if (!session.open) return;
    this.#sessions.set(session.record.name, session);
    this.#elsewhere.delete(session.record.name);
    // During a change the node must not be told before the save; carryOut() then tells all sessions.
    if (this.#drops.saved < this.#drops.made) void this.#reconcile();
    else if (this.#reconciling === undefined) this.#tell(session.record, session);
    this.#changed(session.record.name);
  }

  detach(session: NodeSession): void {
    const { record } = session;
    if (record.connection?.session === session.id) {
      record.connection = undefined;
      record.lastSeenMs = Date.now();
      this.#scheduleSave();
    }
    if (this.#sessions.get(record.name) === session) this.#sessions.delete(record.name);
    // Of one that ended before it was attached: the node may still be where it was, which is to be learnt again.
    else if (!this.#elsewhere.delete(record.name)) return;
    this.#changed(record.name);
  }

  acknowledged(record: NodeRecord, generation: number, position: Position, errors: ReadonlyMap<bigint, string>): void {
    const degradedBefore = record.degraded;
    const changed = record.acknowledge(generation, position, errors);
    if (changed.size === 0 && errors.size === 0) return;
    this.#scheduleSave();
    const alone = errors.size === 0 && record.degraded === degradedBefore;
    this.#changed(record.name, alone ? changed : undefined);
  }

  /** Called when a frame of the node became durable; it is kept for longer from then on. */
  delivered(record: NodeRecord): void {
    if (record.delivered) return;
    record.delivered = true;
    this.#scheduleSave();
  }

  /** Forgets nodes, which must not be connected. A node that connects later becomes known again. */
  forget(nodes: readonly string[]): void {
    for (const node of nodes) this.#drop(node);
    if (nodes.length > 0) this.#scheduleSave();
  }

  /** Forgets nodes that have been gone for too long, and saves when the others were last seen. Called every second. */
  expire(nowMs: number): void {
    this.forget([...this.#records.values()].filter((record) => record.outdated(nowMs)).map(({ name }) => name));
    if (this.#sessions.size > 0 && nowMs - this.#savedMs > NODE_SEEN_SAVE_MS / 2) this.#scheduleSave();
  }

  refused(record: NodeRecord, refusal: Refusal): void {
    record.refusal = refusal;
    this.#changed(record.name);
  }

  /** Takes a node's report. Throws invalid_argument when it is out of bounds. */
  reported(record: NodeRecord, report: NodeReport__Output): void {
    checkReport(report);
    const { degraded: degradedBefore, clockOffsetNs: clockBefore } = record;
    this.reportedEvents.add(report, record.report);
    record.report = report;
    record.lastSeenMs = Date.now();
    if (report.wallTime) record.clock.measured(timestampToNs('report.wall_time', report.wallTime));
    const wasSet = clocksDiffer(record.clockOffsetNs, clockBefore);
    if (wasSet || record.degraded !== degradedBefore) this.#changed(record.name);
  }

  /** Position up to which the log has a node's frames: the furthest of the given topics. */
  coveredTo(node: string, topics: readonly string[]): Position | undefined {
    let furthest: Position | undefined;
    for (const topic of topics) furthest = laterPosition(this.#store.coveredTo(node, topic), furthest);
    return furthest;
  }

  /** @param of which nodes'; all of them unless it is given */
  closeSessions(reason: string, of: (node: string) => boolean = () => true): void {
    for (const session of [...this.#sessions.values()]) if (of(session.record.name)) session.close(reason);
  }

  /** Stops all saving: a save after this writes nothing. */
  close(): void {
    clearTimeout(this.#saveTimer);
    clearTimeout(this.#retryTimer);
    this.#closed = true;
  }

  /** Resolves with false when the write failed; it is then tried again by a timer. */
  save(): Promise<boolean> {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    return this.#saves.run(() => this.#write());
  }

  async #write(): Promise<boolean> {
    if (this.#closed) return true;
    this.#savedMs = Date.now();
    const { made } = this.#drops;
    if (this.#kept === undefined) {
      this.#drops.saved = made;
      return true;
    }
    const { place, mirror } = this.#kept;
    // Others keep what they know of the nodes that they have.
    const own = [...this.#records.values()].filter(({ name }) => !this.#elsewhere.has(name));
    const nodes = own.flatMap((record) => {
      const steps = record.steps ?? record.stepsOf(this.#book.forNode(record.name));
      return nodeEntries(record.saved(), steps);
    });
    try {
      await mirror.write([...interestEntries(this.#book.saved()), ...nodes]);
      this.#drops.saved = made;
      this.saveTrouble = undefined;
      return true;
    } catch (cause) {
      const told = `cannot write ${place}: ${systemErrorCode(cause) ?? cause}; check the disk`;
      if (told !== this.saveTrouble) this.#onSaveFailure(told);
      this.saveTrouble = told;
      this.#saveTimer ??= setTimeout(() => void this.save(), SAVE_RETRY_MS).unref();
      return false;
    }
  }

  /**
   * Carries out a change of interest. Dropped holds are saved before any node is
   * told: otherwise a broker that is killed in between would restart with a hold
   * for a log that has a hole.
   */
  #reconcile(): Promise<void> {
    this.#reconciling ??= this.#carryOut();
    return this.#reconciling;
  }

  async #carryOut(): Promise<void> {
    let saved: boolean;
    let generation: number;
    // Each change is work for every node: where many come, those that come together are told together.
    const gatherMs = this.#toldMs + this.#book.size * INTEREST_GATHER_MS_PER_PREDICATE - performance.now();
    if (gatherMs > 0) await sleep(gatherMs, undefined, { ref: false });
    do {
      ({ generation } = this.#book);
      for (const record of this.#records.values()) this.#narrow(record);
      saved = await this.save();
      // A change that came during the save must be saved as well before nodes are told.
    } while (generation !== this.#book.generation);
    this.#reconciling = undefined;
    if (!saved && !this.#closed) {
      this.#retryTimer ??= setTimeout(() => {
        this.#retryTimer = undefined;
        void this.#reconcile();
      }, SAVE_RETRY_MS).unref();
      if (this.#drops.saved < this.#drops.made) return;
    }
    this.#toldMs = performance.now();
    for (const session of this.#sessions.values()) this.#tell(session.record, session);
  }

  #narrow(record: NodeRecord): void {
    if (record.narrow(this.#book.forNode(record.name))) this.#drops.made++;
  }

  #tell(record: NodeRecord, session: NodeSession): void {
    const { generation } = this.#book;
    const wanted = this.#book.forNode(record.name);
    const asked = record.ask(wanted, generation);
    if (asked?.kind === 'change' && record.hello?.interestChanges) {
      session.sendInterestChange(generation, asked.base, asked.change);
    } else if (asked !== undefined) session.sendInterest(generation, wanted.predicates);
  }

  #knownEpoch(record: NodeRecord): number {
    return Math.max(record.epoch, this.coveredTo(record.name, Object.keys(TOPICS))?.epoch ?? 0);
  }

  /** @param peer its address; undefined where another broker has the node, and has bounded how many come from there */
  #newRecord(name: string, peer: string | undefined): NodeRecord {
    let ofPeer = 0;
    if (peer !== undefined) for (const record of this.#records.values()) if (record.peer === peer) ofPeer++;
    if (ofPeer >= NODES_PER_PEER_MAX && !this.#dropOldest((record) => record.peer === peer)) {
      throw tooMany(`${NODES_PER_PEER_MAX} nodes of one address (${peer})`);
    }
    if (this.#records.size >= NODES_MAX && !this.#dropOldest(() => true)) throw tooMany(`${NODES_MAX} nodes`);
    const record = new NodeRecord(name);
    this.#records.set(name, record);
    return record;
  }

  /**
   * Drops one disconnected node: the longest gone of those that never delivered, else the longest gone of all. Returns
   * false when there is none.
   */
  #dropOldest(among: (record: NodeRecord) => boolean): boolean {
    let oldest: NodeRecord | undefined;
    for (const record of this.#records.values()) {
      if (record.connection !== undefined || !among(record)) continue;
      if (oldest === undefined || goesFirst(record, oldest)) oldest = record;
    }
    if (oldest) this.#drop(oldest.name);
    return oldest !== undefined;
  }

  #drop(node: string): void {
    this.#records.delete(node);
    this.#elsewhere.delete(node);
    this.#changed(node);
  }

  #changed(node: string, acknowledged?: ReadonlySet<bigint>): void {
    for (const listener of this.#listeners) listener(node, acknowledged);
  }

  #scheduleSave(): void {
    if (this.#closed) return;
    this.#saveTimer ??= setTimeout(
      () => void this.save(),
      SAVE_DELAY_MS + this.#records.size / NODES_PER_SAVE_DELAY_MS,
    );
    this.#saveTimer.unref();
  }
}

function goesFirst(a: NodeRecord, b: NodeRecord): boolean {
  return a.delivered === b.delivered ? a.lastSeenMs < b.lastSeenMs : !a.delivered;
}

function tooMany(what: string): BackplaneError {
  return new BackplaneError(
    'resource_exhausted',
    `at most ${what} can be known at once, and none of them is gone: take some away, or start a broker for them`,
  );
}

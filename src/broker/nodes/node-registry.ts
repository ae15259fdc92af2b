/**
 * All nodes: which are connected, what each is asked, what holds for each. The
 * one place where interest meets nodes; subscriptions listen here.
 */
import { randomUUID } from 'node:crypto';
import { BackplaneError } from '../../errors.js';
import { OneAtATime } from '../../flow/one-at-a-time.js';
import { NODE_REPORT_INTERVAL_MS, NODE_SEEN_SAVE_MS, NODES_MAX, NODES_PER_PEER_MAX } from '../../limits.js';
import { systemErrorCode } from '../../storage/file-ops.js';
import type { PredicateSpec } from '../../subscriptions/predicate.js';
import { TOPICS } from '../../wire/event/event.js';
import { type Hello__Output, type NodeReport__Output, timestampToNs } from '../../wire/messages.js';
import { comparePositions, laterPosition, type Position } from '../../wire/position.js';
import type { InterestFile, SavedNode } from '../cluster/embedded/interest-file.js';
import type { LogStore } from '../log/log-store.js';
import type { InterestBook } from './interest-book.js';
import { checkHello, checkReport } from './node-checks.js';
import { NodeRecord, type Refusal } from './node-record.js';
import type { NodeSession } from './node-session.js';

/** Up to where the log and what it promised reach, of one topic. */
export interface CoveredTopic {
  readonly topic: string;
  readonly to: Position;
  /** The agent goes on from there: interest was in force without a break. */
  readonly resume: boolean;
  /** The log's last frame ended exactly there. */
  readonly frameEnd: boolean;
}

export interface Admission {
  readonly record: NodeRecord;
  readonly session: string;
  readonly covered: readonly CoveredTopic[];
  /** In which the node is to record from now on, at least. */
  readonly epochMin: number;
  /** Frames of earlier epochs are refused: they are of another recording. */
  readonly frameEpochMin: number;
}

/** Told the name of a node that came, went, or whose acknowledged interest changed. */
export type NodeListener = (node: string) => void;

/** Answers of many nodes come together and are written once. */
const SAVE_DELAY_MS = 20;
const NODES_PER_SAVE_DELAY_MS = 4;
/** A full disk is tried again. */
const SAVE_RETRY_MS = 1_000;

/** A machine does not boot so fast: one heard of within this time lives, and another with its recorder has a copy. */
const ANOTHER_BOOT_MS = 2 * NODE_REPORT_INTERVAL_MS;

export class NodeRegistry {
  /** Why what is asked of nodes could not be written down last, in a sentence; undefined: it is. */
  saveTrouble: string | undefined;
  private readonly records = new Map<string, NodeRecord>();
  private readonly sessions = new Map<string, NodeSession>();
  private readonly listeners = new Set<NodeListener>();
  private saveTimer: NodeJS.Timeout | undefined;
  private retryTimer: NodeJS.Timeout | undefined;
  private savedMs = Date.now();
  private closed = false;
  private readonly saves = new OneAtATime();
  /** While a change of what is asked is carried out. */
  private reconciling: Promise<void> | undefined;

  constructor(
    private readonly book: InterestBook,
    private readonly store: LogStore,
    private readonly state: InterestFile,
    nodes: readonly SavedNode[],
    private readonly onSaveFailure: (message: string) => void,
  ) {
    for (const saved of nodes) this.records.set(saved.name, NodeRecord.restored(saved));
    book.listen(() => this.reconcile());
  }

  record(node: string): NodeRecord | undefined {
    return this.records.get(node);
  }

  all(): Iterable<NodeRecord> {
    return this.records.values();
  }

  session(node: string): NodeSession | undefined {
    return this.sessions.get(node);
  }

  get connectedCount(): number {
    return this.sessions.size;
  }

  /** Names of connected nodes that match. */
  connected(matches: (node: string) => boolean): string[] {
    return [...this.sessions.keys()].filter(matches);
  }

  /** From which position a node's frames are complete for a predicate; undefined when they are not. */
  hold(node: string, predicateId: bigint): Position | undefined {
    return this.records.get(node)?.holds.get(predicateId);
  }

  listen(listener: NodeListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Ends the session that the recorder has, which connected again. Throws invalid_argument; already_exists when another
   * living recorder has the name.
   */
  makeWay(hello: Hello__Output): void {
    const existing = this.records.get(hello.node);
    checkHello(hello, existing === undefined ? 0 : this.knownEpoch(existing));
    if (existing?.connection !== undefined) {
      if (existing.recorderId !== hello.recorderId) {
        throw new BackplaneError(
          'already_exists',
          `node ${hello.node} is connected with another recorder: two cannot have one name, set node.name`,
        );
      }
      const heardMs = Date.now() - existing.lastSeenMs;
      if (existing.hello?.bootId !== hello.bootId && heardMs < ANOTHER_BOOT_MS) {
        throw new BackplaneError(
          'already_exists',
          `node ${hello.node} is connected with the same recorder from another boot, and was heard of ` +
            `${heardMs} ms ago: is its recorder a copy? remove it, and set node.name`,
        );
      }
      this.sessions.get(hello.node)?.close('the same recorder connected again');
    }
  }

  /**
   * `peer` is the address it comes from. Throws what makeWay throws; resource_exhausted when too many names are known,
   * of that address or in all.
   */
  admit(hello: Hello__Output, peer: string): Admission {
    this.makeWay(hello);
    const record = this.records.get(hello.node) ?? this.newRecord(hello.node, peer);
    const known = this.knownEpoch(record);
    const epoch = Number(hello.epoch);
    const sameRecorder = record.recorderId === '' || record.recorderId === hello.recorderId;
    // Positions of two recordings must not be compared: the one without the past begins a new epoch.
    const epochMin = epoch < known || (epoch === known && !sameRecorder) ? known + 1 : known;
    record.recorderId = hello.recorderId;
    record.epoch = Math.max(epoch, epochMin);
    record.hello = hello;
    record.peer = peer;
    if (hello.wallTime) record.clock.measured(timestampToNs('hello.wall_time', hello.wallTime));
    record.narrow(this.book.forNode(record.name));
    const session = randomUUID();
    record.lastSeenMs = Date.now();
    record.begin({ session, sinceMs: record.lastSeenMs });
    this.scheduleSave();
    // A recorder that returns may be behind: what it has of its earlier epochs comes first.
    const frameEpochMin = sameRecorder ? 0 : epochMin;
    return { record, session, covered: this.covered(record), epochMin, frameEpochMin };
  }

  /** The session can be written to: the node is told what is asked. */
  attach(session: NodeSession): void {
    this.sessions.set(session.record.name, session);
    // While that changes, all are told when the change is written down.
    if (this.reconciling === undefined) this.tell(session.record, session);
    this.changed(session.record.name);
  }

  detach(session: NodeSession): void {
    const { record } = session;
    if (record.connection?.session === session.id) {
      record.connection = undefined;
      record.lastSeenMs = Date.now();
      this.scheduleSave();
    }
    if (this.sessions.get(record.name) !== session) return;
    this.sessions.delete(record.name);
    this.changed(record.name);
  }

  acknowledged(record: NodeRecord, generation: number, position: Position, errors: ReadonlyMap<bigint, string>): void {
    if (!record.acknowledge(generation, position, errors) && errors.size === 0) return;
    this.scheduleSave();
    this.changed(record.name);
  }

  /** A frame of it is durable. */
  delivered(record: NodeRecord): void {
    if (record.delivered) return;
    record.delivered = true;
    this.scheduleSave();
  }

  /** These are known no longer, until they come again. They must not be connected. */
  forget(nodes: readonly string[]): void {
    for (const node of nodes) this.drop(node);
    if (nodes.length > 0) this.scheduleSave();
  }

  /** Lets go of nodes that have been gone for long, and writes down which others were seen. Called every second. */
  expire(nowMs: number): void {
    this.forget([...this.records.values()].filter((record) => record.outdated(nowMs)).map(({ name }) => name));
    if (this.sessions.size > 0 && nowMs - this.savedMs > NODE_SEEN_SAVE_MS / 2) this.scheduleSave();
  }

  refused(record: NodeRecord, refusal: Refusal): void {
    record.refusal = refusal;
    this.changed(record.name);
  }

  /** Throws invalid_argument. */
  reported(record: NodeRecord, report: NodeReport__Output): void {
    checkReport(report);
    const degradedBefore = record.degraded;
    record.report = report;
    record.lastSeenMs = Date.now();
    if (report.wallTime) record.clock.measured(timestampToNs('report.wall_time', report.wallTime));
    if (record.degraded !== degradedBefore) this.changed(record.name);
  }

  /** How far the log has a node's frames, over several topics the furthest. */
  coveredTo(node: string, topics: readonly string[]): Position | undefined {
    let furthest: Position | undefined;
    for (const topic of topics) {
      const to = this.store.coveredTo(node, topic);
      if (to && (!furthest || comparePositions(to, furthest) > 0)) furthest = to;
    }
    return furthest;
  }

  closeSessions(reason: string): void {
    for (const session of [...this.sessions.values()]) session.close(reason);
  }

  /** Nothing is written any more. */
  close(): void {
    clearTimeout(this.saveTimer);
    clearTimeout(this.retryTimer);
    this.closed = true;
  }

  /** Resolves with false when it cannot be written at this moment: it is tried again. */
  save(): Promise<boolean> {
    clearTimeout(this.saveTimer);
    this.saveTimer = undefined;
    return this.saves.run(() => this.write());
  }

  private async write(): Promise<boolean> {
    if (this.closed) return true;
    this.savedMs = Date.now();
    const nodes = [...this.records.values()].map((record) => record.saved());
    try {
      await this.state.save({ generation: this.book.generation, claims: this.book.saved(), nodes });
      this.saveTrouble = undefined;
      return true;
    } catch (cause) {
      const told = `cannot write ${this.state.file}: ${systemErrorCode(cause) ?? cause}; check the disk`;
      if (told !== this.saveTrouble) this.onSaveFailure(told);
      this.saveTrouble = told;
      this.saveTimer ??= setTimeout(() => void this.save(), SAVE_RETRY_MS).unref();
      return false;
    }
  }

  /**
   * What is asked has changed. What ceases to hold is written down before any
   * node hears of it: otherwise a broker killed in between would take a log
   * with a hole for a complete one.
   */
  private reconcile(): Promise<void> {
    this.reconciling ??= this.carryOut();
    return this.reconciling;
  }

  private async carryOut(): Promise<void> {
    let dropped = false;
    let saved: boolean;
    let generation: number;
    do {
      ({ generation } = this.book);
      for (const record of this.records.values()) dropped = record.narrow(this.book.forNode(record.name)) || dropped;
      saved = await this.save();
      // What has changed meanwhile is written down before anybody hears of it, too.
    } while (generation !== this.book.generation);
    this.reconciling = undefined;
    if (!saved && !this.closed) {
      this.retryTimer ??= setTimeout(() => {
        this.retryTimer = undefined;
        void this.reconcile();
      }, SAVE_RETRY_MS);
      this.retryTimer.unref();
      if (dropped) return;
    }
    for (const session of this.sessions.values()) this.tell(session.record, session);
  }

  private tell(record: NodeRecord, session: NodeSession): void {
    const wanted = this.book.forNode(record.name);
    if (record.ask(wanted, this.book.generation)) session.sendInterest(this.book.generation, wanted);
  }

  private covered(record: NodeRecord): CoveredTopic[] {
    const wanted = this.book.forNode(record.name);
    const covered: CoveredTopic[] = [];
    for (const topic of Object.keys(TOPICS)) {
      const to = this.store.coveredTo(record.name, topic);
      const promised = earliestHold(record, wanted, topic);
      const resume = promised !== undefined;
      // What was promised but never framed begins where the promise does.
      const from = to && promised ? laterPosition(to, promised) : (to ?? promised);
      if (from)
        covered.push({ topic, to: from, resume, frameEnd: to !== undefined && comparePositions(to, from) === 0 });
    }
    return covered;
  }

  private knownEpoch(record: NodeRecord): number {
    return Math.max(record.epoch, this.coveredTo(record.name, Object.keys(TOPICS))?.epoch ?? 0);
  }

  private newRecord(name: string, peer: string): NodeRecord {
    let ofPeer = 0;
    for (const record of this.records.values()) if (record.peer === peer) ofPeer++;
    if (ofPeer >= NODES_PER_PEER_MAX && !this.dropOldest((record) => record.peer === peer)) {
      throw tooMany(`${NODES_PER_PEER_MAX} nodes of one address (${peer})`);
    }
    if (this.records.size >= NODES_MAX && !this.dropOldest(() => true)) throw tooMany(`${NODES_MAX} nodes`);
    const record = new NodeRecord(name);
    this.records.set(name, record);
    return record;
  }

  /** Of those that are gone and never delivered the longest gone, else of the others that are gone. */
  private dropOldest(among: (record: NodeRecord) => boolean): boolean {
    let oldest: NodeRecord | undefined;
    for (const record of this.records.values()) {
      if (record.connection !== undefined || !among(record)) continue;
      if (oldest === undefined || goesFirst(record, oldest)) oldest = record;
    }
    if (oldest) this.drop(oldest.name);
    return oldest !== undefined;
  }

  private drop(node: string): void {
    this.records.delete(node);
    this.changed(node);
  }

  private changed(node: string): void {
    for (const listener of this.listeners) listener(node);
  }

  private scheduleSave(): void {
    if (this.closed) return;
    this.saveTimer ??= setTimeout(() => void this.save(), SAVE_DELAY_MS + this.records.size / NODES_PER_SAVE_DELAY_MS);
    this.saveTimer.unref();
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

function earliestHold(record: NodeRecord, wanted: readonly PredicateSpec[], topic: string): Position | undefined {
  let earliest: Position | undefined;
  for (const { id, topics } of wanted) {
    const hold = topics.includes(topic) ? record.holds.get(id) : undefined;
    if (hold && (!earliest || comparePositions(hold, earliest) < 0)) earliest = hold;
  }
  return earliest;
}

/**
 * An agent without a kernel: its recorder is an array, its uplink the real one.
 * Publishes like a node does: frames cover what was recorded, a resumed topic
 * goes on where the broker says, history is answered from the array.
 */

import { Metadata } from '@grpc/grpc-js';
import { inTheClear, type SecurityFor } from '../../../src/access/secure-channel.js';
import { CreditBalance } from '../../../src/flow/credit.js';
import { packageVersion } from '../../../src/package-files.js';
import { type AskedInterest, AskedPredicates } from '../../../src/sensor-agent/uplink/asked-predicates.js';
import { compilePredicate, type Predicate } from '../../../src/subscriptions/predicate.js';
import { PredicateIndex } from '../../../src/subscriptions/predicate-index.js';
import { type BusEvent, topicOf } from '../../../src/wire/event/event.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';
import { encodeFrame } from '../../../src/wire/frame/frame.js';
import { createUplinkClient, type HistoryMessage, SESSION_KEY, type UplinkClient } from '../../../src/wire/grpc/rpc.js';
import {
  type Budget,
  type ControlResponse__Output,
  type HistoryQuery__Output,
  nsToTimestamp,
  positionFromMessage,
  positionToMessage,
  timestampToNs,
} from '../../../src/wire/messages.js';
import { comparePositions, ORIGIN, type Position } from '../../../src/wire/position.js';
import { PROTOCOL } from '../../../src/wire/protocol.js';
import { frameOver } from '../frames.js';
import { columns, historyFrameOf, type Matched, matchesIn, shedOf } from './matched.js';

export interface Recorded {
  readonly event: BusEvent;
  readonly run: Buffer;
}

/** The recording of a node, which survives its agent. */
export class TestRecorder {
  readonly events: Recorded[] = [];
  readonly #writer = new EventWriter();
  #tick = 0n;
  /** The profiles that its agents may record; undefined: an old agent, which does not say. */
  profiles: readonly string[] = [];
  bootId = 'boot';
  /** The budget that its agents state; undefined: no bound. */
  budget: Budget | undefined;

  readonly #startWallNs: bigint;

  constructor(
    readonly id: string,
    readonly epoch = 1,
    startWallNs = BigInt(Date.now()) * 1_000_000n,
  ) {
    this.#startWallNs = startWallNs;
  }

  /** Its events are of now, as a kernel's are; else each is a millisecond after the last, whenever it is recorded. */
  isTimed = false;

  /** `pid` tells events apart. */
  record(type: string, pid: number, comm = `c${pid}`): Recorded {
    const nowNs = BigInt(Date.now()) * 1_000_000n - this.#startWallNs;
    if (!this.isTimed) this.#tick += 1_000_000n;
    else this.#tick = nowNs > this.#tick ? nowNs : this.#tick + 1n;
    const event: BusEvent = {
      type,
      topic: topicOf(type),
      position: { epoch: this.epoch, timeNs: this.#tick, lane: Number(this.#tick / 1_000_000n) % 2, tie: 0 },
      wallNs: this.#startWallNs + this.#tick,
      process: { pid, comm },
    };
    this.#writer.write(event);
    const recorded = { event, run: Buffer.from(this.#writer.take()) };
    this.events.push(recorded);
    return recorded;
  }

  /** The newest of its events, so many, are not told yet: more is to be known of them. */
  held = 0;

  get frontier(): Position {
    return this.events.at(-1 - this.held)?.event.position ?? { ...ORIGIN, epoch: this.epoch };
  }

  wallAt(position: Position): bigint {
    return this.#startWallNs + position.timeNs;
  }
}

export class TestAgent {
  /** Generations, in the order in which they came. */
  readonly interests: bigint[] = [];
  /** Of them, those of which it was told the whole. */
  wholeInterests = 0;
  acknowledged = new Map<string, Position>();
  /** Why the session ended. */
  ended: string | undefined;
  historyQueries = 0;
  /** The last of them. */
  lastQuery: HistoryQuery__Output | undefined;
  /** Bytes per second that it was granted, lease by lease. */
  readonly leases: number[] = [];
  /** How long it may gather live events, as it was told. */
  readonly lingers: number[] = [];
  /** How long it is to gather them at least, as it was told. */
  readonly leastLingers: number[] = [];
  /** Set while over its budget: frames have no events, and say how much was shed. */
  shedding = false;
  /** Queries are answered as if nothing up to here were recorded any more. */
  evictedTo: Position = ORIGIN;
  /** Answers say that older events are no longer recorded. */
  evicts = false;
  /** Answers say that nothing was recorded before. */
  begins = false;
  /** Set to answer interest later, by calling it. */
  holdInterest: boolean | undefined;
  /** Set to take interest at once, and to say so later, by calling answerLate(). */
  answersLate = false;
  answerLate = () => {};
  /** Set to answer every predicate with this error. */
  refuses: string | undefined;
  /** Changes each live frame before it is sent. */
  mangle = (frameBytes: Buffer): Buffer => frameBytes;
  /** Changes each history frame before it is sent. */
  mangleHistory = (frameBytes: Buffer): Buffer => frameBytes;
  /** Up to where its answers say that they reach. */
  reaches = (upTo: Position): Position => upTo;
  /** Answers queries in place of the recorder. */
  answerWith: ((queryId: number) => void) | undefined;
  /** Called in the middle of a history answer. */
  midHistory: (() => Promise<void>) | undefined;
  welcome: NonNullable<ControlResponse__Output['welcome']> | undefined;
  readonly #client: UplinkClient;
  readonly #asked = new AskedPredicates();
  #predicates: Predicate[] = [];
  /** As a real agent has it: a fleet's agents would otherwise take longer for many filters than its brokers do. */
  #index = new PredicateIndex([]);
  #covered = new Map<string, Position>();
  /** Set to lose published frames before they reach the broker, which does not notice. */
  loses = false;
  /** Topics whose next frame continues the one before. */
  readonly #continued = new Set<string>();
  #floors = new Map<string, Position>();
  #resume: Position | undefined;
  readonly #control;
  #live!: ReturnType<UplinkClient['live']>;
  #history!: ReturnType<UplinkClient['history']>;
  readonly #queries = new Map<number, { readonly credit: CreditBalance; readonly abort: AbortController }>();

  private constructor(
    address: string,
    readonly node: string,
    public recorder: TestRecorder,
    token: string | undefined,
    securityFor: SecurityFor,
  ) {
    this.#client = createUplinkClient(address, token, securityFor(address));
    this.#control = this.#client.control(new Metadata());
  }

  /** `hello`: fields that replace those of a correct Hello. */
  static async connect(
    address: string,
    node: string,
    recorder: TestRecorder,
    hello = {},
    token?: string,
    securityFor = inTheClear,
  ): Promise<TestAgent> {
    const agent = new TestAgent(address, node, recorder, token, securityFor);
    const welcomed = new Promise<void>((resolve, reject) => {
      agent.#control.on('error', (error) => {
        agent.ended ??= error.message;
        reject(error);
      });
      agent.#control.on('end', () => {
        agent.ended ??= 'the broker closed the connection';
      });
      agent.#control.on('data', (message: ControlResponse__Output) => {
        if (message.welcome) resolve();
        agent.#receive(message);
      });
    });
    agent.#control.write({
      hello: {
        node,
        protocol: PROTOCOL,
        interestChanges: true,
        recorderId: recorder.id,
        bootId: recorder.bootId,
        epoch: recorder.epoch,
        version: packageVersion(),
        source: 'synthetic',
        profiles: [...recorder.profiles],
        ...(recorder.budget ? { budget: recorder.budget } : {}),
        wallTime: nsToTimestamp(BigInt(Date.now()) * 1_000_000n),
        ...hello,
      },
    });
    await welcomed.catch((error) => {
      agent.#client.close();
      throw error;
    });
    return agent;
  }

  get topics(): string[] {
    return [...new Set(this.#predicates.flatMap(({ topics }) => topics))];
  }

  /** Sends one frame per topic of interest, up to the newest recorded event, in one message. */
  publish(): void {
    const frames = this.topics.flatMap((topic) => this.#frame(topic, this.recorder.frontier) ?? []);
    if (frames.length > 0) this.#live.write(frames);
  }

  /** Sends any message on the control stream. */
  say(message: object): void {
    this.#control.write(message);
  }

  /** Sends any bytes as a live frame. */
  sendFrame(bytes: Buffer): void {
    this.#live.write([bytes]);
  }

  sendHistory(message: HistoryMessage): void {
    this.#history.write(message);
  }

  /** The connection breaks, as when the agent is killed. */
  kill(): void {
    this.ended ??= 'killed';
    this.#control.cancel();
    this.#live.cancel();
    this.#history.cancel();
    this.#client.close();
  }

  /** Live messages that the connection has not taken yet. */
  readonly unsent = () => this.#live.writableLength;

  /** The number of queries that it has not ended. */
  get runningQueries(): number {
    return this.#queries.size;
  }

  answerInterest(): void {
    this.holdInterest = false;
    this.#acknowledge();
  }

  #receive(message: ControlResponse__Output): void {
    if (message.welcome) this.#welcomed(message.welcome);
    else if (message.interest) {
      this.wholeInterests++;
      this.#ask(this.#asked.whole(message.interest));
    } else if (message.interestChange) this.#ask(this.#asked.change(message.interestChange));
    else if (message.frameAck) {
      for (const { topic, coveredTo } of message.frameAck.topics)
        this.acknowledged.set(topic, positionFromMessage('covered_to', coveredTo!));
    } else if (message.lease) this.leases.push(Number(message.lease.budget?.liveBytesPerSecond));
    else if (message.leastLinger) this.leastLingers.push(message.leastLinger.lingerMs);
    else if (message.linger) this.lingers.push(message.linger.lingerMs);
    else if (message.historyQuery && this.answerWith) this.answerWith(Number(message.historyQuery.queryId));
    else if (message.historyQuery) void this.#answer(message.historyQuery);
    else if (message.historyCredit) {
      this.#queries.get(Number(message.historyCredit.queryId))?.credit.add(Number(message.historyCredit.bytes));
    } else if (message.historyCancel) this.#queries.get(Number(message.historyCancel.queryId))?.abort.abort();
  }

  #ask({ generation, predicates }: AskedInterest): void {
    this.interests.push(BigInt(generation));
    this.#predicates = predicates.map((predicate) => compilePredicate(predicate));
    this.#index = new PredicateIndex(this.#predicates);
    if (!this.holdInterest) this.#acknowledge();
  }

  #welcomed(welcome: NonNullable<ControlResponse__Output['welcome']>): void {
    this.welcome = welcome;
    const metadata = new Metadata();
    metadata.set(SESSION_KEY, welcome.session);
    this.#live = this.#client.live(metadata, (error) => {
      this.ended ??= error?.message ?? 'live ended';
    });
    this.#history = this.#client.history(metadata, (error) => {
      this.ended ??= error?.message ?? 'history ended';
    });
    for (const stream of [this.#live, this.#history]) stream.on('error', () => undefined);
    for (const { topic, to, resume, frameEnd } of welcome.covered) {
      if (!to) continue;
      if (resume && frameEnd) this.#continued.add(topic);
      const position = positionFromMessage('to', to);
      this.#floors.set(topic, position);
      if (resume && (!this.#resume || comparePositions(position, this.#resume) < 0)) this.#resume = position;
    }
  }

  /** As the real publisher does it: a new topic starts at the frontier, a resumed one where the log ends. */
  #acknowledge(): void {
    const start = this.#resume ?? this.recorder.frontier;
    this.#resume = undefined;
    const wanted = new Set(this.topics);
    for (const topic of this.#covered.keys()) {
      if (wanted.has(topic)) continue;
      this.#covered.delete(topic);
      this.#continued.delete(topic);
    }
    let holds = start;
    for (const topic of wanted) {
      const floor = this.#floors.get(topic);
      const from = this.#covered.get(topic) ?? (floor && comparePositions(floor, start) > 0 ? floor : start);
      this.#covered.set(topic, from);
      if (comparePositions(from, holds) > 0) holds = from;
    }
    const generation = this.interests.at(-1)!.toString();
    const { refuses } = this;
    const errors = refuses ? this.#predicates.map(({ id }) => ({ id: id.toString(), message: refuses })) : [];
    this.answerLate = () => this.say({ interestAck: { generation, position: positionToMessage(holds), errors } });
    if (!this.answersLate) this.answerLate();
  }

  /** As where its broker does not know that it was asked before: what is recorded so far is in no frame. */
  beginAnew(): void {
    for (const topic of this.topics) this.#covered.set(topic, this.recorder.frontier);
    this.#continued.clear();
  }

  /** Sends a frame of one topic. */
  publishTopic(topic: string, to: Position): void {
    const frame = this.#frame(topic, to);
    if (frame) this.#live.write([frame]);
  }

  /** The next frame of a topic; undefined where there is nothing to send. */
  #frame(topic: string, to: Position): Buffer | undefined {
    const from = this.#covered.get(topic);
    if (from === undefined || comparePositions(to, from) <= 0) return undefined;
    const due: (Recorded & Matched)[] = [];
    for (const recorded of this.recorder.events) {
      const { topic: own, position } = recorded.event;
      if (own !== topic || comparePositions(position, from) <= 0 || comparePositions(position, to) > 0) continue;
      const predicates = this.#index.match(recorded.event);
      if (predicates.length > 0) due.push({ ...recorded, predicates });
    }
    this.#covered.set(topic, to);
    const shed = this.shedding ? shedOf(due) : [];
    const sent = this.shedding ? [] : due;
    const frame = frameOver(from, to, {
      topic,
      count: sent.length,
      matches: matchesIn(sent),
      shed,
      continues: this.#continued.has(topic),
      namedFields: false,
      watermarkNs: this.recorder.wallAt(to),
      ...columns(sent),
    });
    this.#continued.add(topic);
    return this.loses ? undefined : this.mangle(encodeFrame(frame));
  }

  async #answer(query: HistoryQuery__Output): Promise<void> {
    this.historyQueries++;
    this.lastQuery = query;
    const queryId = Number(query.queryId);
    const credit = new CreditBalance(Number(query.creditBytes));
    const abort = new AbortController();
    this.#queries.set(queryId, { credit, abort });
    const predicates = query.predicates.map((spec) => ({ id: BigInt(spec.id), predicate: compilePredicate(spec) }));
    const sinceNs = query.since ? timestampToNs('since', query.since) : 0n;
    const untilNs = query.until ? timestampToNs('until', query.until) : 1n << 62n;
    const after = query.after ? positionFromMessage('after', query.after) : ORIGIN;
    const upTo = query.upTo ? positionFromMessage('up_to', query.upTo) : this.recorder.frontier;
    let found = this.recorder.events.filter(
      ({ event }) =>
        predicates.some(({ predicate }) => predicate.matches(event)) &&
        event.wallNs >= sinceNs &&
        event.wallNs < untilNs &&
        comparePositions(event.position, after) > 0 &&
        comparePositions(event.position, upTo) <= 0,
    );
    const within = query.within.map(({ from, to }) => {
      return { from: positionFromMessage('from', from!), to: positionFromMessage('to', to!) };
    });
    found = found.filter(
      ({ event: { position } }) =>
        comparePositions(position, this.evictedTo) > 0 &&
        (within.length === 0 ||
          within.some(({ from, to }) => comparePositions(position, from) > 0 && comparePositions(position, to) <= 0)),
    );
    if (query.last > 0) found = found.slice(-query.last);
    for (let at = 0; at < found.length; ) {
      const { topic } = found[at]!.event;
      let end = at;
      while (end < found.length && found[end]!.event.topic === topic && end - at < 50) end++;
      const part = found.slice(at, end);
      at = end;
      const frameBytes = historyFrameOf(topic, this.recorder.epoch, part, predicates.length > 1 ? predicates : []);
      await credit.positive(abort.signal);
      if (abort.signal.aborted) break;
      if (this.ended) return;
      credit.take(frameBytes.length);
      this.#history.write({ queryId, frameBytes: this.mangleHistory(frameBytes) });
      await this.midHistory?.();
    }
    if (this.ended) return;
    this.#queries.delete(queryId);
    if (abort.signal.aborted) this.#history.write({ queryId, end: { error: 'cancelled' } });
    else
      this.#history.write({
        queryId,
        end: {
          source: 'synthetic',
          evicted: this.evicts,
          beginsLater: this.begins,
          eventsScanned: this.recorder.events.length,
          reached: positionToMessage(this.reaches(upTo)),
        },
      });
  }
}

/**
 * The sensor agent: source -> recorder -> timeline -> publisher -> uplink, and
 * history beside it. Interest goes the other way, by calls: uplink -> publisher
 * -> recorder -> timeline. One timer drives it: slowly while nobody listens, often
 * while somebody does.
 */
import { release } from 'node:os';
import { join } from 'node:path';
import { asBackplaneError } from '../errors.js';
import { everyStep } from '../flow/every-step.js';
import { TokenBucket } from '../flow/token-bucket.js';
import { lockDirectory } from '../storage/dir-lock.js';
import { compilePredicate, type PredicateSpec } from '../subscriptions/predicate.js';
import type { AgentOptions, AgentStatus } from './agent-options.js';
import { type Chore, Chores } from './chores.js';
import { ContainerNames } from './container-names.js';
import { Disturbances } from './disturbances.js';
import { type Doing, DrainPace } from './drain-pace.js';
import { Overhead, type Overheads } from './guard/overhead.js';
import { Allowance } from './history/allowance.js';
import {
  type HistoryReply,
  HistoryService,
  type HistoryTask,
  type PreparedRequest,
} from './history/history-service.js';
import { HistoryTurns } from './history/history-turns.js';
import { Demand } from './interest/demand.js';
import { Interest } from './interest/interest.js';
import { MissingProfiles } from './interest/missing-profiles.js';
import { type Note, openRecorded } from './open-recorded.js';
import { historyBurstBytes, LiveBudget } from './publish/budget.js';
import { Publisher } from './publish/publisher.js';
import { DiskWatch } from './recorder/disk-watch.js';
import { agreeOnEpoch } from './recorder/epoch.js';
import { originOf } from './recorder/origin.js';
import { Recorder } from './recorder/recorder.js';
import { Redactor } from './redaction/redactor.js';
import { COMMAND_LINES } from './source/command-lines/command-lines.js';
import { procMissing } from './source/proc-mount.js';
import { ProcessReader } from './source/process-reader.js';
import type { DrainResult, ExecRecord, QueryRecord, Source, SourcePage, SourceSink } from './source/source.js';
import { Rescan } from './timeline/rescan.js';
import { membershipOf } from './uplink/membership.js';
import { CpuMeter, type NodeFacts, nodeHello, nodeReport } from './uplink/node-report.js';
import { Uplink } from './uplink/uplink.js';
import type { UplinkNode } from './uplink/uplink-session.js';

/** Throws with one line that says what to do when recording cannot begin. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const dir = join(options.dataDir, 'recorder');
  const lock = lockDirectory(dir);
  try {
    const agent = new Agent(options, dir, () => lock.release());
    await agent.start();
    return agent;
  } catch (cause) {
    lock.release();
    throw cause;
  }
}

export class Agent {
  readonly #liveBudget: LiveBudget;
  readonly #historyBudget: TokenBucket;
  readonly #allowance: Allowance;
  readonly #publisher: Publisher;
  readonly #overhead: Overhead;
  readonly #recorder: Recorder;
  #history: HistoryService | undefined;
  #source!: Source;
  #demand!: Demand;
  #uplink!: Uplink;
  #disturbances!: Disturbances;
  readonly #missing: MissingProfiles;
  #pace!: DrainPace;
  /** Trace clock: when the last drain began. */
  #drainedNs = 0n;
  #suspendedFor = '';
  #rescan: Rescan | undefined;
  #containers: ContainerNames | undefined;
  #degraded: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #chores = new Chores();
  /** process.hrtime when the timeline's clock was read. */
  #clockReadNs = 0n;
  #syncing = false;
  readonly #diskWatch: DiskWatch;
  #stopped: Promise<void> | undefined;

  readonly #options: AgentOptions;
  readonly #dir: string;
  readonly #release: () => void;

  constructor(options: AgentOptions, dir: string, release: () => void) {
    this.#options = options;
    this.#dir = dir;
    this.#release = release;
    const { live, history } = options.budget;
    this.#liveBudget = new LiveBudget(live);
    this.#historyBudget = new TokenBucket(history.bytesPerSecond, historyBurstBytes(history));
    this.#allowance = new Allowance(options.budget, this.#liveBudget, this.#historyBudget);
    this.#recorder = new Recorder({ dir, ...options.recorder, redactor: new Redactor(options.redaction) });
    this.#missing = new MissingProfiles(this.#recorder);
    this.#publisher = new Publisher(this.#recorder, this.#liveBudget, (topic, cause) =>
      options.log.error({ topic }, `no sound frame, stated as a gap: ${asBackplaneError(cause).message}`),
    );
    this.#overhead = new Overhead(options.guard, this.#overheads());
    this.#diskWatch = new DiskWatch(options.log, (hole) => {
      if (hole) this.#notice('host.degraded', hole.reason, hole.message);
      this.#uplink.report();
    });
  }

  get status(): AgentStatus {
    return {
      source: this.#source.name,
      degraded: this.#degraded,
      events: this.#alwaysRecorded(),
      recorderDir: this.#dir,
      connected: this.#uplink.connected,
    };
  }

  async start(): Promise<void> {
    const options = this.#options;
    const notes: Note[] = [];
    const sink = this.#sink((reason, message) => {
      notes.push({ reason, message });
      options.log.info({ reason }, message);
    });
    this.#warnOfDamage();
    const { source, fallback, adopted } = await openRecorded(this.#recorder, options, sink, notes);
    this.#source = source;
    this.#pace = new DrainPace(options.live, source.idleMs, (ms) => this.#publisher.gather(ms));
    this.#degraded = [fallback, source.degraded, procMissing(source.name)].filter(Boolean).join('; ') || undefined;
    this.#demand = new Demand(source.onDemand, performance.now(), (types) =>
      this.#recorder.switchOn(types, this.#nowNs()),
    );
    this.#disturbances = new Disturbances(this.#recorder, this.#degradedNotice, options.log);
    const origin = originOf(this.#recorder.timeline.origin, adopted, source, this.#degraded, options);
    this.#recorder.begin(origin, source.clock());
    this.#clockReadNs = process.hrtime.bigint();
    const recording = `recording ${this.#alwaysRecorded().length} trace events from ${source.name}`;
    const said = [recording, ...notes.map(({ message }) => message)].join('; ');
    this.#notice('host.start', notes.at(-1)?.reason ?? 'started', said);
    if (this.#degraded) this.#notice('host.degraded', 'blind', this.#degraded);
    // Before anything is told of them.
    this.#containers = await ContainerNames.start(this.#recorder, options.containers, options.log);
    this.#collect();
    if (source.name !== 'synthetic') this.#recorder.snapshot([...new ProcessReader().scan()]);
    if (source.name === 'tracefs') {
      this.#rescan = new Rescan(this.#recorder);
      this.#recorder.noteProcesses();
    }
    // Makes the epoch durable before anything of it is published: otherwise, after a power cut, another could get the
    // same number.
    await this.#durable();
    const meter = new CpuMeter();
    this.#uplink = new Uplink({
      ...options,
      membership: membershipOf(options),
      hello: () => nodeHello(this.#facts()),
      report: () => nodeReport(this.#facts(), meter.ratio()),
      node: this.#node(),
    });
    this.#schedule(0);
  }

  /** One line, however much of the recording was found damaged: losses are stated in the recording itself. */
  #warnOfDamage(): void {
    const [first, ...others] = this.#recorder.log.notes;
    if (!first) return;
    const more = others.length > 0 ? ` (and ${others.length} more)` : '';
    this.#options.log.warn(`recorder: ${join(this.#dir, first.segment)} ${first.message}${more}`);
  }

  /** Idempotent. Events that are recorded and not sent are sent by the next agent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#timer);
    await everyStep(
      () => this.#containers?.stop(),
      () => this.#sendLast(),
      () => this.#uplink.stop(),
      () => this.#source.stop(),
      () => this.#recorder.reportLoss(this.#source.name, this.#nowNs()),
      () => this.#recorder.close(),
      () => this.#release(),
    );
  }

  #sendLast(): void {
    this.#notice('host.stop', 'stopped', 'the agent was stopped');
    this.#collect();
    this.#recorder.horizon(this.#recorder.timeline.horizonNs + 2_000_000n);
    this.#publisher.gather(0);
    this.#publisher.tick(performance.now());
  }

  /** Trace events that are recorded whether or not somebody asks. */
  #alwaysRecorded(): string[] {
    const { formats, onDemand } = this.#source;
    const names = formats.all().map((format) => `${format.group}/${format.name}`);
    return names.filter((name) => !onDemand?.events.has(name));
  }

  #sink(note: (reason: string, message: string) => void): SourceSink {
    return {
      page: (page: SourcePage) => this.#recorder.page(page),
      horizon: (horizonNs: bigint, readOn?: () => boolean) => this.#recorder.horizon(horizonNs, readOn),
      exec: (record: ExecRecord) => this.#recorder.exec(record),
      settle: () => this.#recorder.settle(),
      queries: (queries: readonly QueryRecord[]) => this.#recorder.queries(queries),
      note,
    };
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => this.#tick(), delayMs);
  }

  #tick(): void {
    try {
      const { empty } = this.#collect();
      const nowMs = performance.now();
      this.#publisher.tick(nowMs);
      this.#diskWatch.look(this.#recorder.hole);
      this.#rescan?.step(nowMs);
      if (this.#chores.isDue('look', nowMs)) this.#housekeep(nowMs);
      const waitMs = this.#pace.next(this.#doing);
      this.#schedule(empty ? waitMs : 0);
    } catch (cause) {
      this.#options.log.error({ err: cause }, `recording stopped for a moment: ${asBackplaneError(cause).message}`);
      this.#schedule(this.#source.idleMs);
    }
  }

  get #doing(): Doing {
    const { live, behind } = this.#publisher;
    const restMs = this.#publisher.restMs(performance.now(), this.#source.idleMs);
    return { live, behind, restMs, paths: this.#demand.profiles.includes('file') };
  }

  /** Reads what the kernel has. */
  #collect(): DrainResult {
    const beganNs = this.#nowNs();
    const result = this.#source.drain();
    this.#pace.drained(result, performance.now());
    this.#recorder.expire(this.#nowNs(), this.#drainedNs);
    this.#containers?.step(performance.now());
    this.#drainedNs = beganNs;
    return result;
  }

  #housekeep(nowMs: number): void {
    const isDue = (chore: Chore) => this.#chores.isDue(chore, nowMs);
    if (this.#demand.expire(nowMs)) this.#stateMissing();
    this.#allowance.expire(nowMs);
    for (const found of this.#source.look?.(nowMs) ?? []) this.#disturbances.tell(found, this.#nowNs(), nowMs);
    const misses = this.#source.missed?.(nowMs) ?? [];
    this.#disturbances.missed(misses, this.#source.name, this.#nowNs());
    if (misses.some(({ type }) => type === undefined)) this.#rescan?.want();
    if (isDue('guard')) this.#overhead.tick(nowMs);
    if (isDue('loss')) this.#recorder.reportLoss(this.#source.name, this.#nowNs());
    if (isDue('clock')) {
      this.#setClock();
      this.#recorder.log.enforceRetention();
    }
    if (isDue('report')) this.#uplink.report();
    if (!this.#syncing && isDue('sync')) this.#sync();
  }

  /** States as missing the profiles that subscribers ask for and the guard has switched off. */
  #stateMissing(): void {
    this.#missing.update(this.#demand.missing, this.#suspendedFor, this.#nowNs());
  }

  #overheads(): Overheads {
    return {
      listening: () => this.#publisher.live,
      readsAgain: () => (this.#history?.working ?? 0) > 0 || this.#publisher.catchesUp,
      gather: (ms) => this.#pace.gather(ms),
      slowMatching: (share) => this.#publisher.slow(share),
      lagMs: () => this.#publisher.lagMs,
      collectGarbage: () => this.#options.collectGarbage?.(),
      profilesAsked: () => this.#demand.profiles,
      suspend: (profiles, cause) => {
        this.#demand.suspend(profiles);
        this.#suspendedFor = cause;
        this.#stateMissing();
      },
      notice: this.#degradedNotice,
    };
  }

  readonly #degradedNotice = (reason: string, message: string): void => {
    this.#options.log.warn({ reason }, message);
    this.#notice('host.degraded', reason, message);
    this.#uplink.report();
  };

  #setClock(): void {
    this.#recorder.setClock(this.#source.clock());
    this.#clockReadNs = process.hrtime.bigint();
  }

  async #durable(): Promise<void> {
    try {
      await this.#recorder.log.sync();
    } catch (cause) {
      this.#options.log.error(`recorder: ${asBackplaneError(cause).message}`);
    }
  }

  /** Guards against power loss only: the page cache keeps what a killed agent wrote. */
  #sync(): void {
    const { log } = this.#recorder;
    if (log.failed || log.durableOrdinal >= log.nextOrdinal) return;
    this.#syncing = true;
    void this.#durable().finally(() => {
      this.#syncing = false;
    });
  }

  #nowNs(): bigint {
    return this.#recorder.timeline.clock.bootNs + (process.hrtime.bigint() - this.#clockReadNs);
  }

  #notice(type: 'host.start' | 'host.stop' | 'host.degraded', reason: string, message: string): void {
    this.#recorder.notice(type, { reason, message, source: this.#source.name }, this.#nowNs());
  }

  /** Everything that limits the agent, a sentence each; undefined: nothing. */
  #troubles(): string | undefined {
    const disturbed = this.#disturbances.shown(performance.now());
    const own = [this.#degraded, this.#recorder.hole?.message, this.#overhead.given];
    return [...own, disturbed, COMMAND_LINES.problem].filter(Boolean).join('; ') || undefined;
  }

  #facts(): NodeFacts {
    return {
      nodeName: this.#options.nodeName,
      labels: this.#options.labels ?? [],
      version: this.#options.version,
      kernelRelease: release(),
      source: this.#source.name,
      degraded: this.#troubles(),
      argumentsBy: this.#source.argumentsBy,
      blindSpots: this.#source.blindSpots ?? new Map(),
      // Profiles apply to tracefs only.
      profiles: this.#source.name === 'tracefs' ? this.#options.source.profiles : ['lite'],
      recorder: this.#recorder,
      eventsMatched: this.#publisher.eventsMatched,
      eventsShed: this.#publisher.eventsShed,
      // A publisher that is behind has an unknown amount to send, so it asks for the full rate.
      liveDemandBytesPerSecond: Math.max(
        this.#liveBudget.takeDemand(),
        this.#publisher.behind ? this.#options.budget.live.bytesPerSecond : 0,
      ),
      budget: this.#options.budget,
    };
  }

  #node(): UplinkNode {
    return {
      source: this.#source.name,
      connected: async (link, covered, epochMin) => {
        await agreeOnEpoch(this.#recorder, covered, epochMin, this.#nowNs(), () => this.#durable());
        this.#publisher.connect(link, covered);
      },
      disconnected: () => {
        this.#options.onPresence?.(false);
        this.#publisher.disconnect();
        this.#pace.wish(0);
        this.#pace.least(0);
        this.#allowance.end();
        this.#demand.away(performance.now());
        this.#history?.close();
        this.#history = undefined;
      },
      interest: (generation, requests) => this.#interest(generation, requests),
      history: (queryId, request, creditBytes, reply) => {
        this.#history ??= this.#historyService(reply);
        this.#history.start(queryId, request, creditBytes);
      },
      lease: (lease) => this.#allowance.lease(lease, performance.now()),
      linger: (lingerMs) => {
        this.#pace.wish(lingerMs);
        this.#schedule(0);
      },
      leastLinger: (lingerMs) => this.#pace.least(lingerMs),
      credit: (queryId, bytes) => this.#history?.credit(queryId, bytes),
      cancel: (queryId) => this.#history?.cancel(queryId),
    };
  }

  #historyService(reply: HistoryReply): HistoryService {
    const prepare = (request: HistoryTask) => this.#prepare(request);
    const { historyShare, residentBytes } = this.#options.guard;
    const turns = new HistoryTurns(historyShare, (cpuMs) => this.#overhead.historyTook(cpuMs));
    return new HistoryService(this.#recorder, reply, this.#historyBudget, prepare, turns, residentBytes);
  }

  /** Prepares a query when its turn has come: drains the kernel first, so that the answer includes what it holds. */
  #prepare({ predicates, window }: HistoryTask): PreparedRequest {
    this.#collect();
    const upTo = window.upTo ?? this.#recorder.timeline.frontier;
    const host = { hostName: this.#options.nodeName, hostLabels: this.#options.labels };
    const compiled = predicates.map((spec) => ({ id: spec.id, predicate: compilePredicate({ ...spec, ...host }) }));
    return { predicates: compiled, window: { ...window, upTo } };
  }

  /** Drains the kernel before a new interest is in force: events from before it are history, not live. */
  #interest(generation: bigint, requests: readonly PredicateSpec[]) {
    this.#collect();
    const interest = new Interest(generation, requests, this.#options.nodeName, this.#options.labels);
    this.#demand.widen(interest);
    const position = this.#publisher.setInterest(interest);
    this.#demand.narrow();
    this.#stateMissing();
    this.#schedule(0);
    this.#options.onPresence?.(true);
    return { position, errors: interest.errors };
  }
}

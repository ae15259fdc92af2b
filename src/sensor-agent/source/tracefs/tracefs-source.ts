/**
 * The real source: a trace instance with the wanted events, drained page by
 * page, and the arguments of programs beside it. Whoever runs it holds the recorder's
 * directory lock, so one recorder has one agent.
 */
import { existsSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { BackplaneError } from '../../../errors.js';
import {
  DRAIN_IDLE_MS,
  EXEC_BUFFER_BYTES_PER_CPU,
  EXEC_PROBE_BUFFER_BYTES_PER_CPU,
  INSTANCE_LOOK_MS,
  KERNEL_BUFFER_BYTES_PER_CPU,
  KERNEL_BUFFERS_MEMORY_SHARE,
  KiB,
  MiB,
  QUERY_BUFFER_BYTES_PER_CPU,
} from '../../../limits.js';
import { kernelFilter } from '../../../subscriptions/pushdown/kernel-filter.js';
import type { RawExpr } from '../../../subscriptions/pushdown/raw-expr.js';
import { defineCallPoints, unnamedOf } from '../calls/call-points.js';
import { type DatagramPoints, defineDatagramPoints, undefineDatagramCopies } from '../datagrams/datagram-points.js';
import { QueryProbe } from '../datagrams/query-probe.js';
import { ExecArguments } from '../exec/exec-arguments.js';
import { FormatTable, parseFormat } from '../pages/format.js';
import { blindSpotsOf, definePathPoints, refusedText } from '../paths/define-paths.js';
import { queriesName, undefine } from '../probe/definitions.js';
import { ExecProbe } from '../probe/exec-probe.js';
import { ProbeMisses } from '../probe/probe-misses.js';
import { abandonProof } from '../probe/proof.js';
import { definePoints, undefinePoints } from '../probe/recorded-points.js';
import { defineUserPoint, unfollowedOf } from '../probe/user-point.js';
import type {
  ArgumentsBy,
  ClockPair,
  Disturbance,
  DrainResult,
  OnDemandEvents,
  ProbeMiss,
  Source,
  SourcePage,
  SourceSink,
} from '../source.js';
import { statsNow, TraceClock } from './clock.js';
import { PageDrain } from './drain.js';
import { removeInstance, TraceInstance } from './instance.js';
import { InstanceWatch } from './instance-watch.js';
import { openTracefs } from './mount.js';
import { outdatedPoints } from './outdated.js';
import { LITE_EVENTS, profileEvents } from './profile-events.js';

export interface TracefsOptions {
  /** Names the trace instance, so that the next agent of this recorder finds it: 1 to 64 of A-Z a-z 0-9 _ -. */
  readonly recorderId: string;
  /** Kernel buffer, default KERNEL_BUFFER_BYTES_PER_CPU; cut to the machine's share. */
  readonly bufferBytesPerCpu?: number;
  /** `group/event`; default LITE_EVENTS. */
  readonly events?: readonly string[];
  /** `group/event`, recorded only while somebody asks; default none. */
  readonly onDemand?: readonly string[];
  /** Each exec's arguments and context: the best way that holds, by the exec lane only, or not at all. */
  readonly arguments: 'best' | 'visit' | 'none';
}

const FILE_EVENTS = profileEvents('file');
const SECURITY_EVENTS = profileEvents('security');
const UDP_EVENTS = profileEvents('udp');

const NO_POINTS: DatagramPoints = { events: [], copies: [] };

interface Running {
  readonly tracefs: string;
  readonly sink: SourceSink;
  readonly instance: TraceInstance;
  readonly drain: PageDrain;
  readonly clock: TraceClock;
  readonly watch: InstanceWatch;
  readonly misses: ProbeMisses;
  execs: ExecArguments | undefined;
  readonly queries: QueryProbe | undefined;
  malformedPages: number;
  misplacedPages: number;
}

export class TracefsSource implements Source {
  readonly name = 'tracefs';
  formats = new FormatTable([]);
  lanes = 0;
  pageBytesMax = 64 * KiB;
  readonly idleMs = DRAIN_IDLE_MS;
  degraded: string | undefined;
  onDemand: OnDemandEvents | undefined;
  blindSpots: ReadonlyMap<string, string> | undefined;
  entriesTaken: number | undefined;
  overwritten: boolean | undefined;
  outdated: readonly string[] = [];
  #refusedPaths = '';
  #missesLookedMs = Number.NEGATIVE_INFINITY;
  #running: Running | undefined;
  readonly #atExit = () => this.#stopSync();

  readonly #options: TracefsOptions;

  constructor(options: TracefsOptions) {
    this.#options = options;
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(options.recorderId)) {
      throw new BackplaneError(
        'invalid_argument',
        `recorderId must be 1 to 64 of A-Z a-z 0-9 _ -, got ${options.recorderId}`,
      );
    }
  }

  /** Throws `failed_precondition` when there is no usable tracefs, or another process uses this recorder's. */
  async start(sink: SourceSink): Promise<void> {
    const tracefs = openTracefs();
    if (tracefs.mounted) sink.note('tracefs_mounted', `mounted tracefs on ${tracefs.path}`);
    const { recorderId, bufferBytesPerCpu = KERNEL_BUFFER_BYTES_PER_CPU } = this.#options;
    const name = `backplane-${recorderId}`;
    // Before any is defined.
    abandonProof(tracefs.path, recorderId);
    this.outdated = outdatedPoints(tracefs.path, recorderId);
    // Nothing that is unread is erased with them where there is no instance.
    if (!existsSync(join(tracefs.path, 'instances', name)))
      this.outdated = this.outdated.filter((event) => !undefine(tracefs.path, event));
    const datagrams = this.#asks(UDP_EVENTS) ? await defineDatagramPoints(tracefs.path, recorderId) : NO_POINTS;
    const buffers = affordable(bufferBytesPerCpu, datagrams.copies.length > 0 ? QUERY_BUFFER_BYTES_PER_CPU : 0);
    const instance = await this.#makeInstance(tracefs.path, name, buffers.pages, datagrams.events);
    process.once('exit', this.#atExit);
    try {
      this.#running = this.#open(tracefs.path, instance, sink, datagrams.copies);
      await this.#startArguments(tracefs.path, `${name}-exec`, buffers.execs);
    } catch (cause) {
      // An adopted instance is kept, as the next attempt can still read its events.
      if (this.#running === undefined && !instance.adopted) {
        instance.removeSync();
        this.#undefine(tracefs.path);
      }
      await this.stop();
      throw cause;
    }
    this.#noteAbsent(instance, sink);
    if (datagrams.problem !== undefined)
      sink.note('profile_partial', `datagrams are told by routes, and no names asked of DNS: ${datagrams.problem}`);
    if (instance.adopted) sink.note('instance_adopted', `took over what ${name} recorded since its agent died`);
    else if (this.outdated.length > 0)
      this.#degrade([`probes of an earlier version are in use elsewhere and stay: ${this.outdated.join(', ')}`]);
    this.#degrade(instance.missing.map((event) => `${event} is not recorded: this kernel does not have it`));
  }

  #asks(events: readonly string[]): boolean {
    return this.#options.onDemand?.some((event) => events.includes(event)) ?? false;
  }

  #undefine(tracefs: string): void {
    undefinePoints(tracefs, this.#options.recorderId);
    undefineDatagramCopies(tracefs, this.#options.recorderId);
  }

  async #makeInstance(
    tracefs: string,
    name: string,
    bufferBytesPerCpu: number,
    datagrams: readonly string[],
  ): Promise<TraceInstance> {
    const { recorderId, events = LITE_EVENTS, onDemand = [] } = this.#options;
    const subBufferBytes = bufferBytesPerCpu >= 1 * MiB ? 64 * KiB : 4 * KiB;
    const { event: user, problem } = await defineUserPoint(tracefs, recorderId);
    const blindSpots = new Map(unfollowedOf(problem));
    const all = [...events, ...definePoints(tracefs, recorderId), ...(user === undefined ? [] : [user])];
    const asked = [...onDemand, ...datagrams];
    if (this.#asks(FILE_EVENTS)) {
      const { events: paths, refused } = await definePathPoints(tracefs, recorderId);
      asked.push(...paths);
      for (const [type, text] of blindSpotsOf(refused)) blindSpots.set(type, text);
      this.#refusedPaths = refusedText(refused);
    }
    if (this.#asks(SECURITY_EVENTS)) {
      const { events: names, refused } = defineCallPoints(tracefs, recorderId);
      asked.push(...names);
      for (const [type, text] of unnamedOf(refused)) blindSpots.set(type, text);
    }
    this.blindSpots = blindSpots;
    try {
      return new TraceInstance(tracefs, { name, bufferBytesPerCpu, subBufferBytes, events: all, onDemand: asked });
    } catch (cause) {
      // Not while an instance is left, whose entries of them would be erased.
      if (!existsSync(join(tracefs, 'instances', name))) this.#undefine(tracefs);
      throw cause;
    }
  }

  #noteAbsent({ onDemand, events }: TraceInstance, sink: SourceSink): void {
    const absent = this.#options.onDemand?.filter((event) => !onDemand.has(event) && !events.includes(event)) ?? [];
    if (absent.length > 0) sink.note('profile_partial', `this kernel does not have ${absent.join(', ')}`);
    const refused = this.#refusedPaths;
    if (refused !== '') sink.note('paths_partial', `the kernel's own copy cannot be had of paths of ${refused}`);
  }

  drain(): DrainResult {
    const running = this.#live();
    const { sink, queries } = running;
    const page = (each: SourcePage) => sink.page(each);
    let readNs = 0n;
    const { bytes, filled, ...read } = running.drain.run({
      page,
      horizon: (horizonNs) => {
        readNs = horizonNs;
      },
    });
    let { empty, pages } = read;
    const found = queries?.drain(readNs);
    if (found && found.queries.length > 0) sink.queries(found.queries);
    sink.horizon(found?.horizonNs ?? readNs, () => {
      const since = running.drain.run({ page, horizon: () => {} });
      pages += since.pages;
      empty &&= since.empty;
      return since.empty;
    });
    const execsFilled = running.execs?.drain(pages === 0 && empty) ?? 0;
    const malformed = running.drain.malformedPages - running.malformedPages;
    if (malformed > 0)
      running.sink.note(
        'page_malformed',
        `${malformed} pages from the kernel are not ring-buffer pages: stated as a loss`,
      );
    running.malformedPages += malformed;
    const misplaced = running.drain.misplacedPages - running.misplacedPages;
    if (misplaced > 0)
      running.sink.note(
        'page_misplaced',
        `${misplaced} pages were written by another clock: left out, and stated as a loss`,
      );
    running.misplacedPages += misplaced;
    return { pages, bytes, empty, filled: Math.max(filled, execsFilled, found?.filled ?? 0) };
  }

  look(nowMs: number): readonly Disturbance[] {
    const { watch, execs, queries } = this.#live();
    return [watch.look(nowMs), execs?.look(nowMs), queries?.look(nowMs)].filter((found) => found !== undefined);
  }

  missed(nowMs: number): readonly ProbeMiss[] {
    if (nowMs - this.#missesLookedMs < INSTANCE_LOOK_MS) return [];
    this.#missesLookedMs = nowMs;
    return this.#live().misses.look();
  }

  get argumentsBy(): ArgumentsBy | undefined {
    return this.#running?.execs?.by;
  }

  clock(): ClockPair {
    return this.#live().clock.pair();
  }

  /** Undefined for an adopted instance: its counts include losses that the earlier agent told of. */
  overrun(): number | undefined {
    const { instance } = this.#live();
    if (instance.adopted) return undefined;
    return overwrittenIn(instance);
  }

  async retire(): Promise<void> {
    this.#live().instance.record(false);
    while (!this.drain().empty);
    await this.stop();
  }

  async stop(): Promise<void> {
    const running = this.#running;
    // Until the workers are gone, a process that ends all the same still cleans up at its exit.
    await running?.execs?.stop();
    this.#stopSync();
    process.removeListener('exit', this.#atExit);
  }

  #stopSync(): void {
    const running = this.#running;
    this.#running = undefined;
    running?.execs?.stopSync();
    running?.queries?.stopSync();
    running?.watch.close();
    running?.drain.close();
    if (running === undefined) return;
    running.instance.removeSync();
    this.#undefine(running.tracefs);
  }

  #open(tracefs: string, instance: TraceInstance, sink: SourceSink, copies: readonly string[]): Running {
    const { onDemand, lanes } = instance;
    const clock = new TraceClock(() => (instance.ownClock ? statsNow(instance.statsPath(lanes[0]!)) : undefined));
    const queries = this.#copyQueries(tracefs, copies, () => clock.nowNs());
    const names = [...instance.events, ...onDemand, ...instance.leftover];
    this.onDemand = {
      events: onDemand,
      enabled: instance.enabled,
      switch: (event, on) => {
        // What is recorded is on only while its copies are.
        if (on) queries?.switch(event, on);
        instance.switch(event, on);
        if (!on) queries?.switch(event, on);
      },
      filter: (event, conditions) => this.#filter(instance, sink, event, conditions),
    };
    this.formats = new FormatTable(names.map((event) => parseFormat(event, instance.formatText(event))));
    this.lanes = lanes[lanes.length - 1]! + 1;
    this.entriesTaken = instance.eventsRead();
    this.overwritten = instance.adopted && overwrittenIn(instance) > 0;
    this.pageBytesMax = instance.subBufferBytes;
    const descriptors = new Map(lanes.map((lane) => [lane, instance.openPages(lane)]));
    const overrun = (lane: number) => (instance.adopted ? undefined : instance.laneStats(lane).overrun);
    const clocks = { nowNs: () => clock.nowNs(), renewedNs: () => clock.renewedNs() };
    const drain = new PageDrain(descriptors, { ...instance.buffers, ...clocks, overrun });
    const watch = new InstanceWatch({
      instance,
      title: 'the trace instance',
      missing: 'events',
      loses: true,
      entriesRead: () => drain.entriesRead,
      readsMeanwhile: false,
      onEmptied: () => drain.restarted(),
      nowNs: () => clock.nowNs(),
    });
    const misses = new ProbeMisses(tracefs, this.#options.recorderId, instance.adopted, () => clock.nowNs());
    return {
      ...{ tracefs, sink, instance, drain, clock, watch, misses, queries, execs: undefined },
      ...{ malformedPages: 0, misplacedPages: 0 },
    };
  }

  /** Without its instance names asked of DNS are missed, which each event says. */
  #copyQueries(tracefs: string, copies: readonly string[], nowNs: () => bigint): QueryProbe | undefined {
    const name = queriesName(this.#options.recorderId);
    if (copies.length === 0) {
      // What an agent left goes on copying.
      removeInstance(join(tracefs, 'instances', name));
      undefineDatagramCopies(tracefs, this.#options.recorderId);
      return undefined;
    }
    try {
      return new QueryProbe({ tracefs, name, copies, bufferBytesPerCpu: QUERY_BUFFER_BYTES_PER_CPU, nowNs });
    } catch (cause) {
      this.#degrade([`names asked of DNS are not seen: ${(cause as Error).message}`]);
      return undefined;
    }
  }

  #filter(instance: TraceInstance, sink: SourceSink, event: string, conditions: readonly RawExpr[] | undefined): void {
    const format = this.formats.byName(event);
    const text = format && conditions && kernelFilter(conditions, format);
    if (!instance.filter(event, text)) sink.note('filter_refused', `${event} is not filtered: ${text}`);
  }

  async #startArguments(tracefs: string, name: string, bufferBytesPerCpu: number): Promise<void> {
    const { arguments: wanted, recorderId } = this.#options;
    if (wanted === 'none') {
      ExecProbe.clear(tracefs, recorderId, name);
      return;
    }
    const { sink, clock } = this.#live();
    const options = { tracefs, name, recorderId, bufferBytesPerCpu, sink, nowNs: () => clock.nowNs() };
    const execs = new ExecArguments(options, wanted === 'best');
    this.#live().execs = execs;
    try {
      await execs.start();
    } catch (cause) {
      this.#live().execs = undefined;
      this.#degrade([`arguments of programs are not seen: ${(cause as Error).message}`]);
    }
  }

  #degrade(reasons: readonly string[]): void {
    if (reasons.length > 0)
      this.degraded = [this.degraded, ...reasons].filter((reason) => reason !== undefined).join('; ');
  }

  #live(): Running {
    if (this.#running === undefined)
      throw new BackplaneError('failed_precondition', 'the tracefs source is not running');
    return this.#running;
  }
}

/** Entries that the kernel has overwritten, or had no room for. */
function overwrittenIn(instance: TraceInstance): number {
  const { overrun, dropped } = instance.stats();
  return overrun + dropped;
}

/** Sizes of one CPU's buffers such that all together stay within their share of memory. */
function affordable(bytesPerCpu: number, queries: number): { readonly pages: number; readonly execs: number } {
  const share = Math.floor((totalmem() * KERNEL_BUFFERS_MEMORY_SHARE) / cpus().length);
  const execs = Math.max(EXEC_BUFFER_BYTES_PER_CPU, Math.min(EXEC_PROBE_BUFFER_BYTES_PER_CPU, Math.floor(share / 4)));
  // Those of containers' probes have half as much each, and there are two while one takes the other's place.
  return { pages: Math.max(64 * KiB, Math.min(bytesPerCpu, share - 2 * execs - queries)), execs };
}

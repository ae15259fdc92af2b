/**
 * Arguments by the kernel's own copy: a trace instance with all execs, and with probes (exec-points.ts) where the kernel
 * copies the new program's arguments before the program can change them. Nothing races and no thread waits: the copies
 * lie in the instance's buffer until the agent drains it. That buffer also holds what lies behind the arguments, the
 * environment: its pages are read into memory only.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackplaneError } from '../../../errors.js';
import { EXEC_PROBE_MISSES_MAX, EXEC_PROOF_MS_MAX, KiB, MiB, PAGE_AHEAD_NS_MAX } from '../../../limits.js';
import { compileDecoder, type Decoder } from '../pages/decoder.js';
import { eventPid, parseFormat } from '../pages/format.js';
import { PageEntries, scanPage, startCursor } from '../pages/page.js';
import { pids } from '../process-reader.js';
import type { Disturbance, ExecRecord, SourcePage, SourceSink } from '../source.js';
import { PageDrain } from '../tracefs/drain.js';
import { removeInstance, TraceInstance } from '../tracefs/instance.js';
import { InstanceWatch } from '../tracefs/instance-watch.js';
import { definitionsOf, probeGroup, undefine, undefineAll } from './definitions.js';
import { ExecLooks } from './exec-looks.js';
import { ExecMatcher, type Matched, type SeenExec } from './exec-matcher.js';
import type { ExecPoints } from './exec-points.js';
import { type ExecStack, readExecStack } from './exec-stack.js';
import { isKernelPoint, KERNEL_FUNCTIONS, KernelPoint } from './kernel-point.js';
import { LinkerPoints } from './linker-points.js';
import { type ProbePlaces, probePlaces, STRINGS_BYTES, WORDS_BYTES } from './probe-layout.js';

const EXEC = 'sched/sched_process_exec';
/** Losses are told, and probes that nobody needs any more are looked for, at most this often. */
const ROUND_MS = 1_000;
const PROOF_LOOK_MS = 5;
/** Reads of the whole buffer, and processes whose programs may need a probe, in one drain. */
const RUNS_MAX = 4;
const LEARNED_MAX = 4;
/** Processes whose programs are looked up at the start. */
const PROCESSES_MAX = 4_096;

interface Exec extends SeenExec {
  /** What /proc said of it while it waited for its copy, and until when that was read, by the trace clock. */
  visited: { readonly record: ExecRecord; readonly untilNs: bigint } | undefined;
}

interface Probe {
  readonly places: ProbePlaces;
  /** `group/event`. */
  readonly event: string;
  /** In the kernel, before the exec is noted. */
  readonly first: boolean;
}

/** A way to have the copies. */
export interface ExecWay {
  /** Where they are made. */
  readonly name: string;
  /** Throws `failed_precondition` where it cannot be. */
  readonly points: (tracefs: string, group: string) => ExecPoints;
}

/** In the order in which they are tried: the first that holds is used. */
export const EXEC_WAYS: readonly ExecWay[] = [
  ...KERNEL_FUNCTIONS.map((place) => ({
    name: place.name,
    points: (tracefs: string, group: string) => new KernelPoint(tracefs, group, place),
  })),
  { name: 'dynamic linkers', points: (tracefs, group) => new LinkerPoints(tracefs, group) },
];

export interface ExecProbeOptions {
  readonly tracefs: string;
  /** The instance's name; whichever way is in force has it. */
  readonly name: string;
  readonly recorderId: string;
  /** Of the probes' instance. */
  readonly bufferBytesPerCpu: number;
  readonly sink: SourceSink;
  /** Trace clock. */
  readonly nowNs: () => bigint;
}

export class ExecProbe {
  readonly #options: ExecProbeOptions;
  readonly #instance: TraceInstance;
  readonly #points: ExecPoints;
  /** By the id of its event. */
  readonly #probes = new Map<number, Probe>();
  readonly #matcher = new ExecMatcher<Exec, ExecStack>();
  readonly #looks = new ExecLooks();
  readonly #entries = new PageEntries();
  readonly #wanted = new Uint8Array(65_536);
  #drain: PageDrain | undefined;
  #watch: InstanceWatch | undefined;
  #exec: { readonly id: number; readonly decode: Decoder } | undefined;
  #refusal: Error | undefined;
  /** Whether programs get the probes that they need as they appear. */
  #learns = false;
  /** Told at the next drain. */
  #told: ExecRecord[] = [];
  #lost = 0;
  /** Execs in a row that a probe should have copied and did not, and when the last one was copied. */
  #misses = 0;
  #copiedNs = 0n;
  #roundMs = 0;
  /** Trace clock: when all probes were last there. */
  #rightNs: bigint;
  readonly #disturbances: Disturbance[] = [];
  /** Runs while a probe is proved. */
  #proof: ((exec: SeenExec, stack: ExecStack | undefined) => void) | undefined;
  #stopped = false;

  /** Removes what an earlier agent left, unread. */
  static clear(tracefs: string, recorderId: string, name: string): void {
    removeInstance(join(tracefs, 'instances', name));
    undefineAll(tracefs, probeGroup(recorderId));
  }

  /** Makes its instance and its probes; nothing is proved yet. Throws `failed_precondition` where it cannot. */
  constructor(options: ExecProbeOptions, way: ExecWay) {
    this.#options = options;
    this.#rightNs = options.nowNs();
    const { tracefs, recorderId } = options;
    const group = probeGroup(recorderId);
    this.#points = way.points(tracefs, group);
    // What an earlier agent left goes on until ours is there.
    const left = definitionsOf(tracefs, group) ?? [];
    this.#instance = new TraceInstance(tracefs, { ...settings(options), onDemand: left });
    try {
      this.#drain = this.#read(this.#instance);
      this.#watch = new InstanceWatch({
        instance: this.#instance,
        title: 'the trace instance',
        missing: 'arguments of programs',
        loses: false,
        entriesRead: () => this.#drain?.entriesRead ?? 0,
        readsMeanwhile: false,
        onEmptied: () => this.#drain?.restarted(),
        nowNs: options.nowNs,
      });
      for (const event of this.#instance.enabled) this.#add(event);
      this.#probeAll();
      if (this.#points.events.length === 0)
        throw this.#refusal ?? new BackplaneError('failed_precondition', 'no program here can be probed');
      this.#learns = true;
      if (left.length > 0) this.#takeOver(left);
    } catch (cause) {
      // What an earlier agent left is for the next way, or the next agent.
      this.#close(this.#instance.adopted);
      throw cause;
    }
  }

  /** Tells what is known by now. Called with every drain of the pages. Returns how full the buffer was, 0 to 1. */
  drain(): number {
    const filled = this.#readAll();
    for (const record of this.#told.splice(0)) this.#options.sink.exec(record);
    const nowMs = performance.now();
    if (nowMs - this.#roundMs >= ROUND_MS) this.#goRound(nowMs);
    return filled;
  }

  #goRound(nowMs: number): void {
    this.#roundMs = nowMs;
    this.#tellLost();
    this.#restore();
    const unused = this.#points.unused();
    if (unused.length > 0) this.#remove(unused);
  }

  /** Whether programs that should have been copied came without their arguments, since `copiedNs`. */
  get doubted(): boolean {
    return this.#misses >= EXEC_PROBE_MISSES_MAX;
  }

  /** Trace clock: when the last exec that was copied took place. */
  get copiedNs(): bigint {
    return this.#copiedNs;
  }

  /** Whether a program of our own comes back whole. */
  async holds(): Promise<boolean> {
    try {
      await this.prove();
      return true;
    } catch {
      return false;
    } finally {
      this.#misses = 0;
    }
  }

  get by(): ExecPoints['by'] {
    return this.#points.by;
  }

  look(nowMs: number): Disturbance | undefined {
    return this.#disturbances.shift() ?? this.#watch?.look(nowMs);
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    try {
      this.#instance.record(false);
      this.#readAll();
      this.#matcher.end((matched) => this.#tell(matched));
      this.drain();
    } finally {
      this.stopSync();
    }
  }

  /** Stops without telling what was not read yet, in a process's last moments. */
  stopSync(): void {
    this.#close(false);
  }

  #close(keepsInstance: boolean): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#watch?.close();
    this.#drain?.close();
    if (!keepsInstance) this.#instance.removeSync();
    for (const event of [...this.#points.events]) this.#points.remove(event);
  }

  /** Reads what the definitions of an earlier agent copied, and removes them. */
  #takeOver(left: readonly string[]): void {
    for (const event of left) if (this.#instance.enabled.has(event)) this.#instance.switch(event, false);
    // Nearly all of it, so that little is left to read while nothing is recorded.
    this.#readAll();
    this.#instance.record(false);
    try {
      this.#readAll();
      for (const event of left) undefine(this.#options.tracefs, event);
      for (const event of left) this.#unwant(event);
    } finally {
      this.#instance.record(true);
      this.#watch?.emptiedByUs();
    }
  }

  #unwant(event: string): void {
    for (const [id, probe] of this.#probes) {
      if (probe.event !== event) continue;
      this.#probes.delete(id);
      this.#wanted[id] = 0;
    }
  }

  #read(instance: TraceInstance): PageDrain {
    const format = parseFormat(EXEC, instance.formatText(EXEC));
    this.#exec = { id: format.id, decode: compileDecoder(format.fields) };
    this.#wanted[format.id] = 1;
    const descriptors = new Map(instance.lanes.map((lane) => [lane, instance.openPages(lane)]));
    const overrun = (lane: number) => instance.laneStats(lane).overrun;
    return new PageDrain(descriptors, { ...instance.buffers, nowNs: this.#options.nowNs, overrun });
  }

  #add(event: string): void {
    const format = parseFormat(event, this.#instance.formatText(event));
    const places = probePlaces(format);
    if (places === undefined) return;
    this.#probes.set(format.id, { places, event, first: isKernelPoint(event) });
    this.#wanted[format.id] = 1;
  }

  /** Probes what all that runs needs: this program, the host's, and each container's. */
  #probeAll(): void {
    for (const pid of [process.pid, ...pids('/proc').slice(0, PROCESSES_MAX)]) this.#learn(pid);
  }

  /** Probes what a process's program needs; where that is refused, programs come without copies. */
  #learn(pid: number): void {
    try {
      this.#points.define(pid, this.#options.nowNs(), (event) => {
        this.#instance.switch(event, true);
        this.#add(event);
      });
    } catch (cause) {
      this.#refusal = cause as Error;
    }
  }

  /**
   * Removing a definition erases what is unread of it, so that all is read first. Switching an event off takes long, and
   * goes on beside recording; what follows takes a moment, in which execs have no copy.
   */
  #remove(events: readonly string[]): void {
    for (const event of events) {
      try {
        this.#instance.switch(event, false);
      } catch {
        // Somebody removed it.
      }
    }
    this.#readAll();
    this.#instance.record(false);
    try {
      this.#readAll();
      for (const event of events) this.#forget(event);
    } finally {
      this.#instance.record(true);
      this.#watch?.emptiedByUs();
    }
  }

  /** Returns how much of the buffer was in use, 0 to 1. */
  #readAll(): number {
    let horizonNs = 0n;
    let filled = 0;
    const sink = {
      page: (page: SourcePage) => this.#page(page),
      horizon: (ns: bigint) => {
        horizonNs = ns;
      },
    };
    // A program that begins again and again fills the buffer as fast as it is read.
    for (let run = 0, empty = false; run < RUNS_MAX && !empty; run += 1) {
      const result = this.#drain!.run(sink);
      empty = result.empty;
      filled = Math.max(filled, result.filled);
    }
    const unknown: number[] = [];
    this.#matcher.settle(
      horizonNs,
      (matched) => this.#tell(matched),
      (exec) => {
        exec.visited = { record: this.#looks.look(exec), untilNs: this.#options.nowNs() };
        if (unknown.length < LEARNED_MAX) unknown.push(exec.pid);
      },
    );
    if (this.#learns) for (const pid of unknown) this.#learn(pid);
    return filled;
  }

  #page({ lane, bytes, lost, lostUnknown }: SourcePage): void {
    this.#lost += lost + (lostUnknown ? 1 : 0);
    // What is missing may be an exec, and the next copy be of that one.
    if (lost > 0 || lostUnknown) this.#matcher.interrupt();
    const entries = this.#entries;
    scanPage(bytes, this.#wanted, startCursor(), entries);
    for (let at = 0; at < entries.count; at += 1) {
      const [offset, length, timeNs] = [entries.offsets[at]!, entries.lengths[at]!, entries.timeNs(at)];
      if (entries.ids[at] === this.#exec!.id) {
        const { filename, pid } = this.#exec!.decode(bytes, offset, length) as { filename: string; pid: number };
        this.#matcher.exec({ lane, timeNs, pid, filename, visited: undefined });
        continue;
      }
      const { places, first } = this.#probes.get(entries.ids[at]!)!;
      if (length < Math.max(places.words + WORDS_BYTES, places.strings + STRINGS_BYTES)) continue;
      const pid = eventPid(bytes, offset, length);
      const stack = readExecStack(
        bytes.subarray(offset + places.words, offset + places.words + WORDS_BYTES),
        bytes.subarray(offset + places.strings, offset + places.strings + STRINGS_BYTES),
      );
      if (stack !== undefined) this.#matcher.copied({ timeNs, pid, copy: stack, first });
    }
  }

  #tell({ exec, copy, replacedNs }: Matched<Exec, ExecStack>): void {
    this.#proof?.(exec, copy);
    // Somebody has set another trace clock: the time belongs to no exec, which goes on without its arguments.
    if (exec.timeNs > this.#options.nowNs() + PAGE_AHEAD_NS_MAX) return;
    if (copy !== undefined) {
      this.#misses = 0;
      this.#copiedNs = exec.timeNs;
      this.#told.push(this.#looks.look(exec, copy));
      return;
    }
    const { visited } = exec;
    if (visited && (replacedNs === undefined || replacedNs > visited.untilNs)) this.#told.push(visited.record);
    else this.#told.push(this.#looks.pass(exec));
    if (replacedNs === undefined && this.#points.copies(exec.pid, exec.timeNs)) this.#misses += 1;
  }

  /** Defines anew what somebody removed. */
  #restore(): void {
    const listed = definitionsOf(this.#options.tracefs, probeGroup(this.#options.recorderId));
    // tracefs is not mounted: nothing is known.
    if (listed === undefined) return;
    const there = new Set(listed);
    const gone = this.#points.events.filter((event) => !there.has(event));
    const fromNs = this.#rightNs;
    this.#rightNs = this.#options.nowNs();
    if (gone.length === 0) return;
    for (const event of gone) {
      this.#instance.enabled.delete(event);
      this.#forget(event);
    }
    this.#probeAll();
    const message = `somebody removed ${gone.length} probes of execs: defined anew; arguments of programs may be missing from the last look before it`;
    this.#disturbances.push({ state: 'restored', fromNs, loses: false, message });
  }

  #forget(event: string): void {
    this.#unwant(event);
    this.#points.remove(event);
  }

  /**
   * Runs a program whose arguments nobody else can have, and waits for the kernel's copy of them. Throws
   * `failed_precondition` where that does not come, or not whole.
   */
  async prove(): Promise<void> {
    const file = ['/bin/true', '/usr/bin/true'].find((path) => existsSync(path)) ?? process.execPath;
    const wanted = [file, '--version', randomBytes(8).toString('hex'), '', 'ä'];
    const child = spawn(file, wanted.slice(1), { stdio: 'ignore', env: {} });
    const ended = new Promise((done) => child.on('error', done).on('close', done));
    let whole: boolean | undefined;
    this.#proof = ({ pid }, stack) => {
      if (pid !== child.pid) return;
      whole = JSON.stringify(stack?.args) === JSON.stringify(wanted) && stack?.uid === process.geteuid?.();
    };
    const untilMs = performance.now() + EXEC_PROOF_MS_MAX;
    try {
      while (whole === undefined && performance.now() < untilMs && !this.#stopped) {
        await sleep(PROOF_LOOK_MS);
        if (!this.#stopped) this.#readAll();
      }
    } finally {
      this.#proof = undefined;
      child.kill();
      await ended;
    }
    if (whole) return;
    const what = whole === undefined ? 'was not seen' : 'did not bring its arguments along';
    throw new BackplaneError('failed_precondition', `an exec of ${file} under a probe ${what}`);
  }

  #tellLost(): void {
    if (this.#lost === 0) return;
    this.#options.sink.note('exec_lane_lost', `${this.#lost} execs or copies of their arguments were lost`);
    this.#lost = 0;
  }
}

function settings({ name, bufferBytesPerCpu }: ExecProbeOptions) {
  const subBufferBytes = bufferBytesPerCpu >= MiB ? 64 * KiB : 4 * KiB;
  return { name, bufferBytesPerCpu, subBufferBytes, events: [EXEC] };
}

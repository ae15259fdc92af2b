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
import {
  EXEC_COPY_WAIT_NS,
  EXEC_LANE_CPU_BURST_MS,
  EXEC_LANE_CPU_SHARE,
  EXEC_LONG_BYTES,
  EXEC_LONG_FOR_MS,
  EXEC_LONG_READ_MS,
  EXEC_PROBE_MISSES_MAX,
  EXEC_PROOF_MS_MAX,
  PAGE_AHEAD_NS_MAX,
} from '../../../limits.js';
import { mayChange, mayClear, requirePlaceable } from '../command-lines/memories.js';
import { ExecEntries } from '../exec/exec-entries.js';
import type { ExecWay } from '../exec/exec-ways.js';
import { buffersOf, earlier, ForeignCopies, runOut } from '../exec/foreign-copies.js';
import { programsRunning } from '../exec/programs-running.js';
import { Repeats } from '../exec/repeats.js';
import { ShortWork } from '../exec/short-work.js';
import { parseFormat } from '../pages/format.js';
import type { Disturbance, ExecRecord, SourcePage, SourceSink } from '../source.js';
import { removeInstance } from '../tracefs/instance.js';
import { works } from '../tracefs/instance-controls.js';
import { ReadInstance } from '../tracefs/read-instance.js';
import { definitionsOf, probeGroup, undefineAll } from './definitions.js';
import { ExecLooks } from './exec-looks.js';
import { ExecMatcher, type Matched, type SeenCopy, type SeenExec } from './exec-matcher.js';
import type { ExecPoints } from './exec-points.js';
import type { ExecStack } from './exec-stack.js';
import { isKernelPoint } from './kernel-point.js';

const EXEC = 'sched/sched_process_exec';
/** Losses are told, and probes that nobody needs any more are looked for, at most this often. */
const ROUND_MS = 1_000;
const PROOF_LOOK_MS = 5;
/** Processes whose programs may need a probe, in one drain. */
const LEARNED_MAX = 4;
/** More than it takes to find what a program needs: a program and its linker are read. */
const LEARN_MS_MAX = 2;

interface Exec extends SeenExec {
  /** What /proc said of it while it waited for its copy, and until when that was read, by the trace clock. */
  visited: { readonly record: ExecRecord; readonly untilNs: bigint } | undefined;
  /** Whether it should have been copied, as far as that is known. */
  isDue?: ((timeNs: bigint) => boolean) | undefined;
}

export interface ExecProbeOptions {
  readonly tracefs: string;
  /** The instance's name; whichever way is in force has it. */
  readonly name: string;
  readonly recorderId: string;
  /** Of the probes' instance; half as much of that of containers' probes. */
  readonly bufferBytesPerCpu: number;
  readonly sink: SourceSink;
  /** Trace clock. */
  readonly nowNs: () => bigint;
  /** Whether probes in files may be placed and removed; by default memoriesAnswer. */
  readonly memoriesAnswer?: () => boolean;
}

export class ExecProbe {
  readonly #options: ExecProbeOptions;
  /** With all execs, and the probes that stay. */
  readonly #own: ReadInstance;
  readonly #foreign: ForeignCopies;
  readonly #points: ExecPoints;
  readonly #matcher = new ExecMatcher<Exec, ExecStack>();
  readonly #looks = new ExecLooks();
  /** Finds what programs need that have not run yet: on a crowded machine most have not. */
  readonly #learning = new ShortWork(EXEC_LANE_CPU_SHARE, EXEC_LANE_CPU_BURST_MS, LEARN_MS_MAX);
  readonly #entries: ExecEntries;
  /** Names of programs that ended without a copy, and before anything could be learned of them. */
  readonly #ended = new Set<string>();
  #refusal: Error | undefined;
  /** Whether what is known is told at once. Before the first drain nobody takes it. */
  #tells = false;
  readonly #told: ExecRecord[] = [];
  /** To be removed: of an earlier agent and of no use to this one, or on in somebody else's instance. */
  #unusable: string[] = [];
  /** An earlier agent's goes on: it was proved then, and is once more while it is used. */
  #goesOn = false;
  #lost = 0;
  /** Execs in a row that a probe should have copied and did not, and when the last one was copied. */
  #misses = 0;
  #copiedNs = 0n;
  #roundMs = 0;
  /** Monotonic: when execs were last read. */
  #startedMs = Number.NEGATIVE_INFINITY;
  /** Trace clock: when all probes were last there. */
  #rightNs: bigint;
  /** The same of the last look for files that were replaced. */
  #lookedNs: bigint;
  readonly #disturbances: Disturbance[] = [];
  /** Runs while a probe is proved. */
  #proof: ((exec: SeenExec, stack: ExecStack | undefined) => void) | undefined;
  #stopped = false;
  /**
   * What was not copied is read of the program itself, as long as it lives. Programs with many arguments come in
   * numbers, as in a build, and seldom is the first the longest: where there was one that nearly filled its copy, the next
   * are read before the next drain. They are told at once: what is read is not in the kernel's buffer any more, should
   * this agent be killed.
   */
  readonly #longReads = new Repeats(() => this.drain(), EXEC_LONG_READ_MS, EXEC_LONG_FOR_MS);

  /** Removes what an earlier agent left, unread, unless the machine might stand still. */
  static clear(tracefs: string, recorderId: string, name: string): void {
    if (!mayClear(tracefs, recorderId)) return;
    removeInstance(join(tracefs, 'instances', name));
    ForeignCopies.clear(tracefs, name);
    undefineAll(tracefs, probeGroup(recorderId));
  }

  /** Makes its instance and its probes; nothing is proved yet. Throws `failed_precondition` where it cannot. */
  constructor(options: ExecProbeOptions, way: ExecWay) {
    this.#options = options;
    const { tracefs, recorderId, name, nowNs, bufferBytesPerCpu } = options;
    this.#rightNs = nowNs();
    this.#lookedNs = this.#rightNs;
    const group = probeGroup(recorderId);
    this.#points = way.points(tracefs, group);
    // What an earlier agent left goes on until ours is there.
    const left = definitionsOf(tracefs, group) ?? [];
    const own = { name, ...buffersOf(bufferBytesPerCpu), events: [EXEC], onDemand: left };
    this.#own = new ReadInstance(tracefs, own, 'arguments of programs', nowNs);
    try {
      this.#foreign = new ForeignCopies(tracefs, name, buffersOf(bufferBytesPerCpu / 2), left, nowNs);
    } catch (cause) {
      this.#own.close();
      throw cause;
    }
    this.#entries = new ExecEntries(parseFormat(EXEC, this.#own.instance.formatText(EXEC)));
    try {
      for (const event of left) this.#adopt(event);
      this.#goesOn = this.#own.instance.adopted && this.#points.events.length > 0;
      for (const event of [...this.#own.instance.enabled, ...this.#foreign.enabled]) this.#add(event);
      this.#probeAll();
      if (this.#points.events.length === 0)
        throw this.#refusal ?? new BackplaneError('failed_precondition', 'no program here can be probed');
    } catch (cause) {
      // What an earlier agent left is for the next way, or the next agent.
      this.#close(this.#own.instance.adopted);
      throw cause;
    }
  }

  /** Whether something that was read is not told yet. */
  get waits(): boolean {
    return this.#matcher.waits;
  }

  /** Tells what is known by now. Called with every drain of the pages. Returns how full the buffer was, 0 to 1. */
  drain(): number {
    this.#tells = true;
    for (const record of this.#told.splice(0)) this.#options.sink.exec(record);
    const { pages, filled } = this.#readAll();
    const nowMs = performance.now();
    if (pages > 0) this.#startedMs = nowMs;
    const prepare = (record: (event: string) => void) =>
      this.#points.prepare(nowMs, this.#options.nowNs(), this.#startedMs, record);
    this.#learning.run(() => this.#attempt(prepare));
    if (nowMs - this.#roundMs >= ROUND_MS) this.#goRound(nowMs);
    return filled;
  }

  #goRound(nowMs: number): void {
    this.#roundMs = nowMs;
    this.#tellLost();
    this.#restore();
    this.#followReplaced();
    // One that was left may have been found again, by the same name.
    const unusable = this.#unusable.splice(0).filter((event) => !this.#points.events.includes(event));
    const unused = [...unusable, ...this.#points.unused(this.#options.nowNs())];
    if (unused.length > 0 && mayChange(unused, this.#options.memoriesAnswer)) this.#remove(unused);
    else this.#unusable.push(...unusable);
  }

  /** Whether programs that should have been copied came without their arguments, since `copiedNs`, or none was seen yet. */
  get doubted(): boolean {
    return this.#goesOn || this.#misses >= EXEC_PROBE_MISSES_MAX;
  }

  /**
   * Whether it goes on with what an earlier agent left. What that has recorded is read when it can be told: an agent that
   * is killed before leaves it to the next.
   */
  get goesOn(): boolean {
    return this.#goesOn;
  }

  /** Trace clock: when the last exec that was copied took place. */
  get copiedNs(): bigint {
    return this.#copiedNs;
  }

  /** Whether a program of our own comes back whole, once what somebody removed is there again. */
  async holds(): Promise<boolean> {
    try {
      this.#restore();
      await this.prove();
      return true;
    } catch {
      return false;
    } finally {
      this.#misses = 0;
      this.#goesOn = false;
    }
  }

  get by(): ExecPoints['by'] {
    return this.#points.by;
  }

  look(nowMs: number): Disturbance | undefined {
    return this.#disturbances.shift() ?? this.#own.look(nowMs) ?? this.#foreign.look(nowMs);
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    try {
      this.#own.instance.record(false);
      this.#foreign.record(false);
      this.#readRest();
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
    this.#longReads.stop();
    // Where they may not be removed the next agent goes on with them, as if this one was killed.
    const on = [...this.#own.instance.enabled, ...this.#foreign.enabled];
    const stays = keepsInstance || !mayChange(on, this.#options.memoriesAnswer);
    if (stays && !keepsInstance) for (const each of [this.#own.instance, this.#foreign]) works(() => each.record(true));
    this.#own.close();
    this.#foreign.close();
    // Without their definitions nothing could be read of its entries.
    if (stays) return;
    this.#own.remove();
    this.#foreign.remove();
    for (const event of [...this.#points.events, ...this.#unusable]) this.#points.remove(event);
  }

  #adopt(event: string): void {
    if (!this.#points.adopt(event, this.#options.nowNs())) this.#unusable.push(event);
    // Its agent was killed in between.
    else if (!this.#isOn(event)) this.#switchOn(event);
  }

  #isOn(event: string): boolean {
    return this.#own.instance.enabled.has(event) || this.#foreign.enabled.has(event);
  }

  #switchOn(event: string): void {
    requirePlaceable(event, this.#options.memoriesAnswer);
    if (this.#points.isForeign(event)) this.#foreign.switchOn(event);
    else this.#own.instance.switch(event, true);
  }

  #add(event: string): void {
    this.#entries.add(event, parseFormat(event, this.#own.instance.formatText(event)), isKernelPoint(event));
  }

  /** Probes what all that runs needs. */
  #probeAll(): void {
    for (const pid of programsRunning()) this.#learn(pid);
  }

  /** Probes what a process's program needs; where that is refused, programs come without copies. */
  #learn(pid: number): Exec['isDue'] {
    return this.#attempt((record) => this.#points.define(pid, this.#options.nowNs(), record));
  }

  #attempt<Result>(define: (record: (event: string) => void) => Result): Result | undefined {
    try {
      return define((event) => {
        this.#switchOn(event);
        this.#add(event);
      });
    } catch (cause) {
      this.#refusal = cause as Error;
      return undefined;
    }
  }

  #remove(events: readonly string[]): void {
    const isForeign = (event: string) => this.#foreign.enabled.has(event) || this.#points.isForeign(event);
    const own = events.filter((event) => this.#own.instance.enabled.has(event) || !isForeign(event));
    const foreign = events.filter((event) => !own.includes(event));
    if (this.#points.leave(events)) this.#probeAll();
    this.#foreign.switchOff(foreign, (page) => this.#page(page));
    for (const event of foreign) this.#forget(event);
    if (own.length > 0) this.#removeOwn(own);
  }

  /**
   * Removing a definition erases what is unread of it, so that all is read first. Switching an event off takes long, and
   * goes on beside recording; what follows takes a moment, in which execs have no copy.
   */
  #removeOwn(events: readonly string[]): void {
    for (const event of events) {
      try {
        this.#own.instance.switch(event, false);
      } catch {
        // Somebody removed it.
      }
    }
    // Nearly all of it, so that little is left to read while nothing is recorded.
    this.#readAll();
    this.#own.instance.record(false);
    try {
      this.#readRest();
      for (const event of events) this.#forget(event);
    } finally {
      this.#own.instance.record(true);
      this.#own.emptiedByUs();
    }
  }

  /** While nothing is recorded. */
  #readRest(): void {
    while (this.#readAll().pages > 0);
  }

  /** Returns what it read of all execs, and how much of a buffer was in use, 0 to 1. */
  #readAll(): { readonly pages: number; readonly filled: number } {
    const page = (each: SourcePage) => this.#page(each);
    const foreign = this.#foreign.read(page);
    const own = runOut(this.#own, page);
    const unknown: Exec[] = [];
    this.#matcher.settle(
      earlier(foreign.horizonNs, own.horizonNs) ?? 0n,
      (matched) => this.#tell(matched),
      (exec) => {
        exec.visited = { record: this.#looks.look(exec), untilNs: this.#options.nowNs() };
        // Most have ended: nothing can be learned of those.
        if (unknown.length < LEARNED_MAX && existsSync(`/proc/${exec.pid}`)) unknown.push(exec);
      },
      (exec) => this.#isToRun(exec),
    );
    for (const exec of unknown) exec.isDue = this.#learn(exec.pid);
    for (const filename of this.#ended)
      this.#attempt((record) => this.#points.seek(filename, this.#options.nowNs(), record));
    this.#ended.clear();
    if (this.#tells) this.#options.sink.settle();
    return { pages: own.pages, filled: Math.max(foreign.filled, own.filled) };
  }

  #page({ lane, bytes, lost, lostUnknown }: SourcePage): void {
    this.#lost += lost + (lostUnknown ? 1 : 0);
    // What is missing may be an exec, and the next copy be of that one.
    if (lost > 0 || lostUnknown) this.#matcher.interrupt();
    this.#entries.read(bytes, {
      exec: (exec) => this.#matcher.exec({ lane, ...exec, visited: undefined }),
      copied: (copied, event) => {
        this.#points.used(event, copied.timeNs);
        this.#copied(copied);
      },
    });
  }

  /** What the copy had no room for is read at once: the order of what else is in the buffer may be known only later. */
  #copied({ copy, ...copied }: SeenCopy<ExecStack>): void {
    if (copy.bytes >= EXEC_LONG_BYTES && this.#tells) this.#longReads.want();
    this.#matcher.copied({ ...copied, copy: copy.truncated ? this.#looks.complete(copied.pid, copy) : copy });
  }

  #tell({ exec, copy, replacedNs }: Matched<Exec, ExecStack>): void {
    this.#proof?.(exec, copy);
    // Somebody has set another trace clock: the time belongs to no exec, which goes on without its arguments.
    if (exec.timeNs > this.#options.nowNs() + PAGE_AHEAD_NS_MAX) return;
    if (copy !== undefined) {
      this.#misses = 0;
      this.#copiedNs = exec.timeNs;
      this.#pass(this.#looks.look(exec, copy));
      return;
    }
    const { visited } = exec;
    if (visited && (replacedNs === undefined || replacedNs > visited.untilNs)) this.#pass(visited.record);
    else this.#pass(this.#looks.pass(exec));
    if (replacedNs === undefined && exec.isDue?.(exec.timeNs)) this.#misses += 1;
    if (exec.isDue === undefined && this.#ended.size < LEARNED_MAX) this.#ended.add(exec.filename);
  }

  #pass(record: ExecRecord): void {
    if (this.#tells) this.#options.sink.exec(record);
    else this.#told.push(record);
  }

  /** Whether a program that has a probe may not have come to its first instruction yet: others have the CPU. */
  #isToRun(exec: Exec): boolean {
    const { pid, timeNs } = exec;
    if (this.#points.by !== 'uprobe' || this.#options.nowNs() - timeNs > EXEC_COPY_WAIT_NS) return false;
    if (!existsSync(`/proc/${pid}`)) return false;
    // Where that would take too long the program is looked up instead.
    exec.isDue ??= this.#learning.run(() => this.#learn(pid))?.result;
    return exec.isDue?.(timeNs) === true;
  }

  /** Defines anew what somebody removed. */
  #restore(): void {
    const listed = this.#listed();
    // tracefs is not mounted: nothing is known.
    if (listed === undefined) return;
    const there = new Set(listed);
    const gone = this.#points.events.filter((event) => !there.has(event));
    const fromNs = this.#rightNs;
    this.#rightNs = this.#options.nowNs();
    if (gone.length === 0) return;
    for (const event of gone) {
      this.#own.instance.enabled.delete(event);
      this.#foreign.forget(event);
      this.#entries.remove(event);
      this.#points.remove(event);
    }
    this.#probeAll();
    const message = `somebody removed ${gone.length} probes of execs: defined anew; arguments of programs may be missing from the last look before it`;
    this.#disturbances.push({ state: 'restored', fromNs, loses: false, message });
  }

  /** Its first programs had no probe: there is no copy to wait for. */
  #followReplaced(): void {
    const before = this.#points.events.length;
    for (const pid of this.#points.replaced()) this.#learn(pid);
    const more = this.#points.events.length - before;
    const fromNs = this.#lookedNs;
    this.#lookedNs = this.#options.nowNs();
    if (more === 0) return;
    const message = `${more} dynamic linkers were replaced: probed anew; arguments of programs may be missing from the last look before it`;
    this.#disturbances.push({ state: 'restored', fromNs, loses: false, message });
  }

  #listed(): string[] | undefined {
    return definitionsOf(this.#options.tracefs, probeGroup(this.#options.recorderId));
  }

  #forget(event: string): void {
    this.#entries.remove(event);
    if (this.#points.remove(event) || !this.#points.isForeign(event)) return;
    // Somebody else has it on: tried again at the next look, as it keeps a filesystem busy.
    if (this.#listed()?.includes(event)) this.#unusable.push(event);
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

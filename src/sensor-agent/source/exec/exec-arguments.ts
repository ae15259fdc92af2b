/**
 * Where the arguments of programs come from: the kernel's own copy where a probe of it holds, else the exec lane. A
 * probe that is refused, or stops working, is replaced by the lane until one holds.
 *
 *   (refused)─────────────────────────────────────┐
 *   probe ──(it brings no arguments any more)──▶ lane ──(tried again, and it holds)──▶ probe
 */
import { BackplaneError } from '../../../errors.js';
import {
  EXEC_PROBE_AGAIN_MS,
  EXEC_PROBE_AGAIN_MS_MAX,
  EXEC_PROBE_AGAIN_MS_MIN,
  EXEC_PROBE_DOUBT_MS,
  EXEC_QUIET_READ_MS,
} from '../../../limits.js';
import { COMMAND_LINES } from '../command-lines/command-lines.js';
import { mayClear } from '../command-lines/memories.js';
import { probeGroup, undefineAll } from '../probe/definitions.js';
import { ExecProbe, type ExecProbeOptions } from '../probe/exec-probe.js';
import type { ArgumentsBy, Disturbance } from '../source.js';
import { ExecLane } from './exec-lane.js';
import { EXEC_WAYS, type ExecWay, hasWay, takesWay } from './exec-ways.js';
import { Retries } from './retries.js';

export class ExecArguments {
  readonly #options: ExecProbeOptions;
  /** Whether a probe is wanted where it holds. */
  readonly #probes: boolean;
  readonly #group: string;
  #way: ExecProbe | ExecLane | undefined;
  #changing: Promise<void> | undefined;
  #stopped = false;
  readonly #retries = new Retries(EXEC_PROBE_AGAIN_MS_MIN, EXEC_PROBE_AGAIN_MS_MAX);
  /** Until when a probe that is doubted is not tried. */
  #trustedMs = Number.NEGATIVE_INFINITY;
  /** Set while the lane stands in for a probe that failed. */
  #failed: { readonly fromNs: bigint } | undefined;
  #told: Disturbance[] = [];
  /** Whether the last drain of the pages found nothing, and when copies were last read. */
  #isQuiet = false;
  #readMs = Number.NEGATIVE_INFINITY;

  constructor(options: ExecProbeOptions, probes: boolean) {
    this.#options = options;
    this.#probes = probes;
    this.#group = probeGroup(options.recorderId);
  }

  /** Throws `failed_precondition` where neither way is possible. */
  async start(): Promise<void> {
    const { tracefs, name, recorderId } = this.#options;
    if (this.#probes) {
      try {
        await this.#probe();
        return;
      } catch (cause) {
        if (this.#stopped) return;
        this.#refused((cause as Error).message);
      }
    } else ExecProbe.clear(tracefs, recorderId, name);
    try {
      this.#way = this.#lane();
    } catch (cause) {
      // It is tried again.
      if (this.#failed === undefined) throw cause;
      this.#options.sink.note('exec_arguments_failed', `no arguments: ${(cause as Error).message}`);
    }
  }

  /** Where the kernel has probes, what refuses them may pass. */
  #refused(why: string): void {
    const instead = `arguments are read from /proc: ${why}`;
    this.#options.sink.note('exec_probe_refused', instead);
    if (!hasWay(this.#options.tracefs, this.#group)) return;
    this.#failed = { fromNs: this.#options.nowNs() };
    this.#retries.failed(performance.now());
    this.#tell('left', this.#failed.fromNs, `${instead}; those of the shortest programs are missed`);
  }

  /** The first way that holds. Throws `failed_precondition`, with what each said, where none does. */
  async #probe(): Promise<void> {
    const refusals: string[] = [];
    for (const way of EXEC_WAYS) {
      try {
        await this.#probeBy(way);
        return;
      } catch (cause) {
        refusals.push(`${way.name}: ${(cause as Error).message}`);
        if (this.#stopped) break;
      }
    }
    throw new BackplaneError('failed_precondition', refusals.join('; '));
  }

  /** In force before it is proved, so that whoever stops finds it. Throws where it does not hold. */
  async #probeBy(way: ExecWay): Promise<void> {
    const probe = new ExecProbe(this.#options, way);
    this.#way = probe;
    try {
      if (!probe.goesOn) await probe.prove();
    } catch (cause) {
      if (this.#way === probe) this.#way = undefined;
      await probe.stop();
      throw cause;
    }
  }

  /** Throws `failed_precondition` where it cannot be had, or may not switch off what probes have left on. */
  #lane(): ExecLane {
    const { tracefs, name, recorderId, sink, nowNs } = this.#options;
    if (!mayClear(tracefs, recorderId))
      throw new BackplaneError('failed_precondition', `probes that were left stay on: ${COMMAND_LINES.problem}`);
    return new ExecLane(tracefs, name, sink, nowNs);
  }

  get by(): ArgumentsBy | undefined {
    if (this.#way === undefined) return undefined;
    return this.#way instanceof ExecProbe ? this.#way.by : 'visit';
  }

  /**
   * Called with every drain of the pages. Returns how much of its buffer the fullest lane had in use, 0 to 1; of the exec
   * lane's, which never wait, 0.
   * @param isQuiet whether the pages, which have all execs, too, had nothing. The second time in a row there is nothing
   *   here either that somebody waits for, and the copies are read seldom
   */
  drain(isQuiet = false): number {
    const nowMs = performance.now();
    const wasQuiet = this.#isQuiet;
    this.#isQuiet = isQuiet;
    const isDue = !isQuiet || !wasQuiet || nowMs - this.#readMs >= EXEC_QUIET_READ_MS;
    if (!isDue && this.#way instanceof ExecProbe && !this.#way.waits) return 0;
    this.#readMs = nowMs;
    return this.#way?.drain() ?? 0;
  }

  look(nowMs: number): Disturbance | undefined {
    const way = this.#way;
    if (this.#changing === undefined) {
      if (way instanceof ExecProbe) {
        if (way.doubted && nowMs >= this.#trustedMs) this.#change(this.#review(way));
      } else if (this.#failed && this.#retries.isDue(nowMs)) this.#change(this.#tryAgain(this.#failed.fromNs));
    }
    return this.#told.shift() ?? this.#way?.look(nowMs);
  }

  #change(change: Promise<void>): void {
    const { sink } = this.#options;
    this.#changing = change
      .catch((cause: unknown) => {
        this.#retries.failed(performance.now());
        sink.note('exec_arguments_failed', `no arguments: ${(cause as Error).message}`);
      })
      .finally(() => {
        this.#changing = undefined;
      });
  }

  /** Some programs came without their arguments, for which there may be other reasons: tries the probe itself. */
  async #review(probe: ExecProbe): Promise<void> {
    const fromNs = probe.copiedNs;
    this.#trustedMs = performance.now() + EXEC_PROBE_DOUBT_MS;
    if (!(await probe.holds())) await this.#standIn(probe, fromNs);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#changing;
    await this.#way?.stop();
    this.#end();
  }

  stopSync(): void {
    this.#stopped = true;
    this.#way?.stopSync();
    this.#end();
  }

  /** Its instance is gone: nothing is erased. */
  #end(): void {
    this.#way = undefined;
    undefineAll(this.#options.tracefs, this.#group);
  }

  async #standIn(probe: ExecProbe, fromNs: bigint): Promise<void> {
    await probe.stop();
    this.#way = undefined;
    if (this.#stopped) return;
    this.#failed = { fromNs };
    this.#retries.failed(performance.now());
    const what = "the kernel's copy of arguments stopped coming";
    try {
      this.#way = this.#lane();
      this.#tell(
        'left',
        fromNs,
        `${what}: arguments are read from /proc, and those of the shortest programs are missed`,
      );
    } catch (cause) {
      this.#tell('left', fromNs, `${what}, and they cannot be read from /proc: ${(cause as Error).message}`);
    }
  }

  async #tryAgain(fromNs: bigint): Promise<void> {
    // The lane goes on while the kernel refuses.
    if (!takesWay(this.#options.tracefs, this.#group, this.#options.nowNs())) {
      this.#retries.failed(performance.now(), EXEC_PROBE_AGAIN_MS);
      return;
    }
    await this.#way?.stop();
    this.#way = undefined;
    if (this.#stopped) return;
    try {
      await this.#probe();
      this.#failed = undefined;
      this.#retries.held(performance.now());
      this.#tell('over', fromNs, "the kernel's copy of arguments comes again");
    } catch {
      if (this.#stopped) return;
      this.#retries.failed(performance.now());
      this.#way = this.#lane();
    }
  }

  #tell(state: Disturbance['state'], fromNs: bigint, message: string): void {
    this.#told.push({ state, fromNs, message, loses: false });
  }
}

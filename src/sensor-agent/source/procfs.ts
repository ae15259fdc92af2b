/**
 * The source where tracefs cannot be used: looks at /proc ten times a second.
 * Sees only processes that live long enough to be found, and says so in
 * `degraded`.
 */
import { BackplaneError } from '../../errors.js';
import { POLL_IDLE_MS, TASKS_MAX } from '../../limits.js';
import { msToNs } from '../../nanoseconds.js';
import { BUILTIN_FORMATS } from './builtin-formats.js';
import type { FieldValue } from './pages/decoder.js';
import { FormatTable } from './pages/format.js';
import { ProcessReader, pids, type ReadProcess } from './process-reader.js';
import type { ClockPair, DrainResult, Source, SourceSink } from './source.js';
import { PageWriter } from './synthetic/page-writer.js';
import { TraceClock, uptimeNow } from './tracefs/clock.js';

export interface ProcfsOptions {
  /** Between two looks for processes that came and went; default 100. */
  readonly pollMs?: number;
}

interface Known {
  readonly startTimeNs: bigint;
  readonly comm: string;
  readonly executablePath: string | undefined;
}

const EVENTS = ['sched/sched_process_exec', 'sched/sched_process_exit', 'task/task_newtask', 'task/task_rename'];
/** Known processes are looked at again for another program or name this often, in looks. */
const REVISIT_POLLS = 10;
const PAGE_BYTES = 64 * 1024;
const LANE = 0;

export class ProcfsSource implements Source {
  readonly name = 'procfs';
  readonly formats = new FormatTable(EVENTS.map((event) => BUILTIN_FORMATS.byName(event)!));
  readonly lanes = 1;
  readonly pageBytesMax = PAGE_BYTES;
  readonly idleMs = POLL_IDLE_MS;
  readonly degraded =
    'the kernel is not traced, /proc is polled: most processes that live less than 0.1 s are not seen, ' +
    'and neither are signals and connections';
  readonly #clock = new TraceClock(uptimeNow);
  readonly #reader = new ProcessReader();
  readonly #writer = new PageWriter(PAGE_BYTES);
  readonly #known = new Map<number, Known>();
  #sink: SourceSink | undefined;
  #polls = 0;
  #polledNs = 0n;
  #result = { pages: 0, bytes: 0 };

  readonly #options: ProcfsOptions;

  constructor(options: ProcfsOptions = {}) {
    this.#options = options;
  }

  /** Processes that run already are taken as known and produce no events. */
  async start(sink: SourceSink): Promise<void> {
    for (const process of this.#reader.scan()) this.#remember(process);
    this.#sink = sink;
    this.#polledNs = this.#clock.nowNs();
  }

  drain(): DrainResult {
    const sink = this.#sink;
    if (sink === undefined) throw new BackplaneError('failed_precondition', 'the procfs source is not running');
    this.#result = { pages: 0, bytes: 0 };
    const nowNs = this.#clock.nowNs();
    if (nowNs - this.#polledNs >= msToNs(this.#options.pollMs ?? 100)) {
      this.#polledNs = nowNs;
      this.#poll(nowNs);
      this.#flush();
      sink.horizon(nowNs);
    }
    return { ...this.#result, empty: true, filled: 0 };
  }

  clock(): ClockPair {
    return this.#clock.pair();
  }

  overrun(): undefined {
    return undefined;
  }

  async stop(): Promise<void> {
    this.#sink = undefined;
    this.#known.clear();
  }

  #poll(nowNs: bigint): void {
    const revisit = this.#polls++ % REVISIT_POLLS === 0;
    const listed = pids('/proc');
    const present = new Set(listed);
    for (const [pid, known] of this.#known) if (!present.has(pid)) this.#exited(pid, known, nowNs);
    for (const pid of listed) {
      const known = this.#known.get(pid);
      if (known === undefined) {
        const process = this.#known.size < TASKS_MAX ? this.#reader.snapshot(pid) : undefined;
        if (process !== undefined) this.#started(process, nowNs);
      } else if (revisit) this.#revisit(pid, known, nowNs);
    }
  }

  /** Checks whether a pid has another process, another program or another name. */
  #revisit(pid: number, known: Known, nowNs: bigint): void {
    const process = this.#reader.snapshot(pid);
    if (process === undefined) return;
    if (process.startTimeNs !== known.startTimeNs) {
      this.#exited(pid, known, nowNs);
      this.#started(process, nowNs);
      return;
    }
    const path = process.executablePath;
    if (path !== undefined && path !== known.executablePath) this.#executed(process, nowNs);
    else if (process.comm !== known.comm) {
      this.#write('task_rename', nowNs, pid, { pid, oldcomm: known.comm, newcomm: process.comm });
    }
    this.#remember(process);
  }

  #started(process: ReadProcess, nowNs: bigint): void {
    const { pid, parentPid, comm } = process;
    const parent = this.#known.get(parentPid);
    this.#write('task_newtask', nowNs, parentPid, { pid, comm: parent?.comm ?? comm });
    // A fork without exec runs its parent's program; all else has executed one by now.
    const forkOnly = parent !== undefined && parent.comm === comm && parent.executablePath === process.executablePath;
    if (process.executablePath !== undefined && !forkOnly) this.#executed(process, nowNs);
    this.#remember(process);
  }

  #executed(process: ReadProcess, timeNs: bigint): void {
    const { pid, executablePath = '' } = process;
    this.#write('sched_process_exec', timeNs, pid, { filename: executablePath, pid, old_pid: pid });
    const missed = process.args === undefined;
    this.#sink?.exec({ lane: LANE, timeNs, pid, missed, process });
  }

  #exited(pid: number, { comm }: Known, nowNs: bigint): void {
    this.#known.delete(pid);
    this.#write('sched_process_exit', nowNs, pid, { comm, pid, prio: 120, group_dead: true });
  }

  #remember({ pid, comm, executablePath, startTimeNs = 0n }: ReadProcess): void {
    this.#known.set(pid, { comm, executablePath, startTimeNs });
  }

  #write(name: string, timeNs: bigint, pid: number, values: Record<string, FieldValue>): void {
    const entry = { format: this.formats.byName(name)!, timeNs, pid, values };
    if (this.#writer.append(entry)) return;
    this.#flush();
    this.#writer.append(entry);
  }

  #flush(): void {
    const bytes = this.#writer.take();
    if (bytes === undefined) return;
    this.#sink?.page({ lane: LANE, bytes, lost: 0, lostUnknown: false });
    this.#result.pages++;
    this.#result.bytes += bytes.length;
  }
}

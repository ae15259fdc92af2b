/**
 * Looks at living processes again where what is known of them was not read of them, or may have changed without a word
 * from the kernel: a process that was forked, a moment later, as it may never start a program; and without probes of the
 * user's changes one that connects or listens, since daemons begin as root and act as somebody else.
 */
import { statSync } from 'node:fs';
import { Pacer } from '../../flow/pacer.js';
import {
  PROCESS_LOOK_CPU_BURST_MS,
  PROCESS_LOOK_CPU_SHARE,
  PROCESS_LOOK_MS,
  PROCESS_LOOK_SLICE_MS,
  PROCESS_LOOKS_MAX,
} from '../../limits.js';
import { cpuTimer } from '../cpu-time.js';
import { ProcessReader } from '../source/process-reader.js';
import type { ProcessSnapshot } from '../source/source.js';
import { actsOnNetwork, type TraceEvent } from './kernel-events.js';
import { Inferred, type ProcessState } from './process-state.js';
import type { Follows, ProcessTable } from './process-table.js';

/** What happens that makes processes worth another look. */
export class LookNotes {
  readonly #processes: ProcessTable;
  #acted = new Set<ProcessState>();

  constructor(processes: ProcessTable) {
    this.#processes = processes;
    processes.started = [];
  }

  /** Takes an entry as it is read, before it is told. */
  entry(event: TraceEvent): void {
    const process = actsOnNetwork(event) ? this.#processes.of(event.pid) : undefined;
    if (process && !process.self) this.#acted.add(process);
  }

  /** What was noted since the last call. */
  take(): ToLookAt {
    const processes = this.#processes;
    const [acted, started] = [this.#acted, processes.started ?? []];
    this.#acted = new Set();
    processes.started = [];
    return { started, acted, follows: processes.follows, of: (pid) => processes.of(pid) };
  }
}

interface ToLookAt {
  /** Pids of new processes, and of old ones with a new program. */
  readonly started: readonly number[];
  /** Processes that connected or listened, as far as they were known. */
  readonly acted: ReadonlySet<ProcessState>;
  readonly follows: Follows;
  readonly of: (pid: number) => ProcessState | undefined;
}

export class ProcessLooks {
  readonly #reader = new ProcessReader();
  readonly #pacer = new Pacer(PROCESS_LOOK_CPU_SHARE, PROCESS_LOOK_CPU_BURST_MS);
  #restToMs = Number.NEGATIVE_INFINITY;
  #due: { readonly pid: number; readonly atMs: number }[] = [];

  /** What was read of those whose time has come. */
  read({ started, acted, follows, of }: ToLookAt, nowMs: number): ProcessSnapshot[] {
    for (const pid of started.slice(0, PROCESS_LOOKS_MAX - this.#due.length))
      this.#due.push({ pid, atMs: nowMs + PROCESS_LOOK_MS });
    const read: ProcessSnapshot[] = [];
    // Asking for the CPU time takes longer than passing over processes that have ended, as most have.
    let usedMs: (() => number) | undefined;
    const look = (process: ProcessState | undefined, inferred: number) => {
      if (!process || process.exited) return;
      usedMs ??= cpuTimer();
      if (!mayDiffer(process, inferred, follows)) return;
      const seen = this.#reader.look(process.pid);
      if (seen) read.push(seen);
    };
    if (nowMs < this.#restToMs) return read;
    const actedGoesOn = slice(read);
    for (const process of acted) if (actedGoesOn()) look(process, Inferred.USER);
    const dueGoesOn = slice(read);
    let at = 0;
    for (; at < this.#due.length && this.#due[at]!.atMs <= nowMs && dueGoesOn(); at += 1)
      look(of(this.#due[at]!.pid), ANYTHING);
    this.#due.splice(0, at);
    if (usedMs !== undefined) this.#restToMs = nowMs + this.#pacer.spend(usedMs());
    return read;
  }
}

/** Time for looks: for one at least, however crowded the machine is. */
function slice(read: readonly ProcessSnapshot[]): () => boolean {
  const before = read.length;
  const untilMs = performance.now() + PROCESS_LOOK_SLICE_MS;
  return () => read.length === before || performance.now() < untilMs;
}

const ANYTHING = ~0;

/** Whether something is inferred, of what is of interest, or the user is another by now. */
function mayDiffer({ pid, inferred = 0, uid }: ProcessState, ofInterest: number, { users }: Follows): boolean {
  if ((inferred & ofInterest) !== 0) return true;
  return !users && statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid !== uid;
}

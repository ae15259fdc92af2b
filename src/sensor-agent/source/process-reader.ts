/** Processes as /proc shows them: for the scan at start, and for the procfs source. */
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { ARGUMENTS_BYTES_MAX, TASKS_MAX } from '../../limits.js';
import { cgroupOf } from './cgroups.js';
import { COMMAND_LINES } from './command-lines/command-lines.js';
import { readProcLink } from './proc-link.js';
import { cut, splitArguments, ttyName } from './process-text.js';
import type { ProcessSnapshot } from './source.js';

/** stat counts time in these: USER_HZ is 100 on every Linux. */
const TICK_NS = 10_000_000n;

const COLON = 58;

/** A process as read: the fields from `stat` are always present. */
export interface ReadProcess extends ProcessSnapshot {
  readonly parentPid: number;
  readonly comm: string;
}

interface ProcessStat {
  readonly comm: string;
  readonly state: string;
  readonly parentPid: number;
  readonly tty: string;
  readonly startTimeNs: bigint;
}

/** Reads processes with one reused buffer: not to be shared between threads. */
export class ProcessReader {
  readonly #buffer = Buffer.allocUnsafeSlow(ARGUMENTS_BYTES_MAX);

  /** Everything about one process; undefined when it is gone. A zombie has no arguments and paths. */
  snapshot(pid: number): ReadProcess | undefined {
    const length = COMMAND_LINES.read(pid, this.#buffer) ?? 0;
    const { args, truncated } = splitArguments(this.#buffer.subarray(0, length));
    const stat = this.#stat(pid);
    if (stat === undefined) return undefined;
    const executable = isAlive(stat) ? readProcLink(pid, 'exe') : undefined;
    return {
      ...this.#changeable(pid, stat),
      executablePath: executable && cut(executable.target.toString()),
      executableDeleted: executable?.deleted || undefined,
      args: args.length > 0 ? args : undefined,
      argsTruncated: truncated || undefined,
    };
  }

  /** What may change while a program runs; undefined when the process has ended. */
  look(pid: number): ReadProcess | undefined {
    const stat = this.#stat(pid);
    return stat && isAlive(stat) ? this.#changeable(pid, stat) : undefined;
  }

  #changeable(pid: number, stat: ProcessStat): ReadProcess {
    const { parentPid, comm, tty, startTimeNs } = stat;
    return {
      ...{ pid, parentPid, comm, tty, startTimeNs },
      workingDirectory: isAlive(stat) ? workingDirectory(pid) : undefined,
      // The directory belongs to the effective user, whether or not the process may be dumped.
      uid: statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid,
      loginUid: loginUidOf(this.#read(`/proc/${pid}/loginuid`)),
      // Of one that has ended the kernel says the roots.
      ...(isAlive(stat) && cgroupOf(this.#read(`/proc/${pid}/cgroup`)?.toString() ?? '')),
    };
  }

  /** `pid (comm) state ppid pgrp session tty_nr ... starttime ...`, where comm may hold anything, brackets too. */
  #stat(pid: number): ProcessStat | undefined {
    const text = this.#read(`/proc/${pid}/stat`)?.toString() ?? '';
    const open = text.indexOf('(');
    const close = text.lastIndexOf(')');
    if (open < 0 || close < open) return undefined;
    const fields = text.slice(close + 2).split(' ');
    const ticks = fields[19];
    if (ticks === undefined || !/^\d+$/.test(ticks)) return undefined;
    const comm = text.slice(open + 1, close);
    const [state = '', parentPid, , , tty] = fields;
    const startTimeNs = BigInt(ticks) * TICK_NS;
    return { comm, state, parentPid: Number(parentPid), tty: ttyName(Number(tty)), startTimeNs };
  }

  /** All processes, one at a time; `threads` are their other tasks, TASKS_MAX in all. */
  *scan(): Generator<ReadProcess> {
    let tasks = 0;
    for (const pid of pids('/proc')) {
      if (tasks++ >= TASKS_MAX) return;
      const process = this.snapshot(pid);
      if (process === undefined) continue;
      const threads = pids(`/proc/${pid}/task`)
        .filter((thread) => thread !== pid)
        .slice(0, TASKS_MAX - tasks);
      tasks += threads.length;
      yield { ...process, threads };
    }
  }

  /** The beginning of a file, valid until the next call; undefined when the file or its process is gone. */
  #read(path: string): Buffer | undefined {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch {
      return undefined;
    }
    try {
      return this.#buffer.subarray(0, readSync(fd, this.#buffer, 0, this.#buffer.length, null));
    } catch {
      return undefined;
    } finally {
      closeSync(fd);
    }
  }
}

function isAlive({ state }: ProcessStat): boolean {
  return state !== 'Z' && state !== 'X';
}

/** `loginuid`: a number; undefined where the kernel has none. */
function loginUidOf(bytes: Buffer | undefined): number | undefined {
  const text = bytes?.toString() ?? '';
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

/** The numbers among a directory's entries. */
export function pids(dir: string): number[] {
  try {
    return readdirSync(dir)
      .filter((name) => name.charCodeAt(0) < COLON)
      .map(Number);
  } catch {
    return [];
  }
}

function workingDirectory(pid: number): string | undefined {
  const link = readProcLink(pid, 'cwd');
  return link && cut(link.target.toString());
}

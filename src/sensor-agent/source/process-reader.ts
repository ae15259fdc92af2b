/**
 * Processes as /proc shows them. Used at once after an exec (arguments first:
 * the process may live for half a millisecond) and for the scan at start.
 * Imports nothing heavy, because every exec lane worker loads it.
 */
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX, EVENT_STRING_BYTES_MAX, TASKS_MAX } from '../../limits.js';
import type { ProcessSnapshot } from './source.js';

/** stat counts time in these: USER_HZ is 100 on every Linux. */
const TICK_NS = 10_000_000n;

const DELETED = ' (deleted)';
const COLON = 58;

interface ProcessStat {
  readonly comm: string;
  readonly state: string;
  readonly parentPid: number;
  readonly startTimeNs: bigint;
}

/** Reads processes with one reused buffer: not to be shared between threads. */
export class ProcessReader {
  readonly #buffer = Buffer.allocUnsafeSlow(ARGUMENTS_BYTES_MAX);

  /** Everything about one process; undefined when it is gone. A zombie has no arguments and paths. */
  snapshot(pid: number): ProcessSnapshot | undefined {
    const args = this.arguments(pid);
    const stat = this.stat(pid);
    if (stat === undefined) return undefined;
    const cgroup = this.cgroup(pid);
    const alive = stat.state !== 'Z' && stat.state !== 'X';
    return {
      pid,
      parentPid: stat.parentPid,
      comm: stat.comm,
      executablePath: alive ? link(`/proc/${pid}/exe`) : undefined,
      args: args !== undefined && args.length > 0 ? args : undefined,
      workingDirectory: alive ? link(`/proc/${pid}/cwd`) : undefined,
      uid: this.uid(pid),
      cgroup,
      containerId: cgroup === undefined ? undefined : containerId(cgroup),
      startTimeNs: stat.startTimeNs,
    };
  }

  /** Empty for zombies and kernel threads; undefined when there is no such process. */
  arguments(pid: number): string[] | undefined {
    const length = this.#read(`/proc/${pid}/cmdline`);
    if (length < 0) return undefined;
    const args: string[] = [];
    for (let at = 0; at < length && args.length < ARGUMENTS_MAX; ) {
      const nul = this.#buffer.indexOf(0, at);
      const end = nul < 0 || nul > length ? length : nul;
      args.push(this.#buffer.toString('utf8', at, end));
      at = end + 1;
    }
    return args;
  }

  /** `pid (comm) state ppid ... starttime ...`, where comm may hold anything, brackets too. */
  stat(pid: number): ProcessStat | undefined {
    const length = this.#read(`/proc/${pid}/stat`);
    const text = this.#buffer.toString('utf8', 0, Math.max(0, length));
    const open = text.indexOf('(');
    const close = text.lastIndexOf(')');
    if (open < 0 || close < open) return undefined;
    const fields = text.slice(close + 2).split(' ');
    const ticks = fields[19];
    if (ticks === undefined || !/^\d+$/.test(ticks)) return undefined;
    const comm = text.slice(open + 1, close);
    return { comm, state: fields[0]!, parentPid: Number(fields[1]), startTimeNs: BigInt(ticks) * TICK_NS };
  }

  /** The effective user. */
  uid(pid: number): number | undefined {
    const length = this.#read(`/proc/${pid}/status`);
    if (length < 0) return undefined;
    const at = this.#buffer.subarray(0, length).indexOf('\nUid:\t');
    if (at < 0) return undefined;
    const ids = this.#buffer
      .toString('latin1', at + 6, at + 60)
      .split('\n', 1)[0]!
      .split('\t');
    return Number(ids[1]);
  }

  cgroup(pid: number): string | undefined {
    const length = this.#read(`/proc/${pid}/cgroup`);
    if (length < 0) return undefined;
    let best: string | undefined;
    for (const line of this.#buffer.toString('utf8', 0, length).split('\n')) {
      const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1);
      if (path === '') continue;
      if (line.startsWith('0::') && path !== '/') return cut(path);
      if (best === undefined || path.length > best.length) best = path;
    }
    return best === undefined ? undefined : cut(best);
  }

  /** All processes, one at a time; `threads` are their other tasks, TASKS_MAX in all. */
  *scan(): Generator<ProcessSnapshot> {
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

  /** Fills the buffer; the bytes read, -1 when the file or its process is gone. */
  #read(path: string): number {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch {
      return -1;
    }
    try {
      return readSync(fd, this.#buffer, 0, this.#buffer.length, null);
    } catch {
      return -1;
    } finally {
      closeSync(fd);
    }
  }
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

/**
 * The container in a cgroup path: the last 64 hex digits, as docker, containerd,
 * cri-o, podman and Kubernetes write them (`docker-ID.scope`, `/kubepods/.../ID`).
 * conmon, which watches a container from outside, is not in it.
 */
export function containerId(cgroup: string): string | undefined {
  let found: string | undefined;
  for (const match of cgroup.matchAll(/(?<![0-9a-f])(conmon-)?([0-9a-f]{64})(?![0-9a-f])/g)) {
    if (match[1] === undefined) found = match[2];
  }
  return found;
}

function link(path: string): string | undefined {
  try {
    const target = cut(readlinkSync(path));
    return target.endsWith(DELETED) ? target.slice(0, -DELETED.length) : target;
  } catch {
    return undefined;
  }
}

/** At most EVENT_STRING_BYTES_MAX bytes of UTF-8. */
function cut(text: string): string {
  if (text.length * 3 <= EVENT_STRING_BYTES_MAX || Buffer.byteLength(text) <= EVENT_STRING_BYTES_MAX) return text;
  return Buffer.from(text).toString('utf8', 0, EVENT_STRING_BYTES_MAX);
}

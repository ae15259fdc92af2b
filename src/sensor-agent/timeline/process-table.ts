/**
 * Keeps process context by thread id, following fork, exec, rename and exit in
 * position order. It depends only on what was recorded, so that live and replay
 * give an event the same context.
 */
import { LRUCache } from 'lru-cache';
import { ANCESTORS_MAX, TASKS_BYTES_MAX, TASKS_MAX } from '../../limits.js';
import type { ExecutableContext, ParentContext, ProcessContext } from '../../wire/event/event.js';
import type { ProcessSnapshot } from '../source/source.js';
import type { NamedContext } from './timeline-sink.js';

/** Number of later exits for which an ended process is remembered, as its sockets and signals still name it. */
const EXITED_MAX = 1024;
/** Largest difference between a process's start times from a trace event and from /proc. */
const CREATION_TOLERANCE_NS = 100_000_000n;

/** One process. Mutable; replaced as a whole on fork. Strings are already redacted. */
export interface ProcessState {
  pid: number;
  parentPid?: number | undefined;
  comm?: string | undefined;
  path?: string | undefined;
  /** Nothing led to the executable any more. */
  deleted?: boolean | undefined;
  args?: readonly string[] | undefined;
  argsMissed?: boolean | undefined;
  argsTruncated?: boolean | undefined;
  redactions?: number | undefined;
  cwd?: string | undefined;
  uid?: number | undefined;
  cgroup?: string | undefined;
  containerId?: string | undefined;
  createdWallNs?: bigint | undefined;
  /** One of Backplane's own. */
  self?: boolean | undefined;
  exited?: boolean | undefined;
  /** As wait() has it, once the first thread has ended. */
  exitStatus?: number | undefined;
  /** When all threads were told to end, compared with the first one's end. */
  groupEnds?: 'with the first' | 'behind the first' | undefined;
}

function executable({ path, deleted }: ProcessState): ExecutableContext | undefined {
  return path ? { path, name: path.slice(path.lastIndexOf('/') + 1), deleted } : undefined;
}

/** A snapshot whose secrets have been masked, as the recorder stores it. */
export interface RecordedProcess extends ProcessSnapshot {
  readonly redactions?: number | undefined;
}

export interface ProcessTableState {
  readonly processes: readonly ProcessState[];
  /** Thread id, index into processes; for every task. */
  readonly tasks: readonly (readonly [number, number])[];
  readonly exited: readonly number[];
}

export class ProcessTable {
  #tasks = new LRUCache<number, ProcessState>({
    max: TASKS_MAX,
    maxSize: TASKS_BYTES_MAX,
    sizeCalculation: processBytes,
  });
  #exited: number[] = [];

  get size(): number {
    return this.#tasks.size;
  }

  /** The process that a thread belongs to; undefined when it was never seen. */
  of(threadId: number): ProcessState | undefined {
    return this.#tasks.get(threadId);
  }

  /** The process that the parent's pid stands for, where it was seen. */
  parentOf({ parentPid }: ProcessState): ProcessState | undefined {
    return parentPid === undefined ? undefined : this.#tasks.peek(parentPid);
  }

  /** The process context that an event carries; `named` where somebody names what is found only then. */
  context(process: ProcessState, threadId: number | undefined, named: NamedContext | undefined): ProcessContext {
    const { uid } = process;
    return {
      pid: process.pid,
      parentPid: process.parentPid,
      comm: process.comm,
      executable: executable(process),
      parent: this.#parentContext(process, named),
      ancestors: named && this.#ancestorsOf(process),
      commandArgs: process.args,
      commandArgsMissed: process.argsMissed,
      commandArgsTruncated: process.argsTruncated,
      redactions: process.redactions,
      workingDirectory: process.cwd,
      user: uid === undefined ? undefined : { id: uid, name: named?.userName(uid) },
      creationTimeNs: process.createdWallNs,
      cgroup: process.cgroup ? { path: process.cgroup } : undefined,
      threadId: threadId === process.pid ? undefined : threadId,
    };
  }

  /**
   * Not only where its program is known: whether a process is that has nothing but a pid depends on who asked for what
   * before.
   */
  #parentContext(process: ProcessState, named: NamedContext | undefined): ParentContext | undefined {
    if (!process.parentPid) return undefined;
    const parent = this.parentOf(process);
    const known = { pid: process.parentPid, executable: parent && executable(parent) };
    return named ? { ...known, commandArgs: parent?.args, creationTimeNs: parent?.createdWallNs } : known;
  }

  /** Names of the programs above a process, as far as they were seen. */
  #ancestorsOf(process: ProcessState): string[] {
    const names: string[] = [];
    const seen = new Set([process.pid]);
    for (let above = this.parentOf(process); above && !seen.has(above.pid); above = this.parentOf(above)) {
      seen.add(above.pid);
      const name = executable(above)?.name ?? above.comm;
      if (name === undefined || names.push(name) === ANCESTORS_MAX) break;
    }
    return names;
  }

  /** The process of a thread; for an unknown thread, a new one that has nothing but its pid. */
  ensure(threadId: number): ProcessState {
    const known = this.#tasks.get(threadId);
    if (known) return known;
    const made: ProcessState = { pid: threadId };
    this.#tasks.set(threadId, made);
    return made;
  }

  addThread(threadId: number, process: ProcessState): void {
    this.#tasks.set(threadId, process);
  }

  /** A new process inherits everything but its identity. */
  fork(childPid: number, parent: ProcessState, parentPid: number, comm: string, wallNs: bigint): ProcessState {
    const child: ProcessState = { ...parent, pid: childPid, parentPid, comm, createdWallNs: wallNs, exited: undefined };
    child.exitStatus = undefined;
    child.groupEnds = undefined;
    this.#tasks.set(childPid, child);
    return child;
  }

  /**
   * Adds what a scan of /proc found and the recording lacks: a process whose fork or exec was lost, a process that has
   * the pid of another whose exit was lost, and details that were not read of a known process.
   */
  adopt(snapshot: RecordedProcess, createdWallNs: bigint | undefined): void {
    const known = this.#tasks.get(snapshot.pid);
    const seen = stateOf(snapshot, createdWallNs);
    const process = known && isSame(known, seen) ? completed(known, seen) : seen;
    this.#tasks.set(snapshot.pid, process);
    for (const thread of snapshot.threads ?? []) {
      const owner = this.#tasks.get(thread);
      if (owner === undefined || owner === known || owner.pid !== snapshot.pid) this.#tasks.set(thread, process);
    }
  }

  /** Replaces the state instead of changing it, so that a socket keeps the state of the process that opened it. */
  exec(pid: number, path: string, read: RecordedProcess | undefined): ProcessState {
    const before = this.#tasks.get(pid);
    const process: ProcessState = {
      ...before,
      pid,
      path: read?.executablePath || path,
      deleted: read?.executableDeleted,
      args: read?.args,
      argsMissed: read?.args === undefined,
      argsTruncated: read?.argsTruncated,
      redactions: read?.redactions,
      exitStatus: undefined,
      groupEnds: undefined,
    };
    if (read) {
      process.parentPid = this.#parentOf(process, read);
      process.comm ??= read.comm;
      process.cwd = read.workingDirectory ?? process.cwd;
      process.uid = read.uid ?? process.uid;
      if (read.cgroup !== undefined) {
        process.cgroup = read.cgroup;
        process.containerId = read.containerId;
      }
    }
    this.#tasks.set(pid, process);
    return process;
  }

  /**
   * The parent at an exec: the one that forked it while that lives, else who /proc says has taken it in. What /proc says
   * is of a moment later: a parent that ended since was the parent at the exec all the same.
   */
  #parentOf({ parentPid, createdWallNs }: ProcessState, read: RecordedProcess): number | undefined {
    if (parentPid === undefined || read.parentPid === parentPid) return read.parentPid ?? parentPid;
    const parent = this.#tasks.peek(parentPid);
    const isOther = (parent?.createdWallNs ?? 0n) > (createdWallNs ?? 0n);
    if (parent === undefined) return read.parentPid ?? parentPid;
    return parent.exited || isOther ? read.parentPid : parentPid;
  }

  /** Living processes that a process forked. */
  childrenOf(pid: number): ProcessState[] {
    const children = new Set<ProcessState>();
    for (const process of this.#tasks.values())
      if (process.parentPid === pid && !process.exited && process.pid !== pid) children.add(process);
    return [...children];
  }

  /** A thread ended; `last` when its process ended with it. */
  exit(threadId: number, process: ProcessState, last: boolean): void {
    if (!last) {
      if (threadId !== process.pid) this.#tasks.delete(threadId);
      return;
    }
    process.exited = true;
    this.#exited.push(threadId);
    if (threadId !== process.pid) this.#exited.push(process.pid);
    while (this.#exited.length > EXITED_MAX) this.#forget(this.#exited.shift()!);
  }

  /** Forgets an ended process. A pid that was used again since has a new, living state and stays. */
  #forget(threadId: number): void {
    if (this.#tasks.peek(threadId)?.exited) this.#tasks.delete(threadId);
  }

  clear(): void {
    this.#tasks.clear();
    this.#exited = [];
  }

  save(): ProcessTableState {
    const index = new Map<ProcessState, number>();
    const processes: ProcessState[] = [];
    const tasks: [number, number][] = [];
    for (const [threadId, process] of this.#tasks.rentries() as Iterable<[number, ProcessState]>) {
      let at = index.get(process);
      if (at === undefined) {
        at = processes.push(process) - 1;
        index.set(process, at);
      }
      tasks.push([threadId, at]);
    }
    return { processes, tasks, exited: [...this.#exited] };
  }

  load(state: ProcessTableState): ProcessState[] {
    this.clear();
    const processes = state.processes.map((process) => ({ ...process }));
    for (const [threadId, at] of state.tasks) this.#tasks.set(threadId, processes[at]!);
    this.#exited = [...state.exited];
    return processes;
  }
}

function stateOf(snapshot: RecordedProcess, createdWallNs: bigint | undefined): ProcessState {
  return {
    pid: snapshot.pid,
    parentPid: snapshot.parentPid,
    comm: snapshot.comm,
    path: snapshot.executablePath,
    deleted: snapshot.executableDeleted,
    args: snapshot.args,
    argsTruncated: snapshot.argsTruncated,
    redactions: snapshot.redactions,
    cwd: snapshot.workingDirectory,
    uid: snapshot.uid,
    cgroup: snapshot.cgroup,
    containerId: snapshot.containerId,
    createdWallNs,
  };
}

/**
 * Whether a pid is still the process that the recording knows, by its start time, which /proc gives in steps of 10 ms.
 */
function isSame(known: ProcessState, seen: ProcessState): boolean {
  if (known.exited) return false;
  if (known.createdWallNs === undefined || seen.createdWallNs === undefined) return true;
  const apartNs = known.createdWallNs - seen.createdWallNs;
  return apartNs < CREATION_TOLERANCE_NS && apartNs > -CREATION_TOLERANCE_NS;
}

/**
 * Merges the known state with the one seen in /proc; if another program runs in the process by now, with that program's
 * details.
 */
function completed(known: ProcessState, seen: ProcessState): ProcessState {
  // /proc shows nothing of a zombie but its name.
  const program = seen.path === undefined || seen.path === known.path ? known : seen;
  const read = program.args === undefined ? seen : program;
  return {
    ...known,
    parentPid: known.parentPid ?? seen.parentPid,
    comm: program.comm ?? seen.comm,
    path: program.path ?? seen.path,
    deleted: program.path === undefined ? seen.deleted : program.deleted,
    args: read.args,
    argsMissed: read.args === undefined ? known.argsMissed : undefined,
    argsTruncated: read.argsTruncated,
    redactions: read.redactions,
    cwd: program.cwd ?? seen.cwd,
    uid: program.uid ?? seen.uid,
    cgroup: program.cgroup ?? seen.cgroup,
    containerId: program.containerId ?? seen.containerId,
    createdWallNs: known.createdWallNs ?? seen.createdWallNs,
  };
}

/** Estimate of what a state costs in memory and in a checkpoint. */
export function processBytes(process: ProcessState): number {
  let bytes = 256 + (process.cgroup?.length ?? 0) + (process.cwd?.length ?? 0) + (process.path?.length ?? 0);
  for (const argument of process.args ?? []) bytes += argument.length + 16;
  return bytes;
}

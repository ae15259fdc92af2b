/**
 * Keeps process context by thread id, following fork, exec, rename and exit in
 * position order. It depends only on what was recorded, so that live and replay
 * give an event the same context.
 */
import { ANCESTORS_MAX, EXECUTABLES_MAX, TASKS_BYTES_MAX, TASKS_MAX } from '../../limits.js';
import type { ExecutableContext, ParentContext, ProcessContext } from '../../wire/event/event.js';
import { cgroupMoved, type KnownCgroup, withoutUnified } from '../source/cgroups.js';
import { type ClockPair, LOGIN_UID_UNSET } from '../source/source.js';
import { BoundedMap, RecentMap } from './bounded-map.js';
import {
  completed,
  Inferred,
  inferredFields,
  isSame,
  mark,
  type ProcessState,
  placeIn,
  processBytes,
  type RecordedProcess,
  stateOf,
  takeRead,
} from './process-state.js';
import type { NamedContext } from './timeline-sink.js';

/** Number of later exits for which an ended process is remembered, as its sockets and signals still name it. */
const EXITED_MAX = 1024;

/** What the kernel tells as it happens, so that it need not be looked up. */
export interface Follows {
  readonly users: boolean;
  readonly cgroups: boolean;
}

function executableAt(path: string, deleted: boolean | undefined): ExecutableContext {
  return { path, name: path.slice(path.lastIndexOf('/') + 1), deleted };
}

function userOf(id: number, named: NamedContext | undefined) {
  return { id, name: named?.userName(id) };
}

export interface ProcessTableState {
  readonly processes: readonly ProcessState[];
  /** Thread id, index into processes; for every task. */
  readonly tasks: readonly (readonly [number, number])[];
  readonly exited: readonly number[];
}

export class ProcessTable {
  #tasks = new RecentMap<ProcessState>(TASKS_MAX, TASKS_BYTES_MAX, processBytes);
  #exited: number[] = [];
  /** By path: the same programs run again and again, and each event names two. */
  readonly #executables = new BoundedMap<string, ExecutableContext>(EXECUTABLES_MAX);
  follows: Follows = { users: false, cgroups: false };
  /** Pids that forked or started a program; undefined when nobody looks at them again. */
  started: number[] | undefined;

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
    const { uid, loginUid, tty } = process;
    return {
      pid: process.pid,
      parentPid: process.parentPid,
      comm: process.comm,
      executable: this.#executable(process),
      parent: this.#parentContext(process, named),
      ancestors: named && this.#ancestorsOf(process),
      commandArgs: process.args,
      commandArgsMissed: process.argsMissed,
      commandArgsTruncated: process.argsTruncated,
      redactions: process.redactions,
      workingDirectory: process.cwd,
      user: uid === undefined ? undefined : userOf(uid, named),
      loginUser: !named || loginUid === undefined || loginUid === LOGIN_UID_UNSET ? undefined : userOf(loginUid, named),
      tty: named && tty,
      inferred: inferredFields(process),
      creationTimeNs: process.createdWallNs,
      cgroup: process.cgroup ? { path: process.cgroup } : undefined,
      threadId: threadId === process.pid ? undefined : threadId,
    };
  }

  #executable({ path, deleted }: ProcessState): ExecutableContext | undefined {
    if (!path) return undefined;
    if (deleted) return executableAt(path, deleted);
    let known = this.#executables.get(path);
    if (known === undefined) {
      known = executableAt(path, deleted);
      this.#executables.set(path, known);
    }
    return known;
  }

  /**
   * Not only where its program is known: whether a process is that has nothing but a pid depends on who asked for what
   * before.
   */
  #parentContext(process: ProcessState, named: NamedContext | undefined): ParentContext | undefined {
    if (!process.parentPid) return undefined;
    const parent = this.parentOf(process);
    const known = { pid: process.parentPid, executable: parent && this.#executable(parent) };
    return named ? { ...known, commandArgs: parent?.args, creationTimeNs: parent?.createdWallNs } : known;
  }

  /** Names of the programs above a process, as far as they were seen. */
  #ancestorsOf(process: ProcessState): string[] {
    const names: string[] = [];
    const seen = new Set([process.pid]);
    for (let above = this.parentOf(process); above && !seen.has(above.pid); above = this.parentOf(above)) {
      seen.add(above.pid);
      const name = this.#executable(above)?.name ?? above.comm;
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

  /** A new process inherits everything but its identity. `placed`: it begins in another cgroup, which is not told. */
  fork(childPid: number, parent: ProcessState, parentPid: number, comm: string, wallNs: bigint, placed = false) {
    const child: ProcessState = { ...parent, pid: childPid, parentPid, comm, createdWallNs: wallNs, exited: undefined };
    child.exitStatus = undefined;
    child.groupEnds = undefined;
    child.uidTold = undefined;
    mark(child, Inferred.WORKING_DIRECTORY, true);
    if (!this.follows.users) mark(child, Inferred.USER, true);
    if (placed) placeIn(child, withoutUnified(child) ?? NO_CGROUP);
    if (!this.follows.cgroups || placed) mark(child, Inferred.CGROUP, true);
    this.#tasks.set(childPid, child);
    return child;
  }

  /** The effective user of a process is another from here on. */
  userChanged(process: ProcessState, uid: number): void {
    process.uid = uid;
    process.uidTold = true;
    mark(process, Inferred.USER, false);
  }

  /** A process was moved within one hierarchy of cgroups. */
  moved(process: ProcessState, hierarchy: number, path: string): void {
    placeIn(process, cgroupMoved(process, hierarchy, path));
    this.#resized(process);
  }

  /** Takes what was read of a process in /proc: see RecordedSnapshot. */
  seen(snapshot: RecordedProcess, { wallNs, bootNs }: ClockPair, again: boolean): void {
    const { startTimeNs } = snapshot;
    const createdWallNs = startTimeNs === undefined ? undefined : wallNs + (startTimeNs - bootNs);
    if (again) this.readAgain(snapshot, createdWallNs);
    else this.adopt(snapshot, createdWallNs);
  }

  /**
   * Adds what a scan of /proc found and the recording lacks: a process whose fork or exec was lost, a process that has
   * the pid of another whose exit was lost, and details that were not read of a known process.
   */
  adopt(snapshot: RecordedProcess, createdWallNs: bigint | undefined): void {
    const known = this.#tasks.get(snapshot.pid);
    const seen = stateOf(snapshot, createdWallNs);
    const process = known && isSame(known, seen) ? completed(known, seen, this.#parentOf(known, snapshot)) : seen;
    this.#tasks.set(snapshot.pid, process);
    for (const thread of snapshot.threads ?? []) {
      const owner = this.#tasks.get(thread);
      if (owner === undefined || owner === known || owner.pid !== snapshot.pid) this.#tasks.set(thread, process);
    }
  }

  /**
   * Adds what was read of a process, and not of another that has its pid by now. Who recorded it knew the process; a
   * replay that does not yet, because nobody asked for what showed it, does from here on.
   */
  readAgain(snapshot: RecordedProcess, createdWallNs: bigint | undefined): void {
    const known = this.#tasks.peek(snapshot.pid) ?? this.ensure(snapshot.pid);
    const seen = stateOf(snapshot, createdWallNs);
    if (!isSame(known, seen)) return;
    takeRead(known, seen);
    known.parentPid = this.#parentOf(known, snapshot);
    this.#resized(known);
  }

  /** Its size is noted only when it is set. */
  #resized(process: ProcessState): void {
    if (this.#tasks.peek(process.pid) !== process) return;
    this.#tasks.delete(process.pid);
    this.#tasks.set(process.pid, process);
  }

  /** Replaces the state instead of changing it, so that a socket keeps the state of the process that opened it. */
  exec(pid: number, path: string, read: RecordedProcess | undefined): ProcessState {
    const before = this.#tasks.get(pid);
    let inferred = (before?.inferred ?? 0) | Inferred.WORKING_DIRECTORY;
    if (!before?.uidTold) inferred |= Inferred.USER;
    if (!this.follows.cgroups) inferred |= Inferred.CGROUP;
    if (!read?.executablePath || read.executableAsGiven === true) inferred |= Inferred.EXECUTABLE;
    else inferred &= ~Inferred.EXECUTABLE;
    // Written out and not copied: a busy machine makes thousands a second, and then all have one hidden class.
    const process: ProcessState = {
      pid,
      parentPid: before?.parentPid,
      comm: before?.comm,
      path: startedFile(read?.executablePath || path, before),
      deleted: read?.executableDeleted,
      args: read?.args,
      argsMissed: read?.args === undefined,
      argsTruncated: read?.argsTruncated,
      redactions: read?.redactions,
      cwd: before?.cwd,
      uid: before?.uid,
      uidTold: undefined,
      inferred: inferred === 0 ? undefined : inferred,
      loginUid: before?.loginUid,
      tty: before?.tty,
      cgroup: before?.cgroup,
      containerId: before?.containerId,
      cgroups: before?.cgroups,
      createdWallNs: before?.createdWallNs,
      self: before?.self,
      exited: before?.exited,
      exitStatus: undefined,
      groupEnds: undefined,
    };
    if (read) {
      process.parentPid = this.#parentOf(process, read);
      process.comm ??= read.comm;
      takeRead(process, {
        cwd: read.workingDirectory,
        // What /proc says is of a moment later: a program that was started as root may be somebody else by then.
        uid: before?.uidTold ? undefined : read.uid,
        loginUid: read.loginUid,
        tty: read.tty,
        cgroup: read.cgroup,
        containerId: read.containerId,
        cgroups: read.cgroups,
      });
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
    for (const [threadId, process] of this.#tasks.oldestFirst()) {
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

/** Where nothing is known of it. */
const NO_CGROUP: KnownCgroup = {};
const OWN_PROGRAM = /^\/proc\/(self|thread-self|\d+)\/exe$/;

/** The path that execve was given may stand for the program that calls it. */
function startedFile(path: string, before: ProcessState | undefined): string {
  const own = OWN_PROGRAM.exec(path);
  if (own === null || before?.path === undefined) return path;
  return /\d/.test(own[1]!) && Number(own[1]) !== before.pid ? path : before.path;
}

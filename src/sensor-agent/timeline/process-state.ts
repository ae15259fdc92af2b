/** One process of the process table, and what is read of it. */
import type { KnownCgroup } from '../source/cgroups.js';
import type { ProcessSnapshot } from '../source/source.js';

/** Largest difference between a process's start times from a trace event and from /proc. */
const CREATION_TOLERANCE_NS = 100_000_000n;

/**
 * Values that nobody read of the process itself: they are those of the process that forked it, which may have changed
 * since, or, of the executable, what execve was given. A bit each, in the order of INFERRED_FIELDS.
 */
export const Inferred = { WORKING_DIRECTORY: 1, USER: 2, CGROUP: 4, EXECUTABLE: 8 } as const;
const INFERRED_FIELDS = ['working_directory', 'user', 'cgroup', 'executable'] as const;

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
  /** The kernel has told the user since the last exec, and what /proc says a moment after that may be later. */
  uidTold?: boolean | undefined;
  /** Of Inferred; absent: none. */
  inferred?: number | undefined;
  loginUid?: number | undefined;
  tty?: string | undefined;
  cgroup?: string | undefined;
  containerId?: string | undefined;
  cgroups?: ProcessSnapshot['cgroups'];
  createdWallNs?: bigint | undefined;
  /** One of Backplane's own. */
  self?: boolean | undefined;
  exited?: boolean | undefined;
  /** As wait() has it, once the first thread has ended. */
  exitStatus?: number | undefined;
  /** When all threads were told to end, compared with the first one's end. */
  groupEnds?: 'with the first' | 'behind the first' | undefined;
}

/** A snapshot whose secrets have been masked, as the recorder stores it. */
export interface RecordedProcess extends ProcessSnapshot {
  readonly redactions?: number | undefined;
}

/** By the bits of Inferred. */
const INFERRED_NAMES: readonly (readonly string[])[] = Array.from({ length: 1 << INFERRED_FIELDS.length }, (_, bits) =>
  INFERRED_FIELDS.filter((_name, at) => (bits & (1 << at)) !== 0),
);

/** Names of the fields that are inferred, of those that are there; undefined: none. */
export function inferredFields({ inferred = 0, cwd, uid, cgroup, path }: ProcessState): readonly string[] | undefined {
  let bits = inferred;
  if (cwd === undefined) bits &= ~Inferred.WORKING_DIRECTORY;
  if (uid === undefined) bits &= ~Inferred.USER;
  if (cgroup === undefined) bits &= ~Inferred.CGROUP;
  if (path === undefined) bits &= ~Inferred.EXECUTABLE;
  return bits === 0 ? undefined : INFERRED_NAMES[bits];
}

export function stateOf(snapshot: RecordedProcess, createdWallNs: bigint | undefined): ProcessState {
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
    loginUid: snapshot.loginUid,
    tty: snapshot.tty,
    cgroup: snapshot.cgroup,
    containerId: snapshot.containerId,
    cgroups: snapshot.cgroups,
    createdWallNs,
  };
}

/**
 * Whether a pid is still the process that the recording knows, by its start time, which /proc gives in steps of 10 ms.
 */
export function isSame(known: ProcessState, seen: ProcessState): boolean {
  if (known.exited) return false;
  if (known.createdWallNs === undefined || seen.createdWallNs === undefined) return true;
  const apartNs = known.createdWallNs - seen.createdWallNs;
  return apartNs < CREATION_TOLERANCE_NS && apartNs > -CREATION_TOLERANCE_NS;
}

/**
 * Merges the known state with the one seen in /proc; if another program runs in the process by now, with that program's
 * details. What may change while a program runs is as it was seen.
 */
export function completed(known: ProcessState, seen: ProcessState, parentPid: number | undefined): ProcessState {
  // /proc shows nothing of a zombie but its name.
  const program = seen.path === undefined || seen.path === known.path ? known : seen;
  const read = program.args === undefined ? seen : program;
  const merged: ProcessState = {
    ...known,
    parentPid,
    comm: program.comm ?? seen.comm,
    path: program.path ?? seen.path,
    deleted: program.path === undefined ? seen.deleted : program.deleted,
    args: read.args,
    argsMissed: read.args === undefined ? known.argsMissed : undefined,
    argsTruncated: read.argsTruncated,
    redactions: read.redactions,
    createdWallNs: known.createdWallNs ?? seen.createdWallNs,
  };
  takeRead(merged, seen);
  if (seen.path !== undefined) mark(merged, Inferred.EXECUTABLE, false);
  return merged;
}

type Changeable = Pick<ProcessState, 'cwd' | 'uid' | 'loginUid' | 'tty'> & KnownCgroup;

/** Takes what was read of a process itself; the rest stays as it was, and inferred where it was that. */
export function takeRead(process: ProcessState, seen: Changeable): void {
  process.loginUid = seen.loginUid ?? process.loginUid;
  process.tty = seen.tty ?? process.tty;
  if (seen.cwd !== undefined) {
    process.cwd = seen.cwd;
    mark(process, Inferred.WORKING_DIRECTORY, false);
  }
  if (seen.uid !== undefined) {
    process.uid = seen.uid;
    mark(process, Inferred.USER, false);
  }
  if (seen.cgroup !== undefined) placeIn(process, seen);
}

/** Sets where a process is among the cgroups. */
export function placeIn(process: ProcessState, place: KnownCgroup): void {
  process.cgroup = place.cgroup;
  process.containerId = place.containerId;
  process.cgroups = place.cgroups;
  mark(process, Inferred.CGROUP, false);
}

export function mark(process: ProcessState, value: number, isInferred: boolean): void {
  const { inferred = 0 } = process;
  const marked = isInferred ? inferred | value : inferred & ~value;
  process.inferred = marked === 0 ? undefined : marked;
}

/** Estimate of what a state costs in memory and in a checkpoint. */
export function processBytes(process: ProcessState): number {
  let bytes = 256 + (process.cgroup?.length ?? 0) + (process.cwd?.length ?? 0) + (process.path?.length ?? 0);
  for (const argument of process.args ?? []) bytes += argument.length + 16;
  for (const [path] of process.cgroups ?? []) bytes += path.length + 32;
  return bytes;
}

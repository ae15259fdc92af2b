/**
 * Turns what was read of an exec into its record. The process may have ended
 * or have started another program since: then /proc described something else
 * than what was started, and the record says `missed`.
 */

import { fstatSync } from 'node:fs';
import { cgroupOf } from '../cgroups.js';
import { atLink, atName } from '../places.js';
import type { ExecStack } from '../probe/exec-stack.js';
import { cut, splitArguments, ttyName } from '../process-text.js';
import type { ExecRecord, ProcessSnapshot } from '../source.js';
import type { ExecEntry, ExecEvent } from './exec-entry.js';

/**
 * Returns exactly one record, even if nothing could be read.
 * @param mayBeLater whether what /proc said may be of a later program of the process, that nobody has seen yet
 */
export function execRecord(entry: ExecEntry, mayBeLater = true): ExecRecord {
  const { lane, timeNs, pid, filename } = entry;
  const found = snapshotOf(entry);
  const missed = entry.superseded || found.args === undefined || (mayBeLater && !runs(found, filename));
  if (!missed) return { lane, timeNs, pid, missed, process: found };
  // The process runs another program by now, or none: user, cgroup and directory still hold, the rest comes from the
  // event.
  const { args, executablePath, executableAsGiven } = found;
  const isOther = entry.superseded || args !== undefined;
  const path = isOther ? givenPath(filename) : { executablePath, executableAsGiven };
  return { lane, timeNs, pid, missed, process: { ...beside(found), uid: found.uid, ...path } };
}

/**
 * The record of an exec whose arguments the kernel copied: they are what the program got, whatever it does by now.
 * @param entry what /proc said some time after the exec; `superseded` where that is known to be of a later program
 */
export function copiedRecord(entry: ExecEntry, stack: ExecStack): ExecRecord {
  const { lane, timeNs, pid, filename } = entry;
  const { args: foundArgs, argsTruncated, ...found } = snapshotOf(entry);
  const continues = !entry.superseded && foundArgs !== undefined && begins(foundArgs, stack);
  const [args, truncated] = continues && stack.truncated ? [foundArgs, argsTruncated] : [stack.args, stack.truncated];
  const own = { args: args ?? [], argsTruncated: truncated || undefined };
  // It may run another program by now, which may be another user's. The user in the copy is that of the process's own
  // namespace: anybody may be root there.
  if (!continues)
    return { lane, timeNs, pid, missed: false, process: { ...beside(found), ...givenPath(filename), ...own } };
  return { lane, timeNs, pid, missed: false, process: { ...found, ...own } };
}

/** The record of an exec whose arguments the kernel copied, and that nobody looked up. */
export function unseenRecord(
  { lane, timeNs, pid, filename }: Omit<ExecEvent, 'superseded'>,
  stack: ExecStack,
): ExecRecord {
  const own = { args: stack.args ?? [], argsTruncated: stack.truncated || undefined };
  return { lane, timeNs, pid, missed: false, process: { pid, ...givenPath(cut(filename)), ...own } };
}

/** A copy that was cut, with the rest as `cmdline` has it by now, where that is still of the same program. */
export function completed(stack: ExecStack, cmdline: Buffer): ExecStack {
  const { args, truncated } = splitArguments(cmdline);
  return begins(args, stack) ? { ...stack, args, truncated } : stack;
}

/** Whether the arguments that /proc shows are those that the kernel copied, or begin so where the copy was cut. */
function begins(found: readonly string[], { args = [], truncated }: ExecStack): boolean {
  if (found.length < args.length || (!truncated && found.length > args.length)) return false;
  return args.every(
    (arg, at) => found[at] === arg || (truncated && at === args.length - 1 && found[at]!.startsWith(arg)),
  );
}

function givenPath(filename: string): Pick<ProcessSnapshot, 'executablePath' | 'executableAsGiven'> {
  return { executablePath: filename, executableAsGiven: true };
}

/** What a process keeps when it starts another program. */
function beside({ pid, parentPid, workingDirectory, loginUid, tty, ...found }: ProcessSnapshot): ProcessSnapshot {
  const { cgroup, containerId, cgroups } = found;
  return { pid, parentPid, workingDirectory, loginUid, tty, cgroup, containerId, cgroups };
}

function snapshotOf(entry: ExecEntry): ProcessSnapshot {
  const { pid, filename, uid, parentPid, loginUid, tty, deleted, cmdline, exe, cwd, cgroup: groups } = entry;
  const { args, truncated } = splitArguments(cmdline ?? Buffer.alloc(0));
  return {
    pid,
    parentPid,
    ...(exe ? { executablePath: cut(exe.toString()) } : givenPath(filename)),
    executableDeleted: deleted || undefined,
    args: args.length > 0 ? args : undefined,
    argsTruncated: truncated || undefined,
    workingDirectory: cwd && cut(cwd.toString()),
    uid,
    loginUid,
    tty: tty === undefined ? undefined : ttyName(tty),
    // Of a process that has ended the kernel says the roots; it has no arguments any more.
    ...(groups && args.length > 0 && cgroupOf(groups.toString())),
  };
}

/** A script's interpreter may be a script, five times over; each adds itself and an argument before it. */
const BEFORE_SCRIPT_MAX = 10;
/** Links to the calling process's program and files, which have no name that could be compared. */
const OWN_LINK = /^\/(dev|proc\/(self|thread-self|\d+))\/(fd\/|exe$)/;

/**
 * Whether the process can be running the started file, judged by its executable, its first argument, or as an
 * interpreter; else by whether that is the same file under another name.
 */
function runs(
  { pid, executablePath, workingDirectory = '', args = [] }: ProcessSnapshot,
  filename: ExecEvent['filename'],
): boolean {
  const program = baseName(filename);
  if (executablePath !== undefined && baseName(executablePath) === program) return true;
  if (OWN_LINK.test(filename)) return true;
  // A login shell's name begins with a dash.
  if (args.slice(0, 3).some((argument) => baseName(argument.replace(/^-/, '')) === program)) return true;
  return args.slice(0, BEFORE_SCRIPT_MAX + 1).includes(filename) || isFileOf(pid, filename, workingDirectory);
}

/** Whether a name leads to the program that a process runs, from where the process is. */
function isFileOf(pid: number, name: string, directory: string): boolean {
  const own = atLink(pid, 'exe', ({ fd }) => fstatSync(fd));
  const named = own && atName(pid, name.startsWith('/') ? name : `${directory}/${name}`, ({ fd }) => fstatSync(fd));
  return named !== undefined && named.ino === own?.ino && named.dev === own.dev;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

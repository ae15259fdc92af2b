/**
 * Turns an exec lane's entry into an exec's record. The process may have ended
 * or have started another program since: then /proc described something else
 * than what was started, and the record says `missed`.
 */

import type { ExecStack } from '../probe/exec-stack.js';
import { cgroupPath, cleanLink, containerId, splitArguments } from '../process-text.js';
import type { ExecRecord, ProcessSnapshot } from '../source.js';
import type { ExecEntry, ExecEvent } from './exec-entry.js';

/** Returns exactly one record, even if nothing could be read. */
export function execRecord(entry: ExecEntry): ExecRecord {
  const { lane, timeNs, pid, filename } = entry;
  const found = snapshotOf(entry);
  const missed = entry.superseded || found.args === undefined || !runs(found, filename);
  if (!missed) return { lane, timeNs, pid, missed, process: found };
  // The process runs another program by now, or none: user, cgroup and directory still hold, the rest comes from the
  // event.
  const { args, argsTruncated, ...remains } = found;
  const executablePath = entry.superseded || args !== undefined ? filename : found.executablePath;
  return { lane, timeNs, pid, missed, process: { ...remains, executablePath } };
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
  const isSame = continues || (!entry.superseded && runs({ ...found, args: foundArgs }, filename));
  return {
    lane,
    timeNs,
    pid,
    missed: false,
    process: {
      ...found,
      executablePath: isSame ? found.executablePath : filename,
      args: args ?? [],
      argsTruncated: truncated || undefined,
      uid: stack.uid ?? found.uid,
    },
  };
}

/** Whether the arguments that /proc shows are those that the kernel copied, or begin so where the copy was cut. */
function begins(found: readonly string[], { args = [], truncated }: ExecStack): boolean {
  if (found.length < args.length || (!truncated && found.length > args.length)) return false;
  return args.every(
    (arg, at) => found[at] === arg || (truncated && at === args.length - 1 && found[at]!.startsWith(arg)),
  );
}

function snapshotOf({ pid, filename, uid, cmdline, exe, cwd, cgroup: groups }: ExecEntry): ProcessSnapshot {
  const { args, truncated } = splitArguments(cmdline ?? Buffer.alloc(0));
  const cgroup = groups && cgroupPath(groups.toString());
  return {
    pid,
    executablePath: exe ? cleanLink(exe) : filename,
    args: args.length > 0 ? args : undefined,
    argsTruncated: truncated || undefined,
    workingDirectory: cwd && cleanLink(cwd),
    uid,
    cgroup,
    containerId: cgroup === undefined ? undefined : containerId(cgroup),
  };
}

/**
 * Whether the process can be running the started file, judged by its executable, its first argument, or as an
 * interpreter.
 */
function runs({ executablePath, args = [] }: ProcessSnapshot, filename: ExecEvent['filename']): boolean {
  const program = baseName(filename);
  if (executablePath !== undefined && baseName(executablePath) === program) return true;
  // Descriptors have no name that could be compared.
  if (/^\/(dev|proc\/self)\/fd\//.test(filename)) return true;
  // A login shell's name begins with a dash.
  return args.slice(0, 3).some((argument) => baseName(argument.replace(/^-/, '')) === program);
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

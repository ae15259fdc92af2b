/**
 * One exec, looked up in /proc at once. The process may have gone, may have
 * gone on to another program, or its pid may be another's by now: then what
 * /proc says of it is not what was started, and the record says `missed`.
 */
import type { ProcessReader } from './process-reader.js';
import type { ExecRecord, ProcessSnapshot } from './source.js';

export interface ExecEvent {
  readonly lane: number;
  readonly timeNs: bigint;
  readonly pid: number;
  /** As it was given to execve: may be relative, a link or a script. */
  readonly filename: string;
  /** A later exec of the same pid is known already. */
  readonly superseded: boolean;
}

/** The kernel keeps this much of a program's name. */
const COMM_BYTES = 15;

/** Exactly one record, whatever happened. A missed one tells what the event and a remaining zombie tell. */
export function visitExec(event: ExecEvent, reader: ProcessReader): ExecRecord {
  const { lane, timeNs, pid } = event;
  const process = reader.snapshot(pid);
  // A start is rounded down: one after the exec is another process for sure.
  if (process === undefined || (process.startTimeNs ?? 0n) > timeNs) {
    return missedExec(event);
  }
  const { args, ...remains } = process;
  if (event.superseded || (args !== undefined && !runs(process, event.filename))) {
    // Same process, next program: parent, user and cgroup hold, the rest is the event's.
    const { executablePath, ...kept } = remains;
    return { lane, timeNs, pid, missed: true, process: { ...kept, ...programOf(event.filename) } };
  }
  const executablePath = process.executablePath ?? event.filename;
  if (args === undefined) return { lane, timeNs, pid, missed: true, process: { ...remains, executablePath } };
  return { lane, timeNs, pid, missed: false, process: { ...process, executablePath } };
}

/**
 * Whether the process can be running what was started: by its name, its
 * executable, its first argument, or as a script's interpreter.
 */
function runs(process: ProcessSnapshot, filename: string): boolean {
  const program = baseName(filename);
  const { comm, executablePath, args = [] } = process;
  if (comm === programOf(filename).comm) return true;
  if (executablePath !== undefined && baseName(executablePath) === program) return true;
  // Descriptors have no name that could be compared.
  if (/^\/(dev|proc\/self)\/fd\//.test(filename)) return true;
  return args.slice(0, 3).some((argument) => argument === filename || baseName(argument) === program);
}

/** The record of an exec that nobody could look up: what the event itself tells. */
export function missedExec({ lane, timeNs, pid, filename }: ExecEvent): ExecRecord {
  return { lane, timeNs, pid, missed: true, process: { pid, parentPid: 0, ...programOf(filename) } };
}

function programOf(filename: string): { comm: string; executablePath: string } {
  const comm = Buffer.from(baseName(filename)).toString('utf8', 0, COMM_BYTES);
  return { comm, executablePath: filename };
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

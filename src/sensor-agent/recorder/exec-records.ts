/**
 * The side records of execs that came together, in one record.
 *
 *   Execs   := msgpack list of Exec
 *   Exec    := [lane, timeNs, pid, missed] or [lane, timeNs, pid, missed, Process...]
 *   Process := its fields in the order of PROCESS_FIELDS: nil where one is absent, and none behind the last that is there
 *
 * Earlier versions wrote a map for each exec. They find no such map in this record and count it as damaged, and their
 * records are read here.
 */
import { BackplaneError } from '../../errors.js';
import type { RecordedProcess } from '../timeline/process-state.js';
import { checkShape, EXEC_SHAPE } from './record-shape.js';
import { packRecord, type RecordedExec, unpackRecord } from './recording.js';

/** New ones go to the end. */
const PROCESS_FIELDS = [
  'pid',
  'parentPid',
  'comm',
  'executablePath',
  'args',
  'workingDirectory',
  'uid',
  'cgroup',
  'startTimeNs',
  'containerId',
  'loginUid',
  'tty',
  'executableAsGiven',
  'executableDeleted',
  'argsTruncated',
  'redactions',
  'cgroups',
  'threads',
] as const satisfies readonly (keyof RecordedProcess)[];

export function packExecs(execs: readonly RecordedExec[]): Buffer {
  return packRecord(execs.map(fieldsOf));
}

function fieldsOf({ lane, timeNs, pid, missed, process }: RecordedExec): unknown[] {
  const fields: unknown[] = [lane, timeNs, pid, missed];
  if (process === undefined) return fields;
  let length = fields.length;
  for (const name of PROCESS_FIELDS) {
    const value = process[name];
    if (fields.push(value ?? null) && value !== undefined) length = fields.length;
  }
  fields.length = length;
  return fields;
}

/** Throws `damaged` when the record holds anything else. */
export function unpackExecs(payload: Buffer): readonly RecordedExec[] {
  const value = unpackRecord<unknown>(payload, 'object');
  if (Array.isArray(value)) return value.map(execOf);
  checkShape(value, EXEC_SHAPE);
  return [value as RecordedExec];
}

function execOf(fields: unknown): RecordedExec {
  if (!Array.isArray(fields)) throw new BackplaneError('damaged', 'an exec must be a list');
  const [lane, timeNs, pid, missed] = fields;
  const fits = typeof lane === 'number' && typeof pid === 'number' && typeof missed === 'boolean';
  if (!fits || typeof timeNs !== 'bigint') checkShape({ lane, timeNs, pid, missed }, EXEC_SHAPE);
  return { lane, timeNs, pid, missed, process: fields.length > FIELDS ? processOf(fields) : undefined };
}

const FIELDS = 4;

/** Written out, so that all processes have one hidden class. */
function processOf(fields: readonly (never | undefined | null)[]): RecordedProcess {
  return {
    pid: fields[4]!,
    parentPid: fields[5] ?? undefined,
    comm: fields[6] ?? undefined,
    executablePath: fields[7] ?? undefined,
    args: fields[8] ?? undefined,
    workingDirectory: fields[9] ?? undefined,
    uid: fields[10] ?? undefined,
    cgroup: fields[11] ?? undefined,
    startTimeNs: fields[12] ?? undefined,
    containerId: fields[13] ?? undefined,
    loginUid: fields[14] ?? undefined,
    tty: fields[15] ?? undefined,
    executableAsGiven: fields[16] ?? undefined,
    executableDeleted: fields[17] ?? undefined,
    argsTruncated: fields[18] ?? undefined,
    redactions: fields[19] ?? undefined,
    cgroups: fields[20] ?? undefined,
    threads: fields[21] ?? undefined,
  };
}

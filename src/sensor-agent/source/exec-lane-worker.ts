/**
 * A worker of the exec lane: waits for execs and looks each up in /proc at
 * once. Loads as little as it can: every import costs resident memory per CPU
 * and the time to the first exec.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { EXEC_QUEUE_BYTES_MAX } from '../../limits.js';
import { type ExecBatch, type ExecLaneTask, QUEUED, STOP } from './exec-lane-task.js';
import { type ExecEvent, visitExec } from './exec-visit.js';
import { ProcessReader } from './process-reader.js';
import type { ExecRecord } from './source.js';
import { compileDecoder } from './tracefs/decoder.js';
import { readPage } from './tracefs/page-read.js';
import { type LaneCursor, PageEntries, readPageHeader, scanPage, startCursor } from './tracefs/page.js';

/** How long a polling worker sleeps when no lane had anything. */
const POLL_MS = 2;
/** How long a full queue, or a read that did not block, is waited out. */
const PAUSE_MS = 10;

const task = workerData as ExecLaneTask;
const state = new Int32Array(task.state);
const page = Buffer.allocUnsafeSlow(task.pageBytes);
const wanted = new Uint8Array(65_536);
wanted[task.eventId] = 1;
const entries = new PageEntries();
const cursors = new Map<number, LaneCursor>(task.lanes.map(({ lane }) => [lane, startCursor()]));
const decode = compileDecoder(task.fields);
const reader = new ProcessReader();
// Processes that are gone are the rule here, and a stack trace costs more than the visit.
Error.stackTraceLimit = 0;

while (Atomics.load(state, STOP) === 0) {
  if (Atomics.load(state, QUEUED) > EXEC_QUEUE_BYTES_MAX) {
    Atomics.wait(state, STOP, 0, PAUSE_MS);
    continue;
  }
  let found = false;
  for (const { lane, fd } of task.lanes) found = visitLane(lane, fd) || found;
  if (!found) Atomics.wait(state, STOP, 0, task.blocking ? PAUSE_MS : POLL_MS);
}

/** Reads one page of a lane; false when there was none. */
function visitLane(lane: number, fd: number): boolean {
  let length: number;
  try {
    length = readPage(fd, page);
  } catch (cause) {
    // The main thread closed it to stop us.
    if (Atomics.load(state, STOP) !== 0) return false;
    throw cause;
  }
  if (length < 16 || Atomics.load(state, STOP) !== 0) return false;
  const bytes = page.subarray(0, length);
  const { lost, lostUnknown } = readPageHeader(bytes);
  scanPage(bytes, wanted, cursors.get(lane)!, entries);
  const records = execsOf(lane).map((event) => visitExec(event, reader));
  const size = records.reduce((sum, record) => sum + bytesOf(record), 0);
  Atomics.add(state, QUEUED, size);
  parentPort!.postMessage({ records, bytes: size, lost, lostUnknown } satisfies ExecBatch);
  return true;
}

function execsOf(lane: number): ExecEvent[] {
  const seen = new Set<number>();
  const events: ExecEvent[] = [];
  for (let i = entries.count - 1; i >= 0; i--) {
    const { filename, pid } = decode(page, entries.offsets[i]!, entries.lengths[i]!) as { filename: string; pid: number };
    events.push({ lane, timeNs: entries.timeNs(i), pid, filename, superseded: seen.has(pid) });
    seen.add(pid);
  }
  return events.reverse();
}

/** What a record weighs in the queue, about. */
function bytesOf(record: ExecRecord): number {
  const { args = [], executablePath = '', workingDirectory = '', cgroup = '' } = record.process ?? {};
  const strings = [...args, executablePath, workingDirectory, cgroup];
  return strings.reduce((sum, text) => sum + 2 * text.length + 32, 256);
}

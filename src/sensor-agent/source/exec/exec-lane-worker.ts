/**
 * A worker of the exec lane: waits for execs and looks each up in /proc at
 * once. Loads as little as it can: every import costs resident memory per CPU
 * and the time to the first exec.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readlinkSync } from 'node:fs';
import { constants as os, setPriority } from 'node:os';
import { workerData } from 'node:worker_threads';
import { Pacer } from '../../../flow/pacer.js';
import { EXEC_LANE_CPU_BURST_MS, EXEC_LANE_CPU_SHARE, PAGE_HEADER_BYTES } from '../../../limits.js';
import { compileDecoder } from '../pages/decoder.js';
import { type LaneCursor, PageEntries, readPageHeader, scanPage, startCursor } from '../pages/page.js';
import { readPage } from '../pages/page-read.js';
import { EXEC_ENTRY_BYTES_MAX, type ExecEvent } from './exec-entry.js';
import { DESCRIPTORS, type ExecLaneTask, READ, STOP } from './exec-lane-task.js';
import { ExecRing } from './exec-ring.js';
import { ExecVisitor } from './exec-visit.js';

/** How long a polling worker sleeps when no lane had anything. */
const POLL_MS = 2;
/** Pause while the ring is full, or while reads of a file do not block. */
const PAUSE_MS = 10;
/**
 * A blocking read gives 0 once in a while, when an event comes just between
 * the kernel's look and its wait. But when this process spawns a child, the
 * child's closing of its copy marks the open file itself as closed, and it
 * never blocks again: then it is opened anew.
 */
const EMPTY_READS_MAX = 3;
/** After so many reopenings without an event, the mark on the file is not the cause. */
const REOPENS_MAX = 16;

const WARM_UP_VISITS = 20;
const COMMAND_MS_MAX = 2_000;

const task = workerData as ExecLaneTask;
const state = new Int32Array(task.state);
const page = Buffer.allocUnsafeSlow(task.pageBytes);
const wanted = new Uint8Array(65_536);
wanted[task.eventId] = 1;
const entries = new PageEntries();
const cursors = new Map<number, LaneCursor>(task.lanes.map(({ lane }) => [lane, startCursor()]));
const decode = compileDecoder(task.fields);
const visitor = new ExecVisitor();
const ring = new ExecRing(task.ring);
/** This thread's priority must not take a core from others: over this share, execs are recorded without a visit. */
const pacer = new Pacer(EXEC_LANE_CPU_SHARE, EXEC_LANE_CPU_BURST_MS);
let restUntilMs = 0;
// Errors for processes that are gone are common here, and a stack trace costs more than the visit.
Error.stackTraceLimit = 0;

hurry();
// Warms up: the first visits would take a millisecond each, and the first processes would be gone by then.
const nowhere = Buffer.allocUnsafeSlow(EXEC_ENTRY_BYTES_MAX);
for (let visit = 0; visit < WARM_UP_VISITS; visit++) {
  visitor.visit({ lane: 0, timeNs: 0n, pid: process.pid, filename: '', superseded: false }, nowhere);
}
for (const { lane, path } of task.lanes) open(lane, path);
if (task.blocking) runBlocking();
else runPolling();
for (const { lane } of task.lanes) close(Atomics.exchange(state, DESCRIPTORS + lane, -1));

/**
 * A short-lived process is gone in half a millisecond, and a kernel with lazy
 * preemption lets others finish their tick first: this thread goes before them,
 * but on another CPU than the program that has just been started.
 * Done before any trace file of this thread is open (see EMPTY_READS_MAX), and
 * bounded by the pacer. Without chrt the nice value helps some.
 */
function hurry(): void {
  try {
    const threadId = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    setPriority(threadId, os.priority.PRIORITY_HIGHEST);
    run('chrt', '--fifo', '--pid', '1', String(threadId));
    if (task.cpuList !== '') run('taskset', '--cpu-list', '--pid', task.cpuList, String(threadId));
  } catch {
    // chrt is not allowed or not there: more arguments are missed, and each such exec says so.
  }
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: 'ignore', timeout: COMMAND_MS_MAX });
}

function runBlocking(): void {
  const { lane, path } = task.lanes[0]!;
  let emptyReads = 0;
  while (Atomics.load(state, STOP) === 0) {
    if (visitLane(lane)) {
      emptyReads = 0;
      continue;
    }
    if (++emptyReads % EMPTY_READS_MAX !== 0) continue;
    if (emptyReads >= EMPTY_READS_MAX * REOPENS_MAX) Atomics.wait(state, STOP, 0, PAUSE_MS);
    open(lane, path);
  }
}

function runPolling(): void {
  while (Atomics.load(state, STOP) === 0) {
    let found = false;
    for (const { lane } of task.lanes) found = visitLane(lane) || found;
    if (!found) Atomics.wait(state, STOP, 0, POLL_MS);
  }
}

/** Opens a lane's file, in place of the one that is open. */
function open(lane: number, path: string): void {
  const fd = openSync(path, constants.O_RDONLY | (task.blocking ? 0 : constants.O_NONBLOCK));
  // The main thread looks here after it has set STOP, and this thread looks at STOP after this: one of them closes it.
  close(Atomics.exchange(state, DESCRIPTORS + lane, fd));
}

function close(fd: number): void {
  if (fd >= 0) closeSync(fd);
}

/** Reads one page of a lane; false when there was none. */
function visitLane(lane: number): boolean {
  let length: number;
  try {
    length = readPage(Atomics.load(state, DESCRIPTORS + lane), page);
  } catch (cause) {
    // The main thread closed it to stop us.
    if (Atomics.load(state, STOP) !== 0) return false;
    throw cause;
  }
  if (length < PAGE_HEADER_BYTES || Atomics.load(state, STOP) !== 0) return false;
  const bytes = page.subarray(0, length);
  const { lost, lostUnknown } = readPageHeader(bytes);
  ring.addLost(lost, lostUnknown);
  scanPage(bytes, wanted, cursors.get(lane)!, entries);
  Atomics.add(state, READ, entries.entries);
  for (const event of execsOf(lane)) visit(event);
  return true;
}

function visit(event: ExecEvent): void {
  // The main thread is behind: events wait in the kernel's buffer until the ring has room.
  let room = ring.reserve(EXEC_ENTRY_BYTES_MAX);
  for (; room === undefined; room = ring.reserve(EXEC_ENTRY_BYTES_MAX)) {
    if (Atomics.wait(state, STOP, 0, PAUSE_MS) === 'not-equal') return;
  }
  const startMs = performance.now();
  if (startMs < restUntilMs) {
    ring.commit(visitor.pass(event, room));
    return;
  }
  ring.commit(visitor.visit(event, room));
  const endMs = performance.now();
  const waitMs = pacer.spend(endMs - startMs);
  if (waitMs > 0) restUntilMs = endMs + waitMs;
}

function execsOf(lane: number): ExecEvent[] {
  const seen = new Set<number>();
  const events: ExecEvent[] = [];
  for (let i = entries.count - 1; i >= 0; i--) {
    const { filename, pid } = decode(page, entries.offsets[i]!, entries.lengths[i]!) as {
      filename: string;
      pid: number;
    };
    events.push({ lane, timeNs: entries.timeNs(i), pid, filename, superseded: seen.has(pid) });
    seen.add(pid);
  }
  return events.reverse();
}

/** A thread that reads command lines, one after the other: see command-lines.ts. Imports as little as it can. */
import { closeSync, openSync, readSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { ARGUMENTS_BYTES_MAX } from '../../../limits.js';
import { ANSWERS, bytesOf, type CommandLineTask, GONE, headOf, LENGTH, PID, REQUESTS } from './command-line-task.js';

const { memory, folder } = workerData as CommandLineTask;
const [head, shared] = [headOf(memory), bytesOf(memory)];
const bytes = Buffer.allocUnsafeSlow(ARGUMENTS_BYTES_MAX);
// Errors for processes that are gone are common here, and a stack trace costs more than the read.
Error.stackTraceLimit = 0;

for (let answered = 0; ; ) {
  Atomics.wait(head, REQUESTS, answered);
  const requested = Atomics.load(head, REQUESTS);
  if (requested === answered) continue;
  Atomics.store(head, LENGTH, read(Atomics.load(head, PID)));
  answered = requested;
  Atomics.store(head, ANSWERS, answered);
  Atomics.notify(head, ANSWERS);
}

function read(pid: number): number {
  let fd = -1;
  try {
    fd = openSync(`${folder}/${pid}/cmdline`, 'r');
    const length = readSync(fd, bytes, 0, bytes.length, null);
    bytes.copy(shared, 0, 0, length);
    return length;
  } catch {
    return GONE;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

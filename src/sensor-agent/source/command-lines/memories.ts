/**
 * Whether probes in files may be placed and removed (uprobes). The kernel does that in the memory of each process that has
 * mapped the file, waits there for the lock, and lets no process of the whole machine fork meanwhile (kernel/events/
 * uprobes.c, register_for_each_vma): where one never lets go of its lock (command-lines.ts) the machine stands still. So
 * all are asked before. Those in the kernel are in nobody's memory.
 */
import { BackplaneError } from '../../../errors.js';
import { ARGUMENTS_BYTES_MAX, MEMORIES_ANSWERED_MS } from '../../../limits.js';
import { definitionsOf, probeGroup } from '../probe/definitions.js';
import { isKernelPoint } from '../probe/kernel-point.js';
import { pids } from '../process-reader.js';
import { COMMAND_LINES } from './command-lines.js';

const nowhere = Buffer.allocUnsafeSlow(ARGUMENTS_BYTES_MAX);
let answeredMs = Number.NEGATIVE_INFINITY;

/** Whether no process keeps the lock of its memory, a moment ago. */
export function memoriesAnswer(): boolean {
  if (COMMAND_LINES.waits) return false;
  if (performance.now() - answeredMs < MEMORIES_ANSWERED_MS) return true;
  for (const pid of pids('/proc')) {
    COMMAND_LINES.read(pid, nowhere);
    if (COMMAND_LINES.waits) return false;
  }
  answeredMs = performance.now();
  return true;
}

/** `events`: `group/event` of probes that copy arguments. `answer`: as memoriesAnswer. */
export function mayChange(events: Iterable<string>, answer: () => boolean = memoriesAnswer): boolean {
  return [...events].every(isKernelPoint) || answer();
}

/** Of a recorder's that are left. */
export function mayClear(tracefs: string, recorderId: string): boolean {
  return mayChange(definitionsOf(tracefs, probeGroup(recorderId)) ?? []);
}

/** Throws `failed_precondition` where it may not be placed. */
export function requirePlaceable(event: string, answer?: () => boolean): void {
  if (!mayChange([event], answer))
    throw new BackplaneError('failed_precondition', `a probe could not be placed: ${COMMAND_LINES.problem}`);
}

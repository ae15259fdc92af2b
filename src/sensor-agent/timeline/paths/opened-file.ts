/** Finds opened files among a timeline's entries. Their paths are read beside the pages and recorded after them. */

import { partitionPoint } from '../../../flow/partition-point.js';
import type { TraceEvent } from '../kernel-events.js';
import type { ProcessTable } from '../process-table.js';
import { openedDescriptor } from '../syscall-events.js';

interface Placed {
  readonly timeNs: bigint;
  readonly lane: number;
  readonly tie: number;
}

/** A call that opened a file. */
export interface OpenedFile extends Placed {
  readonly threadId: number;
  readonly pid: number;
  readonly descriptor: number;
}

const NONE: readonly OpenedFile[] = [];

/**
 * The file that an entry opened; empty for other entries, for failed calls and for files that the agent opens itself.
 */
export function openedFiles(event: TraceEvent & Placed, processes: ProcessTable): readonly OpenedFile[] {
  const { name, values, timeNs, lane, tie, pid: threadId } = event;
  const descriptor = openedDescriptor(name, values);
  if (descriptor === undefined) return NONE;
  const process = processes.of(threadId);
  if (process?.self) return NONE;
  return [{ timeNs, lane, tie, threadId, pid: process?.pid ?? threadId, descriptor }];
}

/** The event of the same time and tie in the entries of a lane, which are in the order of their times. */
export function eventAt<E extends Placed>(lane: readonly E[] = [], { timeNs, tie }: Placed): E | undefined {
  let at = partitionPoint(0, lane.length, (index) => lane[index]!.timeNs < timeNs);
  for (; at < lane.length && lane[at]!.timeNs === timeNs; at += 1) if (lane[at]!.tie === tie) return lane[at];
  return undefined;
}

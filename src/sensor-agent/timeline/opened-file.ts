/** Opened files among a timeline's entries: their paths are read beside the pages and come behind them. */

import { partitionPoint } from '../../flow/partition-point.js';
import type { TraceEvent } from './kernel-events.js';
import type { ProcessTable } from './process-table.js';
import { openedDescriptor } from './syscall-events.js';

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

/** One, or none: for other entries, for calls that failed, and for what the agent itself opens to look things up. */
export function openedFiles(event: TraceEvent & Placed, processes: ProcessTable): readonly OpenedFile[] {
  const { name, values, timeNs, lane, tie, pid: threadId } = event;
  const descriptor = openedDescriptor(name, values);
  if (descriptor === undefined) return NONE;
  const process = processes.of(threadId);
  if (process?.self) return NONE;
  return [{ timeNs, lane, tie, threadId, pid: process?.pid ?? threadId, descriptor }];
}

/** The one of the same time and tie in the entries of a lane, which are in the order of their times. */
export function eventAt<E extends Placed>(lane: readonly E[] = [], { timeNs, tie }: Placed): E | undefined {
  let at = partitionPoint(0, lane.length, (index) => lane[index]!.timeNs < timeNs);
  for (; at < lane.length && lane[at]!.timeNs === timeNs; at += 1) if (lane[at]!.tie === tie) return lane[at];
  return undefined;
}

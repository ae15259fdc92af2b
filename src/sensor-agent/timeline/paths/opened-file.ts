/** Finds opened files among a timeline's entries. Their paths are read beside the pages and recorded after them. */

import { partitionPoint } from '../../../flow/partition-point.js';
import { PATH_JOIN_THREADS_MAX } from '../../../limits.js';
import { BoundedMap } from '../bounded-map.js';
import type { TraceEvent } from '../kernel-events.js';
import type { ProcessTable } from '../process-table.js';
import { openedDescriptor } from '../syscall-events.js';
import { OPEN_BEGINS } from './path-join.js';

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

/** The last call of a thread that opens a file: pages of several lanes are not in order. */
interface Call {
  readonly pid: number;
  beganNs: bigint;
  returnedNs: bigint;
}

export class OpenedFiles {
  #files: OpenedFile[] = [];
  readonly #calls = new BoundedMap<number, Call>(PATH_JOIN_THREADS_MAX);

  /** Notes the file that an entry opened, but for those that the agent opens itself, and calls that are to open one. */
  note(event: TraceEvent & Placed, processes: ProcessTable): void {
    const { name, values, timeNs, lane, tie, pid: threadId } = event;
    const begins = OPEN_BEGINS.test(name);
    const descriptor = begins ? undefined : openedDescriptor(name, values);
    if (descriptor === undefined && !begins) return;
    const process = processes.of(threadId);
    if (process?.self) return;
    const pid = process?.pid ?? threadId;
    const call = this.#callOf(threadId, pid);
    if (begins) call.beganNs = timeNs > call.beganNs ? timeNs : call.beganNs;
    else call.returnedNs = timeNs > call.returnedNs ? timeNs : call.returnedNs;
    if (descriptor !== undefined && descriptor >= 0) this.#files.push({ timeNs, lane, tie, threadId, pid, descriptor });
  }

  /** Those of pages since the last call. */
  take(): readonly OpenedFile[] {
    return this.#files.splice(0);
  }

  /**
   * Tells of a file whether its descriptor may be another's by now: one that a call returned since take(), or that one
   * gets which has begun behind it and has not returned.
   */
  others(): (file: OpenedFile) => boolean {
    const returned = new Set(this.#files.map(keyOf));
    const under = [...this.#calls.values()].filter(({ beganNs, returnedNs }) => beganNs > returnedNs);
    return (file) =>
      returned.has(keyOf(file)) || under.some(({ pid, beganNs }) => pid === file.pid && beganNs > file.timeNs);
  }

  #callOf(threadId: number, pid: number): Call {
    const known = this.#calls.get(threadId);
    // A thread's number may be another process's now.
    const call = known?.pid === pid ? known : { pid, beganNs: 0n, returnedNs: 0n };
    this.#calls.set(threadId, call);
    return call;
  }
}

/** Threads of a process have its descriptors in common. */
export function keyOf({ pid, descriptor }: OpenedFile): string {
  return `${pid}:${descriptor}`;
}

/** The event of the same time and tie in the entries of a lane, which are in the order of their times. */
export function eventAt<E extends Placed>(lane: readonly E[] = [], { timeNs, tie }: Placed): E | undefined {
  let at = partitionPoint(0, lane.length, (index) => lane[index]!.timeNs < timeNs);
  for (; at < lane.length && lane[at]!.timeNs === timeNs; at += 1) if (lane[at]!.tie === tie) return lane[at];
  return undefined;
}

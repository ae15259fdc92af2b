/** Finds opened files among a timeline's entries. Their paths are read beside the pages and recorded after them. */

import { partitionPoint } from '../../../flow/partition-point.js';
import { PATH_JOIN_THREADS_MAX } from '../../../limits.js';
import type { FieldValues } from '../../source/pages/decoder.js';
import { BoundedMap } from '../bounded-map.js';
import { CLONE_THREAD, type TraceEvent } from '../kernel-events.js';
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
  readonly descriptor: number;
}

/** The last call of a thread that opens a file: pages of several lanes are not in order. */
interface Call {
  readonly pid: number;
  beganNs: bigint;
  returnedNs: bigint;
}

const BEGINS = 'task_newtask';
/** Threads that each were begun by the one before, in the same pages. */
const BEGUN_BY_MAX = 16;

export class OpenedFiles {
  #files: OpenedFile[] = [];
  #taken: readonly OpenedFile[] = [];
  readonly #calls = new BoundedMap<number, Call>(PATH_JOIN_THREADS_MAX);
  /** Threads, and which one of their process began each: the table of processes learns of them only when that is told. */
  readonly #begunBy = new BoundedMap<number, number>(PATH_JOIN_THREADS_MAX);

  readonly #processes: ProcessTable;

  constructor(processes: ProcessTable) {
    this.#processes = processes;
  }

  /** Notes the file that an entry opened, but for those that the agent opens itself, and calls that are to open one. */
  note(event: TraceEvent & Placed): void {
    const { name, values, timeNs, lane, tie, pid: threadId } = event;
    if (name === BEGINS) {
      this.#begins(threadId, values);
      return;
    }
    const begins = OPEN_BEGINS.test(name);
    const descriptor = begins ? undefined : openedDescriptor(name, values);
    if (descriptor === undefined && !begins) return;
    const process = this.#processes.of(threadId);
    if (process?.self) return;
    const call = this.#callOf(threadId, process?.pid ?? threadId);
    if (begins) call.beganNs = timeNs > call.beganNs ? timeNs : call.beganNs;
    else call.returnedNs = timeNs > call.returnedNs ? timeNs : call.returnedNs;
    if (descriptor !== undefined && descriptor >= 0) this.#files.push({ timeNs, lane, tie, threadId, descriptor });
  }

  /** Those of pages since the last call. */
  take(): readonly OpenedFile[] {
    this.#taken = this.#files;
    this.#files = [];
    return this.#taken;
  }

  /** The same for all files that one descriptor led to: threads of a process have its descriptors in common. */
  keyOf({ threadId, descriptor }: OpenedFile): string {
    return `${this.#pidOf(threadId)}:${descriptor}`;
  }

  /**
   * Tells of a file that was taken whether its descriptor may be another's by now: one that a call returned later or since
   * take(), or that one gets which has begun behind it and has not returned. Which threads are of one process may have
   * become known only since.
   */
  others(): (file: OpenedFile) => boolean {
    const since = new Set(this.#files.map((file) => this.keyOf(file)));
    const newest = new Map<string, bigint>();
    for (const file of this.#taken) {
      const key = this.keyOf(file);
      if (file.timeNs > (newest.get(key) ?? -1n)) newest.set(key, file.timeNs);
    }
    const under = [...this.#calls].filter(([, { beganNs, returnedNs }]) => beganNs > returnedNs);
    const begun = under.map(([threadId, { beganNs }]) => ({ pid: this.#pidOf(threadId), beganNs }));
    return (file) => {
      const key = this.keyOf(file);
      if (since.has(key) || newest.get(key)! > file.timeNs) return true;
      const own = this.#pidOf(file.threadId);
      return begun.some(({ pid, beganNs }) => pid === own && beganNs > file.timeNs);
    };
  }

  #begins(by: number, values: FieldValues): void {
    const threadId = Number(values['pid']);
    if ((BigInt(values['clone_flags'] as bigint) & CLONE_THREAD) === 0n) this.#begunBy.delete(threadId);
    else this.#begunBy.set(threadId, by);
  }

  #pidOf(threadId: number): number {
    let [thread, found] = [threadId, this.#begunBy.get(threadId)];
    for (let steps = 0; found !== undefined && steps < BEGUN_BY_MAX; steps += 1)
      [thread, found] = [found, this.#begunBy.get(found)];
    return this.#processes.of(thread)?.pid ?? thread;
  }

  #callOf(threadId: number, pid: number): Call {
    const known = this.#calls.get(threadId);
    // A thread's number may be another process's now.
    const call = known?.pid === pid ? known : { pid, beganNs: 0n, returnedNs: 0n };
    this.#calls.set(threadId, call);
    return call;
  }
}

/** The event of the same time and tie in the entries of a lane, which are in the order of their times. */
export function eventAt<E extends Placed>(lane: readonly E[] = [], { timeNs, tie }: Placed): E | undefined {
  let at = partitionPoint(0, lane.length, (index) => lane[index]!.timeNs < timeNs);
  for (; at < lane.length && lane[at]!.timeNs === timeNs; at += 1) if (lane[at]!.tie === tie) return lane[at];
  return undefined;
}

/**
 * Takes in what all agents send, in turns. Thousands of connections may have something to read at once, and whoever reads
 * them all before anything else neither syncs nor delivers meanwhile, and holds all of it. So what is taken in is bounded,
 * by partition, as one whose log stands still must not hold up the others; and after its turn everything else is done
 * first. Whatever waits is not even decoded, and its stream is not read: agents gather it then.
 *
 * Turns do not follow each other at once, either: what comes within some milliseconds, or until what its partition sent before is
 * in the log, goes there together, and so to those who read it. Each message by itself would be a write to NATS or a sync, a
 * read, and a write to each subscriber.
 */
import { turnMs } from '../../flow/turns.js';
import {
  INTAKE_BYTES_MAX,
  INTAKE_GATHER_MS,
  INTAKE_MESSAGE_BYTES,
  INTAKE_SHARE_MIN,
  PARTITIONS,
  TURN_MS,
} from '../../limits.js';

/** @param free to be called once what was taken in is in the log, or never will be */
type Task = (free: () => void) => void;

interface Waiting {
  /** Of the message alone. */
  readonly bytes: number;
  readonly task: Task;
  readonly sinceMs: number;
}

interface Lane {
  /** Of messages that are being taken in. */
  bytes: number;
  /** Oldest first; those before `head` have begun. */
  waiting: Waiting[];
  head: number;
}

/** What was taken in since the load was asked for last. */
export interface IntakeLoad {
  readonly messages: number;
  readonly bytes: number;
  /** From when each came to when it was in the log, of all messages together. */
  readonly tookMs: number;
  readonly seconds: number;
  /** Share of that time in which this process had something to do, also where others had the processor. */
  readonly busy: number;
}

export class Intake {
  readonly #lanes: readonly Lane[] = Array.from({ length: PARTITIONS }, () => ({ bytes: 0, waiting: [], head: 0 }));
  /** The lane that comes first in the next turn. */
  #first = 0;
  /** When the turn began that is under way; undefined: nothing was taken in since the event loop came round. */
  #turnSinceMs: number | undefined;
  #turnMs = TURN_MS;
  /** When the last turn began. */
  #beganMs = Number.NEGATIVE_INFINITY;
  #gathering: NodeJS.Timeout | undefined;
  #load = { messages: 0, bytes: 0, tookMs: 0 };
  #askedMs = performance.now();
  #utilization = performance.eventLoopUtilization();

  /**
   * Runs the task at once, or in its turn: those of a partition in the order of the calls. Until then the caller must not
   * read on.
   * @param bytes of the message that it takes in
   */
  take(partition: number, bytes: number, task: Task): void {
    const lane = this.#lanes[partition]!;
    const waiting = { bytes, task, sinceMs: performance.now() };
    if (!hasWaiting(lane) && lane.bytes < INTAKE_BYTES_MAX && this.#gatherMs <= 0 && !this.#isOver)
      this.#run(lane, waiting);
    else {
      lane.waiting.push(waiting);
      this.#wake();
    }
  }

  takeLoad(): IntakeLoad {
    const [load, sinceMs, utilization] = [this.#load, this.#askedMs, this.#utilization];
    this.#load = { messages: 0, bytes: 0, tookMs: 0 };
    this.#askedMs = performance.now();
    this.#utilization = performance.eventLoopUtilization();
    const { utilization: busy } = performance.eventLoopUtilization(this.#utilization, utilization);
    return { ...load, seconds: (this.#askedMs - sinceMs) / 1000, busy };
  }

  /** How long what comes is to gather; nothing within a turn. */
  get #gatherMs(): number {
    return this.#turnSinceMs === undefined ? this.#beganMs + INTAKE_GATHER_MS - performance.now() : 0;
  }

  /** Sees to it that there is a turn for what waits. */
  #wake(): void {
    const gatherMs = this.#gatherMs;
    if (gatherMs <= 0) this.#begin();
    else
      this.#gathering ??= setTimeout(() => {
        this.#gathering = undefined;
        this.#begin();
      }, gatherMs);
  }

  get #isOver(): boolean {
    return performance.now() - this.#begin() >= this.#turnMs;
  }

  /** Begins a turn unless one is under way. Returns when it began. */
  #begin(): number {
    if (this.#turnSinceMs === undefined) {
      this.#turnSinceMs = performance.now();
      this.#beganMs = this.#turnSinceMs;
      setImmediate(() => this.#next());
    }
    return this.#turnSinceMs;
  }

  /** Everything else has had its turn. */
  #next(): void {
    const nowMs = performance.now();
    this.#turnMs = turnMs((nowMs - this.#turnSinceMs!) * INTAKE_SHARE_MIN);
    this.#turnSinceMs = undefined;
    const lanes = this.#lanes.filter(isReady);
    if (lanes.length === 0) return;
    this.#first++;
    for (let at = this.#first; lanes.some(isReady) && !this.#isOver; at++) {
      const lane = lanes[at % lanes.length]!;
      if (!isReady(lane)) continue;
      this.#run(lane, lane.waiting[lane.head++]!);
    }
    for (const lane of lanes) {
      lane.waiting.splice(0, lane.head);
      lane.head = 0;
    }
  }

  #run(lane: Lane, { bytes, task, sinceMs }: Waiting): void {
    lane.bytes += bytes + INTAKE_MESSAGE_BYTES;
    let isFree = false;
    task(() => {
      if (isFree) return;
      isFree = true;
      lane.bytes -= bytes + INTAKE_MESSAGE_BYTES;
      this.#load.messages++;
      this.#load.bytes += bytes;
      this.#load.tookMs += performance.now() - sinceMs;
      if (isReady(lane)) this.#begin();
    });
  }
}

function hasWaiting({ waiting, head }: Lane): boolean {
  return waiting.length > head;
}

function isReady(lane: Lane): boolean {
  return hasWaiting(lane) && lane.bytes < INTAKE_BYTES_MAX;
}

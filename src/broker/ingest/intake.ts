/**
 * Takes in what all agents send, in turns. Thousands of connections may have something to read at once, and whoever reads
 * them all before anything else neither syncs nor delivers meanwhile, and holds all of it. So what is taken in is bounded,
 * by partition, as one whose log stands still must not hold up the others; and after its turn everything else is done
 * first. Whatever waits is not even decoded, and its stream is not read: agents gather it then.
 */
import { INTAKE_BYTES_MAX, INTAKE_MESSAGE_BYTES, INTAKE_SHARE_MIN, PARTITIONS, TURN_MS_MAX } from '../../limits.js';

/** @param free to be called once what was taken in is in the log, or never will be */
type Task = (free: () => void) => void;

interface Waiting {
  readonly bytes: number;
  readonly task: Task;
}

interface Lane {
  /** Of messages that are being taken in. */
  bytes: number;
  /** Oldest first; those before `head` have begun. */
  waiting: Waiting[];
  head: number;
}

/** What came since the load was asked for last. */
export interface IntakeLoad {
  readonly messages: number;
  readonly bytes: number;
  /** Of the messages, those that had to wait. */
  readonly waited: number;
}

export class Intake {
  readonly #lanes: readonly Lane[] = Array.from({ length: PARTITIONS }, () => ({ bytes: 0, waiting: [], head: 0 }));
  /** The lane that comes first in the next turn. */
  #first = 0;
  /** When the turn began that is under way; undefined: nothing was taken in since the event loop came round. */
  #turnSinceMs: number | undefined;
  #turnMs = TURN_MS_MAX;
  #load = { messages: 0, bytes: 0, waited: 0 };

  /**
   * Runs the task at once, or in its turn: those of a partition in the order of the calls. Until then the caller must not
   * read on.
   * @param bytes of the message that it takes in
   */
  take(partition: number, bytes: number, task: Task): void {
    const lane = this.#lanes[partition]!;
    const waiting = { bytes: bytes + INTAKE_MESSAGE_BYTES, task };
    this.#load.messages++;
    this.#load.bytes += bytes;
    if (!hasWaiting(lane) && lane.bytes < INTAKE_BYTES_MAX && !this.#isOver) this.#run(lane, waiting);
    else {
      this.#load.waited++;
      lane.waiting.push(waiting);
      this.#begin();
    }
  }

  takeLoad(): IntakeLoad {
    const load = this.#load;
    this.#load = { messages: 0, bytes: 0, waited: 0 };
    return load;
  }

  get #isOver(): boolean {
    return performance.now() - this.#begin() >= this.#turnMs;
  }

  /** Begins a turn unless one is under way. Returns when it began. */
  #begin(): number {
    if (this.#turnSinceMs === undefined) {
      this.#turnSinceMs = performance.now();
      setImmediate(() => this.#next());
    }
    return this.#turnSinceMs;
  }

  /** Everything else has had its turn. */
  #next(): void {
    const nowMs = performance.now();
    this.#turnMs = Math.max(TURN_MS_MAX, (nowMs - this.#turnSinceMs!) * INTAKE_SHARE_MIN);
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

  #run(lane: Lane, { bytes, task }: Waiting): void {
    lane.bytes += bytes;
    let isFree = false;
    task(() => {
      if (isFree) return;
      isFree = true;
      lane.bytes -= bytes;
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

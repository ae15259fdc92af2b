/**
 * Joins an exec in the pages with its side record from the exec lane. Both
 * trace instances saw the same tracepoint on the same CPU within microseconds,
 * but each took a time of its own, so they are joined by lane, pid and nearest
 * time.
 */
import { EXEC_JOIN_NS_MAX, EXEC_JOIN_RECORDS_MAX } from '../../limits.js';
import type { RecordedExec } from '../recorder/recording.js';

interface Waiting {
  readonly record: RecordedExec;
  taken: boolean;
  /** The one that arrived next, of all. */
  next: Waiting | undefined;
  /** The one that arrived next, of its lane and pid. */
  later: Waiting | undefined;
}

/** More than any pid. */
const LANE = 2 ** 32;

/** Neither sets of objects nor keys of text: a replay joins each exec of a recording. */
export class ExecJoin {
  /** All in order of arrival, and some that are taken; the oldest goes first when there are too many. */
  #oldest: Waiting | undefined;
  #newest: Waiting | undefined;
  #size = 0;
  /** By lane and pid, the oldest that waits of each. */
  readonly #byTask = new Map<number, Waiting>();
  /** The frontier at the last prune: while it stays the same, no record can have become stale. */
  #prunedNs = 0n;

  add(record: RecordedExec): void {
    const waiting: Waiting = { record, taken: false, next: undefined, later: undefined };
    if (this.#newest) this.#newest.next = waiting;
    else this.#oldest = waiting;
    this.#newest = waiting;
    const key = keyOf(record);
    let last = this.#byTask.get(key);
    if (last === undefined) this.#byTask.set(key, waiting);
    else {
      while (last.later) last = last.later;
      last.later = waiting;
    }
    this.#size += 1;
    if (this.#size > EXEC_JOIN_RECORDS_MAX) this.#drop(this.#firstWaiting()!);
  }

  /** The record nearest to an exec's time. */
  find(lane: number, pid: number, timeNs: bigint): Waiting | undefined {
    let best: Waiting | undefined;
    let bestNs = EXEC_JOIN_NS_MAX + 1n;
    for (let at = this.#byTask.get(keyOf({ lane, pid })); at; at = at.later) {
      const apart = at.record.timeNs > timeNs ? at.record.timeNs - timeNs : timeNs - at.record.timeNs;
      if (apart >= bestNs) continue;
      best = at;
      bestNs = apart;
    }
    return best;
  }

  /** Takes what find() found; older records of that pid have no exec left and are dropped. */
  take(found: Waiting): RecordedExec {
    this.#drop(found);
    return found.record;
  }

  /** The records that still wait for their exec. */
  save(): RecordedExec[] {
    const records: RecordedExec[] = [];
    for (let at = this.#firstWaiting(); at; at = at.next) if (!at.taken) records.push(at.record);
    return records;
  }

  /** Drops records whose exec must have passed already. */
  prune(frontierNs: bigint): void {
    // Called with every record: of several records with one frontier only the first has anything to prune.
    if (this.#size === 0 || frontierNs === this.#prunedNs) return;
    this.#prunedNs = frontierNs;
    for (const oldest of this.#byTask.values()) {
      let stale: Waiting | undefined;
      for (let at: Waiting | undefined = oldest; at && isStale(at, frontierNs); at = at.later) stale = at;
      if (stale) this.#drop(stale);
    }
  }

  clear(): void {
    this.#oldest = undefined;
    this.#newest = undefined;
    this.#size = 0;
    this.#byTask.clear();
  }

  /** Drops a record, and all of its lane and pid that arrived before it. */
  #drop(last: Waiting): void {
    const key = keyOf(last.record);
    for (let at = this.#byTask.get(key); at && !last.taken; at = at.later) {
      at.taken = true;
      this.#size -= 1;
    }
    if (last.later) this.#byTask.set(key, last.later);
    else this.#byTask.delete(key);
    this.#firstWaiting();
  }

  /** Forgets those at the beginning that are taken. */
  #firstWaiting(): Waiting | undefined {
    while (this.#oldest?.taken) this.#oldest = this.#oldest.next;
    if (!this.#oldest) this.#newest = undefined;
    return this.#oldest;
  }
}

function isStale({ record }: Waiting, frontierNs: bigint): boolean {
  return record.timeNs + EXEC_JOIN_NS_MAX < frontierNs;
}

function keyOf({ lane, pid }: Pick<RecordedExec, 'lane' | 'pid'>): number {
  return lane * LANE + pid;
}

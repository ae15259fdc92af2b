/**
 * Joins an exec in the pages with its side record from the exec lane. Both
 * trace instances saw the same tracepoint on the same CPU within microseconds,
 * but each took a time of its own, so they are joined by lane, pid and nearest
 * time.
 */
import { EXEC_JOIN_NS_MAX, EXEC_JOIN_RECORDS_MAX } from '../../limits.js';
import type { RecordedExec } from '../recorder/recording.js';

export class ExecJoin {
  /** In order of arrival; the oldest goes first when there are too many. */
  readonly #waiting = new Set<RecordedExec>();
  /** The same records by lane and pid, each list in order of arrival. */
  readonly #byTask = new Map<string, RecordedExec[]>();
  /** The frontier at the last prune: while it stays the same, no record can have become stale. */
  #prunedNs = 0n;

  add(record: RecordedExec): void {
    const key = keyOf(record);
    const list = this.#byTask.get(key);
    if (list) list.push(record);
    else this.#byTask.set(key, [record]);
    this.#waiting.add(record);
    if (this.#waiting.size > EXEC_JOIN_RECORDS_MAX) this.#dropOldest();
  }

  /** Takes the record nearest to an exec's time; older records of that pid have no exec left and are dropped. */
  take(lane: number, pid: number, timeNs: bigint): RecordedExec | undefined {
    const key = keyOf({ lane, pid });
    const list = this.#byTask.get(key);
    if (!list) return undefined;
    let best = -1;
    let bestNs = EXEC_JOIN_NS_MAX + 1n;
    for (const [at, record] of list.entries()) {
      const apart = record.timeNs > timeNs ? record.timeNs - timeNs : timeNs - record.timeNs;
      if (apart < bestNs) {
        best = at;
        bestNs = apart;
      }
    }
    if (best < 0) return undefined;
    const record = list[best]!;
    this.#drop(key, list, best + 1);
    return record;
  }

  /** The records that still wait for their exec. */
  save(): RecordedExec[] {
    return [...this.#waiting];
  }

  /** Drops records whose exec must have passed already. */
  prune(frontierNs: bigint): void {
    // Called with every record: of several records with one frontier only the first has anything to prune.
    if (this.#waiting.size === 0 || frontierNs === this.#prunedNs) return;
    this.#prunedNs = frontierNs;
    for (const [key, list] of this.#byTask) {
      let stale = 0;
      while (stale < list.length && list[stale]!.timeNs + EXEC_JOIN_NS_MAX < frontierNs) stale += 1;
      if (stale > 0) this.#drop(key, list, stale);
    }
  }

  clear(): void {
    this.#waiting.clear();
    this.#byTask.clear();
  }

  #dropOldest(): void {
    const oldest: RecordedExec = this.#waiting.values().next().value!;
    const key = keyOf(oldest);
    // The oldest of all is the oldest of its own list too.
    this.#drop(key, this.#byTask.get(key)!, 1);
  }

  /** Drops the oldest records of a list. */
  #drop(key: string, list: RecordedExec[], count: number): void {
    for (let at = 0; at < count; at += 1) this.#waiting.delete(list[at]!);
    if (count === list.length) this.#byTask.delete(key);
    else list.splice(0, count);
  }
}

function keyOf({ lane, pid }: Pick<RecordedExec, 'lane' | 'pid'>): string {
  return `${lane}:${pid}`;
}

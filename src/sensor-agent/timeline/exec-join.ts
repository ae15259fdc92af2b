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
  #waiting = new Map<string, RecordedExec[]>();
  #count = 0;
  /** The frontier at the last prune: while it stays the same, no record can have become stale. */
  #prunedNs = 0n;

  add(record: RecordedExec): void {
    const key = `${record.lane}:${record.pid}`;
    const list = this.#waiting.get(key);
    if (list) list.push(record);
    else this.#waiting.set(key, [record]);
    this.#count += 1;
    if (this.#count > EXEC_JOIN_RECORDS_MAX) this.#dropOldest();
  }

  /** Takes the record nearest to an exec's time; older records of that pid have no exec left and are dropped. */
  take(lane: number, pid: number, timeNs: bigint): RecordedExec | undefined {
    const key = `${lane}:${pid}`;
    const list = this.#waiting.get(key);
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
    this.#count -= best + 1;
    if (best + 1 === list.length) this.#waiting.delete(key);
    else list.splice(0, best + 1);
    return record;
  }

  /** The records that still wait for their exec. */
  save(): RecordedExec[] {
    return [...this.#waiting.values()].flat();
  }

  /** Drops records whose exec must have passed already. */
  prune(frontierNs: bigint): void {
    // Called with every record: of several records with one frontier only the first has anything to prune.
    if (this.#count === 0 || frontierNs === this.#prunedNs) return;
    this.#prunedNs = frontierNs;
    for (const [key, list] of this.#waiting) {
      let stale = 0;
      while (stale < list.length && list[stale]!.timeNs + EXEC_JOIN_NS_MAX < frontierNs) stale += 1;
      this.#count -= stale;
      if (stale === list.length) this.#waiting.delete(key);
      else if (stale > 0) list.splice(0, stale);
    }
  }

  clear(): void {
    this.#waiting.clear();
    this.#count = 0;
  }

  #dropOldest(): void {
    const [key, list] = this.#waiting.entries().next().value!;
    this.#count -= list.length;
    this.#waiting.delete(key);
  }
}

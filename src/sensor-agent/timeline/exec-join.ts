/**
 * Joins an exec in the pages with what the exec lane read of it. Both instances
 * saw the same tracepoint on the same CPU within microseconds, each with a time
 * of its own: joined by lane, pid and nearest time.
 */
import { EXEC_JOIN_NS_MAX, EXEC_JOIN_RECORDS_MAX } from '../../limits.js';
import type { RecordedExec } from '../recorder/recording.js';

export class ExecJoin {
  /** In order of arrival; the oldest goes first when there are too many. */
  #waiting = new Map<string, RecordedExec[]>();
  #count = 0;
  /** Up to where nothing is stale. */
  #prunedNs = 0n;

  add(record: RecordedExec): void {
    const key = `${record.lane}:${record.pid}`;
    const list = this.#waiting.get(key);
    if (list) list.push(record);
    else this.#waiting.set(key, [record]);
    this.#count += 1;
    if (this.#count > EXEC_JOIN_RECORDS_MAX) this.#dropOldest();
  }

  /** The record of the exec at this time; older ones of that pid belong to nobody and go. */
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

  /** Records of execs that must have passed already belong to nobody. */
  prune(frontierNs: bigint): void {
    // Called with every record: of many that come together only the first may find the frontier changed.
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

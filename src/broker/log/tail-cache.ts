/**
 * The newest frames of every partition, decoded once for all subscriptions near
 * the end. One bound in bytes covers all partitions; the oldest frame is dropped
 * first. What has just come stays for longer, up to a bound of its own: else whoever
 * is a second behind thousands of nodes would have to read the log, and get further
 * behind. Subscriptions further behind read the log.
 */

import { partitionPoint } from '../../flow/partition-point.js';
import type { LogEntry } from './partition-log.js';

/** Estimated memory of one event's decoded columns (numbers and bigints). */
const COLUMN_BYTES = 40;
const ENTRY_BYTES = 512;

export interface TailCacheBounds {
  readonly bytesMax: number;
  /** Of what has come within `newestMs`, in place of the other bound, if it is more. */
  readonly newestBytesMax: () => number;
  readonly newestMs: number;
}

/** Of the oldest, second oldest, ... cached frame: its partition, and when it came. */
interface Kept {
  readonly tail: PartitionTail;
  readonly sinceMs: number;
}

export class TailCache {
  #bytes = 0;
  #order: Kept[] = [];
  #head = 0;

  readonly #bounds: TailCacheBounds;
  readonly #now: () => number;

  /** @param now milliseconds of a clock that is never set */
  constructor(bounds: TailCacheBounds, now: () => number = () => performance.now()) {
    this.#bounds = bounds;
    this.#now = now;
  }

  /** @internal called by PartitionTail only */
  added(tail: PartitionTail, bytes: number): void {
    const nowMs = this.#now();
    this.#bytes += bytes;
    this.#order.push({ tail, sinceMs: nowMs });
    while (this.#head < this.#order.length && this.#isOver(this.#order[this.#head]!, nowMs)) {
      this.#bytes -= this.#order[this.#head++]!.tail.dropOldest();
    }
    if (this.#head > 1024 && this.#head * 2 > this.#order.length) {
      this.#order = this.#order.slice(this.#head);
      this.#head = 0;
    }
  }

  #isOver(oldest: Kept, nowMs: number): boolean {
    const { bytesMax, newestBytesMax, newestMs } = this.#bounds;
    if (this.#bytes <= bytesMax) return false;
    return this.#bytes > newestBytesMax() || nowMs - oldest.sinceMs > newestMs;
  }
}

export class PartitionTail {
  /** Those before the head are undefined, so that what was dropped is free at once. */
  #entries: ({ readonly entry: LogEntry; readonly bytes: number } | undefined)[] = [];
  #head = 0;
  #from: number;

  /** Entries before it are not those of the log any more. */
  #sound = 0;

  readonly #cache: TailCache;

  /** @param from the log's end at this moment; every frame from there on must be passed to add() */
  constructor(cache: TailCache, from: number) {
    this.#cache = cache;
    this.#from = from;
  }

  add(entry: LogEntry): void {
    const bytes = bytesOf(entry);
    this.#entries.push({ entry, bytes });
    this.#cache.added(this, bytes);
  }

  /** Takes what the log has from an offset on up to `from`. */
  prepend(entries: readonly LogEntry[], from: number): void {
    const added = entries.map((entry) => ({ entry, bytes: bytesOf(entry) }));
    this.#entries.splice(Math.max(this.#head, this.#sound), 0, ...added);
    this.#from = from;
    for (const { bytes } of added) this.#cache.added(this, bytes);
  }

  /** Every frame with this offset or a later one is cached. */
  get from(): number {
    return this.#from;
  }

  /** Whether find() can answer for this offset. */
  covers(offset: number): boolean {
    return offset >= this.#from;
  }

  /** Forgets all: the next entry is at this offset or a later one. */
  restart(from: number): void {
    // They stay until they are dropped in their turn, as the cache counts them.
    this.#sound = this.#entries.length;
    this.#from = from;
  }

  /** The first frame of one of the topics at or after the offset. */
  find(offset: number, topics: ReadonlySet<string>): LogEntry | undefined {
    const entries = this.#entries;
    let at = partitionPoint(
      Math.max(this.#head, this.#sound),
      entries.length,
      (index) => entries[index]!.entry.offset < offset,
    );
    while (at < entries.length && !topics.has(entries[at]!.entry.frame.topic)) at++;
    return entries[at]?.entry;
  }

  /** Returns the number of bytes that became free. */
  dropOldest(): number {
    const oldest = this.#entries[this.#head]!;
    if (this.#head >= this.#sound) this.#from = oldest.entry.offset + 1;
    this.#entries[this.#head++] = undefined;
    if (this.#head > 64 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#sound = Math.max(0, this.#sound - this.#head);
      this.#head = 0;
    }
    return oldest.bytes;
  }
}

function bytesOf({ bytes, frame }: LogEntry): number {
  return bytes + frame.count * COLUMN_BYTES + ENTRY_BYTES;
}

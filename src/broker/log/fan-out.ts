/**
 * From partition logs to subscriptions. Each subscription has its own place in
 * each partition; at the tail it reads the shared cache, further back the log.
 * Nobody waits for anybody.
 */
import { SUBSCRIPTION_FRAME_CACHE_BYTES_MAX } from '../../limits.js';
import type { LogItem, PartitionLog, PartitionReader } from './partition-log.js';
import { PartitionTail, TailCache } from './tail-cache.js';

export class FanOut {
  private readonly cache = new TailCache(SUBSCRIPTION_FRAME_CACHE_BYTES_MAX);
  private readonly tails = new Map<PartitionLog, PartitionTail>();
  private readonly waiting = new Map<PartitionLog, Set<() => void>>();

  /** Must be asked for before a log is appended to, so that nothing is missing from it. */
  tail(log: PartitionLog): PartitionTail {
    let tail = this.tails.get(log);
    if (tail === undefined) {
      tail = new PartitionTail(this.cache, log.nextOffset);
      this.tails.set(log, tail);
      const listeners = new Set<() => void>();
      this.waiting.set(log, listeners);
      log.onDeliverable(() => {
        for (const listener of listeners) listener();
      });
    }
    return tail;
  }

  /** @param notify called whenever there may be more to read */
  place(log: PartitionLog, offset: number, notify: () => void): LogPlace {
    const tail = this.tail(log);
    const listeners = this.waiting.get(log)!;
    listeners.add(notify);
    return new LogPlace(log, tail, offset, () => listeners.delete(notify));
  }
}

/** One subscription's place in one partition. */
export class LogPlace {
  /** Everything before it was delivered or passed over: what a cursor may say. */
  delivered: number;
  private reader: PartitionReader | undefined;

  constructor(
    readonly log: PartitionLog,
    private readonly tail: PartitionTail,
    /** What is read next. */
    public offset: number,
    private readonly leave: () => void,
  ) {
    this.delivered = offset;
  }

  /** Frames between here and the log's end, about. */
  get lag(): number {
    return Math.max(0, this.log.deliverableOffset - this.offset);
  }

  /** The next item, or undefined when there is none at this moment. `offset` is behind it already. */
  async next(): Promise<LogItem | undefined> {
    const end = this.log.deliverableOffset;
    if (this.offset >= end) return undefined;
    if (this.tail.covers(this.offset)) {
      this.closeReader();
      const entry = this.tail.find(this.offset);
      // Offsets without a frame are checkpoints.
      if (entry === undefined || entry.offset >= end) {
        this.offset = entry === undefined ? end : Math.min(entry.offset, end);
        return undefined;
      }
      this.offset = entry.offset + 1;
      return entry;
    }
    if (this.reader?.offset !== this.offset) {
      this.closeReader();
      this.reader = this.log.reader(this.offset);
    }
    const item = await this.reader.next();
    // The reader may have passed checkpoints, which are no items.
    if (item === undefined) this.offset = this.reader?.offset ?? this.offset;
    else this.offset = item.kind === 'frame' ? item.offset + 1 : item.offsetTo;
    return item;
  }

  close(): void {
    this.closeReader();
    this.leave();
  }

  private closeReader(): void {
    this.reader?.close();
    this.reader = undefined;
  }
}

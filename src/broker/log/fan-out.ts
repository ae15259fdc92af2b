/**
 * Distributes partition logs to subscriptions. Each log feeds the cached tail of
 * its partition. Each subscription has its own place in each partition: near the
 * end it reads the shared tail, further back the log. No subscription waits for
 * another.
 */
import { SUBSCRIPTION_FRAME_CACHE_BYTES_MAX } from '../../limits.js';
import type { LogItem, PartitionLog, PartitionReader } from './partition-log.js';
import { PartitionTail, TailCache } from './tail-cache.js';

interface Listener {
  readonly topics: ReadonlySet<string>;
  readonly notify: () => void;
}

interface Fed {
  readonly tail: PartitionTail;
  /** Of the places in this partition. */
  readonly listeners: Set<Listener>;
}

/** Of places that are not read. */
const NO_TOPICS: ReadonlySet<string> = new Set();

export class FanOut {
  readonly #cache = new TailCache(SUBSCRIPTION_FRAME_CACHE_BYTES_MAX);
  readonly #fed = new Map<PartitionLog, Fed>();

  /** @param logs all logs; nothing may have been appended since they were opened */
  constructor(logs: Iterable<PartitionLog>) {
    for (const log of logs) {
      const tail = new PartitionTail(this.#cache, log.snapshot().offset);
      const listeners = new Set<Listener>();
      this.#fed.set(log, { tail, listeners });
      log.follow((entry) => {
        tail.add(entry);
        for (const { topics, notify } of listeners) if (topics.has(entry.frame.topic)) notify();
      });
    }
  }

  /** @param notify called whenever there is another frame of the topics to read */
  place(log: PartitionLog, offset: number, topics: ReadonlySet<string>, notify: () => void): LogPlace {
    const { tail, listeners } = this.#fed.get(log)!;
    const listener = { topics, notify };
    listeners.add(listener);
    return new LogPlace(log, tail, topics, offset, () => listeners.delete(listener));
  }

  /** A place at the end of a partition of which nothing is wanted: it stays there, and never has anything to read. */
  idlePlace(log: PartitionLog): LogPlace {
    const { tail } = this.#fed.get(log)!;
    return new LogPlace(log, tail, NO_TOPICS, log.deliverableOffset, () => undefined);
  }
}

/** One subscription's place in one partition. */
export class LogPlace {
  /** Everything before this offset was delivered or passed over, so a cursor may name it. */
  delivered: number;
  #reader: PartitionReader | undefined;
  /** Mark of the item that the reader read last, which ends at `offset`. */
  #readMark: { readonly offset: number; readonly mark: number | undefined } | undefined;

  readonly #tail: PartitionTail;
  readonly #topics: ReadonlySet<string>;
  readonly #leave: () => void;

  constructor(
    readonly log: PartitionLog,
    tail: PartitionTail,
    topics: ReadonlySet<string>,
    /** The next offset to read. */
    public offset: number,
    leave: () => void,
  ) {
    this.#tail = tail;
    this.#topics = topics;
    this.#leave = leave;
    this.delivered = offset;
  }

  /** Approximate number of frames between here and the log's end, of all topics. */
  get lag(): number {
    if (this.#topics === NO_TOPICS) return 0;
    return Math.max(0, this.log.deliverableOffset - this.offset);
  }

  /** See PartitionLog.markBefore. */
  markBefore(offset: number): number | undefined {
    return this.#readMark?.offset === offset ? this.#readMark.mark : this.log.markBefore(offset);
  }

  /** The next item, or undefined when there is none at this moment. `offset` is moved past it. */
  async next(): Promise<LogItem | undefined> {
    const end = this.log.deliverableOffset;
    if (this.offset >= end) return undefined;
    if (this.#tail.covers(this.offset)) {
      this.#closeReader();
      const entry = this.#tail.find(this.offset, this.#topics);
      // Offsets without a frame are checkpoints and notes, or other topics' frames.
      if (entry === undefined || entry.offset >= end) {
        this.offset = entry === undefined ? end : Math.min(entry.offset, end);
        return undefined;
      }
      this.offset = entry.offset + 1;
      return entry;
    }
    if (this.#reader?.offset !== this.offset) {
      this.#closeReader();
      this.#reader = this.log.reader(this.offset, this.#topics);
    }
    const item = await this.#reader.next();
    // The reader may have passed records that are no items.
    if (item === undefined) this.offset = this.#reader?.offset ?? this.offset;
    else this.offset = item.kind === 'frame' ? item.offset + 1 : item.offsetTo;
    if (this.#reader) this.#readMark = { offset: this.offset, mark: this.#reader.mark };
    return item;
  }

  close(): void {
    this.#closeReader();
    this.#leave();
  }

  #closeReader(): void {
    this.#reader?.close();
    this.#reader = undefined;
  }
}

/**
 * The newest frames of every partition, decoded once, for all subscriptions
 * that stand near the end: one bound in bytes over all partitions, the oldest
 * frame out first. Who is further behind reads the log.
 */

import { partitionPoint } from '../../flow/partition-point.js';
import type { Frame } from '../../wire/frame/frame.js';
import type { LogEntry } from './partition-log.js';

/** An event's columns as JavaScript numbers and bigints. */
const COLUMN_BYTES = 40;
const ENTRY_BYTES = 512;

export class TailCache {
  private bytes = 0;
  /** Which partition the oldest, second oldest, ... cached frame belongs to. */
  private order: PartitionTail[] = [];
  private head = 0;

  constructor(private readonly bytesMax: number) {}

  /** @internal called by PartitionTail only */
  added(tail: PartitionTail, bytes: number): void {
    this.bytes += bytes;
    this.order.push(tail);
    while (this.bytes > this.bytesMax && this.head < this.order.length) {
      this.bytes -= this.order[this.head++]!.dropOldest();
    }
    if (this.head > 1024 && this.head * 2 > this.order.length) {
      this.order = this.order.slice(this.head);
      this.head = 0;
    }
  }
}

export class PartitionTail {
  private entries: { readonly entry: LogEntry; readonly bytes: number }[] = [];
  private head = 0;
  /** Every frame with this offset or a later one is cached. */
  private from: number;

  /** @param nextOffset of the log at this moment */
  constructor(
    private readonly cache: TailCache,
    nextOffset: number,
  ) {
    this.from = nextOffset;
  }

  add(offset: number, node: string, frame: Frame, frameBytes: number): void {
    const bytes = frameBytes + frame.count * COLUMN_BYTES + ENTRY_BYTES;
    this.entries.push({
      entry: { kind: 'frame', offset, node, frame, bytes: frameBytes, appendedMs: Date.now() },
      bytes,
    });
    this.cache.added(this, bytes);
  }

  /** Whether find() can answer for this offset. */
  covers(offset: number): boolean {
    return offset >= this.from;
  }

  /** The first frame at or behind the offset. */
  find(offset: number): LogEntry | undefined {
    const { entries } = this;
    return entries[partitionPoint(this.head, entries.length, (at) => entries[at]!.entry.offset < offset)]?.entry;
  }

  /** Returns the bytes that became free. */
  dropOldest(): number {
    const oldest = this.entries[this.head++]!;
    this.from = oldest.entry.offset + 1;
    if (this.head > 64 && this.head * 2 > this.entries.length) {
      this.entries = this.entries.slice(this.head);
      this.head = 0;
    }
    return oldest.bytes;
  }
}

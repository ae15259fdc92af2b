/**
 * A log of documents: events that are born in the broker and that no recorder has. Each batch is one record, which is on
 * the disk before anybody is told of it. The log has a bound of its own in bytes and age, so that whoever fills it pushes
 * nothing out but the oldest of the same log.
 */
import { Turns } from '../../../flow/turns.js';
import { DOCUMENT_CACHE_BYTES_MAX, LOG_SEGMENT_BYTES, LOG_SEGMENTS_MIN } from '../../../limits.js';
import { nsToMs, wallNowNs } from '../../../nanoseconds.js';
import type { FileOps } from '../../../storage/file-ops.js';
import type { LogReader } from '../../../storage/segment-log/log-reader.js';
import { type NewRecord, SegmentLog } from '../../../storage/segment-log/segment-log.js';
import { type DocumentLogName, EVERY_APP_TOPIC } from '../../../wire/event/document-topics.js';
import { hasMark } from '../has-mark.js';
import {
  batchKind,
  batchSize,
  DocumentBatch,
  decodeBatch,
  decodeHead,
  encodeBatch,
  encodeHead,
  HEAD_RECORD,
  type Head,
  isBatchKind,
  type NewBatch,
} from './document-batch.js';
import { type TopicEnd, TopicEnds } from './topic-ends.js';

export interface DocumentLogOptions {
  readonly name: DocumentLogName;
  readonly dir: string;
  readonly bytesMax: number;
  readonly ageMsMax: number;
  /** On a full disk the oldest of this log is deleted; else it is kept, and the batch is refused. */
  readonly givesWay: boolean;
  readonly files?: FileOps | undefined;
}

export type DocumentItem =
  | { readonly kind: 'batch'; readonly batch: DocumentBatch }
  /** Batches that retention removed before they were read, or that cannot be read; their topics are unknown. */
  | { readonly kind: 'expired' | 'damaged'; readonly offsetFrom: number; readonly offsetTo: number };

export interface DocumentReader {
  /** The offset that is read next. */
  readonly offset: number;
  /** The next item below `end`, or undefined where there is none (yet). */
  next(end: number): Promise<DocumentItem | undefined>;
  close(): void;
}

export class DocumentLog {
  readonly name: DocumentLogName;
  /** Names the events of this log together with their offsets: a new log has another. */
  readonly epoch: number;
  readonly #log: SegmentLog;
  #lastNs = 0n;
  /** Of all that was appended. */
  readonly #ends: TopicEnds;
  /** Of what retention took, by the offset at which the rest begins. */
  #taken: { readonly before: number; readonly ends: TopicEnds } | undefined;
  /** Since this was opened. */
  readonly stored = { batches: 0, events: 0 };
  /** Written, and not told to followers yet. */
  #untold: DocumentBatch[] = [];
  readonly #followers = new Set<(batch: DocumentBatch) => void>();
  /** The newest batches, by offset. */
  readonly #cached = new Map<number, DocumentBatch>();
  #cachedBytes = 0;

  /** Throws as SegmentLog.open does. */
  constructor(options: DocumentLogOptions) {
    this.name = options.name;
    this.#log = SegmentLog.open({
      dir: options.dir,
      bytesMax: options.bytesMax,
      segmentBytesMax: Math.min(LOG_SEGMENT_BYTES, Math.floor(options.bytesMax / LOG_SEGMENTS_MIN)),
      ageMsMax: options.ageMsMax,
      ordered: true,
      head: () => [this.#head()],
      ...(options.files === undefined ? {} : { files: options.files }),
      ...(options.givesWay ? {} : { onFull: () => false }),
    });
    this.epoch = this.#storedEpoch() ?? Math.floor(Date.now() / 1000);
    this.#ends = this.#storedEnds();
    this.#lastNs = this.#log.segments().at(-1)?.lastTimeNs ?? 0n;
  }

  get firstOffset(): number {
    return this.#log.firstOrdinal;
  }

  /** Readers see only batches below it: they are durable. */
  get deliverableOffset(): number {
    return this.#log.durableOrdinal;
  }

  /** Something was written that is not on the disk yet. */
  get pending(): boolean {
    return this.#untold.length > 0;
  }

  get bytes(): number {
    return this.#log.bytes;
  }

  /**
   * The last batch that retention took of a topic, or of all where the pattern `app.*` is given; undefined where it took
   * none.
   */
  taken(topic: string): TopicEnd | undefined {
    const { firstOffset } = this;
    if (firstOffset === 0) return undefined;
    if (this.#taken?.before !== firstOffset) this.#taken = { before: firstOffset, ends: this.#endsAt(firstOffset) };
    const { ends } = this.#taken;
    return topic === EVERY_APP_TOPIC ? ends.last : ends.of(topic);
  }

  /** Time of the oldest batch, milliseconds since 1970; undefined where there is none. */
  get oldestMs(): number | undefined {
    const { firstTimeNs } = this.#log;
    return firstTimeNs === undefined ? undefined : nsToMs(firstTimeNs);
  }

  /**
   * Writes a batch; `durable` resolves once it is on the disk, and rejects with unavailable where the disk cannot promise
   * it. Throws resource_exhausted when the disk is full, unavailable when it fails: then nothing was written.
   */
  append(batch: NewBatch): { readonly offset: number; readonly durable: Promise<void> } {
    const nowNs = wallNowNs();
    // A clock that was set back must not disturb the order of times, by which windows are found.
    this.#lastNs = nowNs > this.#lastNs ? nowNs : this.#lastNs + 1n;
    const timeNs = this.#lastNs;
    const offset = this.#log.append({ kind: batchKind(batch.topic), timeNs, parts: [encodeBatch(batch)] });
    const events = batch.documents.length;
    this.#ends.note(batch.topic, { offset, timeNs, events });
    this.stored.batches++;
    this.stored.events += events;
    this.#untold.push(new DocumentBatch(batch, this.epoch, offset, timeNs, this.#log.crc(offset) || undefined));
    return { offset, durable: this.settled() };
  }

  /** Resolves when all that was written before is durable, and those who follow were told. */
  async settled(): Promise<void> {
    if (this.#log.durableOrdinal < this.#log.nextOrdinal || this.#log.failed) await this.#log.sync();
    const end = this.deliverableOffset;
    while (this.#untold.length > 0 && this.#untold[0]!.offset < end) {
      const batch = this.#untold.shift()!;
      this.#keep(batch);
      for (const follower of this.#followers) follower(batch);
    }
  }

  /** Calls `listener` with every later batch as soon as it can be read, until the returned function is called. */
  follow(listener: (batch: DocumentBatch) => void): () => void {
    this.#followers.add(listener);
    return () => this.#followers.delete(listener);
  }

  /** Offset before which every batch is older than a time, as near as the index knows. */
  offsetAt(timeNs: bigint): number {
    return this.#log.ordinalAt(timeNs);
  }

  /** See PartitionLog.markBefore. */
  markBefore(offset: number): number | undefined {
    return this.#log.crc(offset - 1) || undefined;
  }

  /** False when the record before the offset has another checksum, or there is none where one should be. */
  hasMark(offset: number, mark: number): boolean {
    return hasMark(this.#log, offset, mark);
  }

  /** @param topics undefined for all of them; a topic that was not named may come all the same */
  reader(fromOffset: number, topics: readonly string[] | undefined): DocumentReader {
    const kinds = topics && new Set(topics.map(batchKind));
    const wants = (kind: number) => (kinds === undefined ? isBatchKind(kind) : kinds.has(kind));
    const reader = this.#log.reader(fromOffset, wants);
    return {
      get offset() {
        return reader.ordinal;
      },
      next: async (end) => {
        const turns = new Turns();
        while (reader.ordinal < Math.min(end, this.deliverableOffset)) {
          // Other topics' records are passed over here, possibly very many.
          if (turns.over) await turns.give();
          const item = this.#read(reader, wants);
          if (item !== undefined) return item;
        }
        return undefined;
      },
      close: () => reader.close(),
    };
  }

  /** The batch at an offset, if it is one of the newest and can be read. */
  cached(offset: number): DocumentBatch | undefined {
    return this.#cached.get(offset);
  }

  /** All batches that are not older than a time, oldest first; call it before anything else is appended. */
  *since(timeNs: bigint): Generator<DocumentBatch> {
    const reader = this.#log.reader(this.#log.ordinalAt(timeNs), isBatchKind);
    try {
      while (reader.ordinal < this.#log.nextOrdinal) {
        const item = this.#read(reader, isBatchKind);
        if (item?.kind === 'batch' && item.batch.timeNs >= timeNs) yield item.batch;
      }
    } finally {
      reader.close();
    }
  }

  /** See SegmentLog. */
  checkPlace(): void {
    this.#log.checkPlace();
  }

  enforceRetention(): void {
    this.#log.enforceRetention();
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  /** Undefined for a record that is passed over. */
  #read(reader: LogReader, wants: (kind: number) => boolean): DocumentItem | undefined {
    const item = reader.next();
    if (item === undefined) return undefined;
    if (item.kind !== 'record') {
      const { ordinalFrom: offsetFrom, ordinalTo: offsetTo } = item;
      return { kind: item.kind === 'evicted' ? 'expired' : 'damaged', offsetFrom, offsetTo };
    }
    const { ordinal, recordKind, timeNs, crc } = item;
    if (!wants(recordKind)) return undefined;
    const cached = this.#cached.get(ordinal);
    if (cached !== undefined) return { kind: 'batch', batch: cached };
    try {
      return { kind: 'batch', batch: new DocumentBatch(decodeBatch(item.payload), this.epoch, ordinal, timeNs, crc) };
    } catch {
      return { kind: 'damaged', offsetFrom: ordinal, offsetTo: ordinal + 1 };
    }
  }

  #keep(batch: DocumentBatch): void {
    this.#cached.set(batch.offset, batch);
    this.#cachedBytes += batch.bytes;
    for (const [offset, oldest] of this.#cached) {
      if (this.#cachedBytes <= DOCUMENT_CACHE_BYTES_MAX) break;
      this.#cached.delete(offset);
      this.#cachedBytes -= oldest.bytes;
    }
  }

  /** Of the same time as the batch that begins the segment. */
  #head(): NewRecord {
    return { kind: HEAD_RECORD, timeNs: this.#lastNs, parts: encodeHead(this.epoch, this.#ends) };
  }

  #storedEpoch(): number | undefined {
    for (const { firstOrdinal } of this.#log.segments().reverse()) {
      const epoch = this.#headAt(firstOrdinal)?.epoch;
      if (epoch !== undefined) return epoch;
    }
    return undefined;
  }

  /** What the newest segment began with, and its batches. */
  #storedEnds(): TopicEnds {
    const newest = this.#log.segments().at(-1);
    if (newest === undefined) return new TopicEnds();
    const ends = this.#endsAt(newest.firstOrdinal);
    const reader = this.#log.reader(newest.firstOrdinal, isBatchKind);
    try {
      for (let item = reader.next(); item !== undefined; item = reader.next()) {
        if (item.kind !== 'record' || !isBatchKind(item.recordKind)) continue;
        const { ordinal: offset, timeNs } = item;
        const { topic, events } = batchSize(item.payload);
        ends.note(topic, { offset, timeNs, events });
      }
    } finally {
      reader.close();
    }
    return ends;
  }

  /** What a segment began with; where that cannot be known, any topic may have had the batch before. */
  #endsAt(firstOrdinal: number): TopicEnds {
    const segment = this.#log.segments().find((each) => each.firstOrdinal === firstOrdinal);
    return this.#headAt(firstOrdinal)?.ends ?? TopicEnds.before(firstOrdinal, segment?.firstTimeNs ?? this.#lastNs);
  }

  #headAt(ordinal: number): Head | undefined {
    const reader = this.#log.reader(ordinal, (kind) => kind === HEAD_RECORD);
    try {
      const item = reader.next();
      return item?.kind === 'record' && item.recordKind === HEAD_RECORD ? decodeHead(item.payload) : undefined;
    } finally {
      reader.close();
    }
  }
}

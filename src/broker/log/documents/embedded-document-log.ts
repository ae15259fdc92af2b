/** A log of documents in segment files of one broker. A batch is one record, which is on the disk before anybody is told. */
import { cursorInvalid } from '../../../errors.js';
import { Turns } from '../../../flow/turns.js';
import { LOG_SEGMENT_BYTES, LOG_SEGMENTS_MIN } from '../../../limits.js';
import { msToNs, nsToMs, wallNowNs } from '../../../nanoseconds.js';
import type { FileOps } from '../../../storage/file-ops.js';
import type { LogReader } from '../../../storage/segment-log/log-reader.js';
import { type NewRecord, SegmentLog } from '../../../storage/segment-log/segment-log.js';
import { type DocumentLogName, EVERY_APP_TOPIC } from '../../../wire/event/document-topics.js';
import { hasMark } from '../has-mark.js';
import { BatchCache } from './batch-cache.js';
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
import type { Appended, DocumentFollower, DocumentItem, DocumentLog, DocumentReader } from './document-log.js';
import { type IdWindows, KnownIds, longestWindowMs } from './known-ids.js';
import { type TopicEnd, TopicEnds } from './topic-ends.js';

export interface EmbeddedDocumentLogOptions {
  readonly name: DocumentLogName;
  readonly dir: string;
  readonly bytesMax: number;
  readonly ageMsMax: number;
  /** On a full disk the oldest of this log is deleted; else it is kept, and the batch is refused. */
  readonly givesWay: boolean;
  /** Documents whose ids are known are not stored again; undefined where they have no ids. */
  readonly ids?: IdWindows | undefined;
  readonly files?: FileOps | undefined;
}

export class EmbeddedDocumentLog implements DocumentLog {
  readonly name: DocumentLogName;
  readonly epoch: number;
  readonly trouble = undefined;
  readonly #log: SegmentLog;
  #lastNs = 0n;
  /** Of all that was appended. */
  readonly #ends: TopicEnds;
  /** Of what retention took, by the offset at which the rest begins. */
  #taken: { readonly before: number; readonly ends: TopicEnds } | undefined;
  readonly stored = { batches: 0, events: 0 };
  /** Written, and not told to followers yet. */
  #untold: DocumentBatch[] = [];
  readonly #followers = new Set<DocumentFollower>();
  readonly #cache = new BatchCache();
  readonly #ids: KnownIds | undefined;

  /** Throws as SegmentLog.open does. */
  constructor(options: EmbeddedDocumentLogOptions) {
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
    const { ids } = options;
    this.#ids = ids && new KnownIds(ids.windowOf);
    if (ids !== undefined) this.#rememberIds(longestWindowMs(ids, options.name));
  }

  get firstOffset(): number {
    return this.#log.firstOrdinal;
  }

  get deliverableOffset(): number {
    return this.#log.durableOrdinal;
  }

  get pending(): boolean {
    return this.#untold.length > 0;
  }

  get bytes(): number {
    return this.#log.bytes;
  }

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

  /** See DocumentLog.append: it is written at once, and safe once it is on the disk. */
  async append(batch: NewBatch): Promise<Appended> {
    const { fresh, knownAt } = this.#ids?.fresh(batch, Date.now()) ?? { fresh: batch.documents, knownAt: 0 };
    const duplicates = batch.documents.length - fresh.length;
    const offset = fresh.length === 0 ? knownAt : this.#write({ ...batch, documents: fresh });
    // What a duplicate repeats may not be on the disk yet: it is acknowledged no earlier.
    await this.settled();
    return { offset, duplicates };
  }

  #write(batch: NewBatch): number {
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
    this.#ids?.take(batch, offset, Date.now());
    return offset;
  }

  async settled(): Promise<void> {
    if (this.#log.durableOrdinal < this.#log.nextOrdinal || this.#log.failed) await this.#log.sync();
    const end = this.deliverableOffset;
    while (this.#untold.length > 0 && this.#untold[0]!.offset < end) {
      const batch = this.#untold.shift()!;
      this.#cache.keep(batch);
      for (const { stored } of this.#followers) stored(batch);
    }
  }

  follow(follower: DocumentFollower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  async offsetAt(timeNs: bigint): Promise<number> {
    return this.#log.ordinalAt(timeNs);
  }

  markBefore(offset: number): number | undefined {
    return this.#log.crc(offset - 1) || undefined;
  }

  async reached(offset: number): Promise<void> {
    if (offset <= this.deliverableOffset) return;
    throw cursorInvalid(`cursor names offset ${offset} of the log of ${this.name}, which does not exist`);
  }

  async hasMark(offset: number, mark: number): Promise<boolean> {
    return hasMark(this.#log, offset, mark);
  }

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

  cached(offset: number): DocumentBatch | undefined {
    return this.#cache.at(offset);
  }

  /** Ids of all batches that are not older than this. */
  #rememberIds(ageMs: number): void {
    const sinceNs = wallNowNs() - msToNs(ageMs);
    const reader = this.#log.reader(this.#log.ordinalAt(sinceNs), isBatchKind);
    try {
      while (reader.ordinal < this.#log.nextOrdinal) {
        const item = this.#read(reader, isBatchKind);
        if (item?.kind !== 'batch' || item.batch.timeNs < sinceNs) continue;
        this.#ids?.take(item.batch, item.batch.offset, nsToMs(item.batch.timeNs));
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
    const cached = this.#cache.at(ordinal);
    if (cached !== undefined) return { kind: 'batch', batch: cached };
    try {
      return { kind: 'batch', batch: new DocumentBatch(decodeBatch(item.payload), this.epoch, ordinal, timeNs, crc) };
    } catch {
      return { kind: 'damaged', offsetFrom: ordinal, offsetTo: ordinal + 1 };
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

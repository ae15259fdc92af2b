/**
 * The records of a log of documents, and the batches in them. A batch is one record, so that a crash leaves all of it or
 * nothing; on NATS it is one message, of the same bytes.
 *
 *   Batch record (kind 16 to 255, by topic) := node 1 | topic 2 | document 3 * | by 4
 *   document                                := type 1 | id 2 | key 3 | part 4
 *   Head record (kind 1)                    := epoch u64 | Ends ?        (see topic-ends.ts)
 *
 * The kind is made of the topic's name, so that a reader of one topic passes over most records of others without reading
 * them. Each segment begins with a head: the epoch that names its events for as long as the log exists, and the last batch of
 * each topic before it, which heads of earlier versions lack.
 */
import { crc32 } from 'node:zlib';
import { type DocumentPart, decodePart, documentElement } from '../../../wire/event/document-event.js';
import type { BusEvent } from '../../../wire/event/event.js';
import type { Position } from '../../../wire/position.js';
import { LENGTH, ProtoReader, ProtoWriter, varintBytes } from '../../../wire/protobuf.js';
import { TopicEnds } from './topic-ends.js';

export const HEAD_RECORD = 1;
const BATCH_RECORD_MIN = 16;
const NOTHING: Buffer = Buffer.alloc(0);
const EPOCH_BYTES = 8;
const BATCH_KINDS = 256 - BATCH_RECORD_MIN;

export interface Document {
  /** The event's type. */
  readonly type: string;
  /** Empty where it has none. */
  readonly id: string;
  /** Empty: the node stands for it. */
  readonly key: string;
  /** Encoded: see document-event.ts. */
  readonly part: Buffer;
}

/** Documents of one publisher and topic, stored whole or not at all. */
export interface NewBatch {
  /** `@` and the publisher. */
  readonly node: string;
  readonly topic: string;
  readonly documents: readonly Document[];
  /** The kind of the publisher's identity: two of different kinds may have one name. Empty: the broker itself. */
  readonly by: string;
}

/** A stored batch, whose events are encoded and decoded once for all who read it. */
export class DocumentBatch implements NewBatch {
  readonly node: string;
  readonly topic: string;
  readonly documents: readonly Document[];
  readonly by: string;
  readonly #events: BusEvent[] = [];
  readonly #elements: Buffer[] = [];
  readonly #epoch: number;

  constructor(
    batch: NewBatch,
    epoch: number,
    /** The record's place in the log. */
    readonly offset: number,
    /** When it was stored: wall nanoseconds, later than those of every batch before. */
    readonly timeNs: bigint,
    /** By it a cursor recognises the log behind this batch; undefined where it is not known. */
    readonly mark: number | undefined,
    /** Indices of documents that were stored before under the same id: all readers pass them over. */
    readonly repeated: readonly number[] = [],
  ) {
    this.node = batch.node;
    this.topic = batch.topic;
    this.documents = batch.documents;
    this.by = batch.by;
    this.#epoch = epoch;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Estimated memory, decoded. */
  get bytes(): number {
    return this.documents.reduce(
      (sum, { part, id, type, key }) => sum + 3 * part.length + id.length + type.length + key.length + 512,
      256,
    );
  }

  repeats(index: number): boolean {
    return this.repeated.includes(index);
  }

  position(index: number): Position {
    return { epoch: this.#epoch, timeNs: BigInt(this.offset), lane: 0, tie: index };
  }

  /** As filters evaluate it. */
  event(index: number): BusEvent {
    this.#events[index] ??= this.#decoded(index);
    return this.#events[index]!;
  }

  /** As it is delivered: one element of EventBatch.events. */
  element(index: number): Buffer {
    const { type, part } = this.documents[index]!;
    this.#elements[index] ??= documentElement(type, this.timeNs, this.position(index), part);
    return this.#elements[index]!;
  }

  #decoded(index: number): BusEvent {
    const { type, part } = this.documents[index]!;
    const { topic, node, timeNs: wallNs } = this;
    const parts: DocumentPart = decodePart(part);
    return { type, topic, node, wallNs, position: this.position(index), ...parts };
  }
}

/** Kind of the records of a topic; others may have the same. */
export function batchKind(topic: string): number {
  return BATCH_RECORD_MIN + (crc32(topic) % BATCH_KINDS);
}

export function isBatchKind(kind: number): boolean {
  return kind >= BATCH_RECORD_MIN;
}

export function encodeBatch({ node, topic, documents, by }: NewBatch): Buffer {
  const inner = documents.map(documentBytes);
  const size = inner.reduce((sum, bytes) => sum + fieldBytes(bytes), 0);
  const writer = new ProtoWriter(size + textBytes(node) + textBytes(topic) + textBytes(by));
  writer.stringField(1, node);
  writer.stringField(2, topic);
  for (const [at, { type, id, key, part }] of documents.entries()) {
    writer.tag(3, LENGTH);
    writer.varint(inner[at]!);
    writer.stringField(1, type);
    writer.stringField(2, id);
    writer.stringField(3, key);
    writer.bytesField(4, part);
  }
  writer.stringField(4, by);
  return writer.finish();
}

function documentBytes({ type, id, key, part }: Document): number {
  return textBytes(type) + textBytes(id) + textBytes(key) + (part.length === 0 ? 0 : fieldBytes(part.length));
}

function textBytes(text: string): number {
  return text === '' ? 0 : fieldBytes(Buffer.byteLength(text));
}

function fieldBytes(length: number): number {
  return 1 + varintBytes(length) + length;
}

/** Copies out of `payload`. The record's checksum was verified. */
export function decodeBatch(payload: Buffer): NewBatch {
  const reader = new ProtoReader(Buffer.from(payload), 'document record');
  const documents: Document[] = [];
  let node = '';
  let topic = '';
  let by = '';
  while (reader.nextTag()) {
    if (reader.field === 1) node = reader.chunk().toString('utf8');
    else if (reader.field === 2) topic = reader.chunk().toString('utf8');
    else if (reader.field === 3) documents.push(decodeDocument(reader.chunk()));
    else if (reader.field === 4) by = reader.chunk().toString('utf8');
    else reader.skip();
  }
  return { node, topic, documents, by };
}

function decodeDocument(bytes: Buffer): Document {
  const reader = new ProtoReader(bytes, 'document');
  const document: { -readonly [K in keyof Document]: Document[K] } = { type: '', id: '', key: '', part: NOTHING };
  while (reader.nextTag()) {
    if (reader.field === 1) document.type = reader.chunk().toString('utf8');
    else if (reader.field === 2) document.id = reader.chunk().toString('utf8');
    else if (reader.field === 3) document.key = reader.chunk().toString('utf8');
    else if (reader.field === 4) document.part = reader.chunk();
    else reader.skip();
  }
  return document;
}

/** Topic and number of events of a batch, without decoding it. */
export function batchSize(payload: Buffer): { readonly topic: string; readonly events: number } {
  const reader = new ProtoReader(payload, 'document record');
  let topic = '';
  let events = 0;
  while (reader.nextTag()) {
    if (reader.field === 2) topic = reader.chunk().toString('utf8');
    else {
      if (reader.field === 3) events++;
      reader.skip();
    }
  }
  return { topic, events };
}

export interface Head {
  readonly epoch: number;
  /** Undefined where an earlier version wrote it. */
  readonly ends: TopicEnds | undefined;
}

export function encodeHead(epoch: number, ends: TopicEnds): Buffer[] {
  const bytes = Buffer.alloc(EPOCH_BYTES);
  bytes.writeBigUInt64LE(BigInt(epoch));
  return [bytes, ends.encode()];
}

/** Undefined where it has none. */
export function decodeHead(payload: Buffer): Head | undefined {
  if (payload.length < EPOCH_BYTES) return undefined;
  return { epoch: Number(payload.readBigUInt64LE()), ends: TopicEnds.decode(payload.subarray(EPOCH_BYTES)) };
}

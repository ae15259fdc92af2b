/**
 * What the messages of a stream of documents say, taken one after the other. All brokers take the same in the same order by
 * the same rule, so that all know the same: when each batch was stored, and which of its documents repeat an id.
 */
import {
  DOCUMENT_MESSAGE_IDS_MAX,
  DOCUMENTS_LATE_MAX,
  DOCUMENTS_REPEATED_MAX,
  LOG_DAMAGES_MAX,
} from '../../../limits.js';
import { msToNs, nsToMs } from '../../../nanoseconds.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import type { Missing } from '../jetstream/partition-fold.js';
import { Marks, markOf } from '../tail/marks.js';
import { BatchCache } from './batch-cache.js';
import { DocumentBatch } from './document-batch.js';
import {
  type DocumentCheckpoint,
  type DocumentStanding,
  documentCheckpoint,
  type LateStretch,
  readDocumentCheckpoint,
} from './document-checkpoint.js';
import { messageIdOf, readPayload } from './document-message.js';
import type { DocumentSubjects } from './document-streams.js';
import { type IdWindows, KnownIds } from './known-ids.js';
import { TopicEnds } from './topic-ends.js';

/** A batch that was taken. */
export interface TakenBatch {
  readonly batch: DocumentBatch;
  /** Of its message. */
  readonly id: string;
  /** Of the last batch that it repeats something of; its own where it repeats nothing. */
  readonly knownAt: number;
}

export interface FoldOptions {
  readonly subjects: DocumentSubjects;
  readonly epoch: number;
  readonly ids: IdWindows | undefined;
  /** How far back ids are remembered. */
  readonly windowMs: number;
}

export class DocumentFold {
  readonly marks = new Marks();
  readonly cache = new BatchCache();
  readonly ids: KnownIds | undefined;
  readonly ends: TopicEnds;
  /** The sequence that is due next. */
  next: number;
  /** Oldest first. */
  checkpoints: readonly DocumentCheckpoint[];
  missing: readonly Missing[] = [];
  /** Bytes since the newest checkpoint. */
  bytesSince = 0;
  /** When the first batch since then was taken, by performance.now(); undefined where there is none. */
  sinceMs: number | undefined;
  #lastNs: bigint;
  /** Of what is before it, times and repetitions are known from a checkpoint. */
  readonly #knownTo: number;
  readonly #repeated: Map<number, readonly number[]>;
  #repeatedCount = 0;
  readonly #late: LateStretch[];
  /** Of the newest messages, by their ids: a message that was sent twice may be stored twice. */
  readonly #messages = new Map<string, number>();
  readonly #subjects: DocumentSubjects;
  readonly #epoch: number;

  /**
   * @param checkpoints all that there are, oldest first
   * @param first the stream's first sequence, and when it was stored
   */
  constructor(
    { subjects, epoch, ids, windowMs }: FoldOptions,
    checkpoints: readonly DocumentCheckpoint[],
    first: { readonly sequence: number; readonly timeNs: bigint },
  ) {
    this.#subjects = subjects;
    this.#epoch = epoch;
    this.ids = ids && new KnownIds(ids.windowOf);
    this.checkpoints = checkpoints;
    const newest = checkpoints.at(-1);
    // Ids are needed from before what the newest checkpoint says of repetitions.
    const from = checkpoints.findLast(
      ({ lastNs }) => newest !== undefined && lastNs <= newest.lastNs - msToNs(windowMs),
    );
    const known = newest && readDocumentCheckpoint(newest);
    const begin = from && readDocumentCheckpoint(from);
    this.#knownTo = known?.before ?? 0;
    this.#repeated = new Map(known?.repeated);
    for (const { length } of this.#repeated.values()) this.#repeatedCount += length;
    this.#late = [...(known?.late ?? [])];
    this.next = Math.max(begin?.before ?? 1, first.sequence, 1);
    this.#lastNs = begin?.lastNs ?? 0n;
    const isWhole = this.next === (begin?.before ?? 1);
    this.ends = isWhole ? (begin?.ends ?? new TopicEnds()) : TopicEnds.before(this.next, first.timeNs);
  }

  get standing(): DocumentStanding {
    const { next: before, ends } = this;
    return { before, lastNs: this.#lastNs, ends, repeated: this.#repeated, late: this.#late };
  }

  /** Takes the next message; undefined for what is no batch. */
  take(message: StoredMessage): TakenBatch | undefined {
    const { sequence, subject, data, headers } = message;
    // A new consumer begins where the one before it may have gone on.
    if (sequence < this.next) return undefined;
    if (sequence > this.next) this.#miss({ from: this.next, to: sequence, message: 'the stream does not have it' });
    this.next = sequence + 1;
    this.marks.set(sequence, markOf(subject, message.timeNs));
    this.#grow(message);
    this.bytesSince += subject.length + data.length;
    if (subject === this.#subjects.checkpoint) this.#takeCheckpoint(documentCheckpoint(sequence, headers, data));
    if (!this.#subjects.isBatch(subject)) return undefined;
    this.sinceMs ??= performance.now();
    const taken = this.#batch(message);
    if (taken === undefined) {
      this.#miss({ from: sequence, to: sequence + 1, message: 'its batch cannot be read' });
      return undefined;
    }
    const { topic, documents } = taken.batch;
    this.ends.note(topic, { offset: sequence, timeNs: this.#lastNs, events: documents.length });
    this.cache.keep(taken.batch);
    return taken;
  }

  /** A batch as it was taken before; undefined where it cannot be read. */
  read({ sequence, subject, timeNs, data, headers }: StoredMessage): DocumentBatch | undefined {
    const cached = this.cache.at(sequence);
    if (cached !== undefined) return cached;
    const batch = readPayload(data, headers);
    const mark = markOf(subject, timeNs);
    const repeated = this.#repeated.get(sequence);
    return batch && new DocumentBatch(batch, this.#epoch, sequence, this.timeOf(sequence, timeNs), mark, repeated);
  }

  /** @param serverNs when the server says that it stored the message */
  timeOf(sequence: number, serverNs: bigint): bigint {
    const stretch = this.#late.find(({ from, to }) => from <= sequence && sequence < to);
    return stretch === undefined ? serverNs : stretch.timeNs + BigInt(sequence - stretch.from);
  }

  /** The stream begins here now. */
  forget(first: number): void {
    this.checkpoints = this.checkpoints.filter(({ sequence }) => sequence >= first);
  }

  /** Windows are found by times, so they grow, whatever the servers' clocks do. */
  #grow({ sequence, timeNs }: StoredMessage): void {
    if (sequence < this.#knownTo) {
      this.#lastNs = this.timeOf(sequence, timeNs);
      return;
    }
    if (timeNs > this.#lastNs) {
      this.#lastNs = timeNs;
      return;
    }
    this.#lastNs++;
    const stretch = this.#late.at(-1);
    if (stretch?.to === sequence) stretch.to++;
    else this.#late.push({ from: sequence, to: sequence + 1, timeNs: this.#lastNs });
    if (this.#late.length > DOCUMENTS_LATE_MAX) this.#late.shift();
  }

  #takeCheckpoint(checkpoint: DocumentCheckpoint | undefined): void {
    if (checkpoint === undefined) return;
    this.bytesSince = 0;
    this.sinceMs = undefined;
    if (checkpoint.sequence > (this.checkpoints.at(-1)?.sequence ?? 0))
      this.checkpoints = [...this.checkpoints, checkpoint];
  }

  #batch({ sequence, subject, timeNs, data, headers }: StoredMessage): TakenBatch | undefined {
    const batch = readPayload(data, headers);
    if (batch === undefined) return undefined;
    const id = messageIdOf(headers);
    const { known, knownAt } = this.#repetition(batch, id, sequence);
    const repeated = sequence < this.#knownTo ? (this.#repeated.get(sequence) ?? []) : known;
    if (repeated.length > 0) this.#noteRepeated(sequence, repeated);
    const mark = markOf(subject, timeNs);
    return {
      batch: new DocumentBatch(batch, this.#epoch, sequence, this.#lastNs, mark, repeated),
      id,
      knownAt: repeated.length < batch.documents.length ? sequence : knownAt,
    };
  }

  /** Which documents were stored before. */
  #repetition(batch: Parameters<KnownIds['take']>[0], id: string, sequence: number) {
    const before = this.#messages.get(id);
    if (before !== undefined) return { known: [...batch.documents.keys()], knownAt: before };
    if (id !== '') this.#messages.set(id, sequence);
    if (this.#messages.size > DOCUMENT_MESSAGE_IDS_MAX) this.#messages.delete(this.#messages.keys().next().value!);
    return this.ids?.take(batch, sequence, nsToMs(this.#lastNs)) ?? { known: [], knownAt: sequence };
  }

  #noteRepeated(sequence: number, repeated: readonly number[]): void {
    if (this.#repeated.has(sequence)) return;
    this.#repeated.set(sequence, repeated);
    this.#repeatedCount += repeated.length;
    for (const [oldest, { length }] of this.#repeated) {
      if (this.#repeatedCount <= DOCUMENTS_REPEATED_MAX) return;
      this.#repeated.delete(oldest);
      this.#repeatedCount -= length;
    }
  }

  #miss(missing: Missing): void {
    this.missing = [...this.missing, missing].slice(-LOG_DAMAGES_MAX);
  }
}

/** A log of documents on a stream of NATS JetStream, which the brokers of a cluster share. Offsets are its sequences. */
import type { StreamInfo } from '@nats-io/jetstream';
import { BackplaneError, cursorInvalid } from '../../../errors.js';
import { DOCUMENT_CHECKPOINTS, LOG_STREAM_LOOK_MS, NATS_REQUEST_MS } from '../../../limits.js';
import { type DocumentLogName, EVERY_APP_TOPIC } from '../../../wire/event/document-topics.js';
import { timeNsOf } from '../../../wire/typed/json-values.js';
import type { NatsLink } from '../../nats/nats-link.js';
import type { ReaderTimes } from '../../nats/ordered-reader.js';
import { checkStream, NATS_NS_PER_MS } from '../../nats/stream-form.js';
import { checkHeard, madeStream, storedMessage, streamInfo } from '../../nats/stream-leader.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import type { AppendBounds } from '../jetstream/appender.js';
import type { CatchUpTurns } from '../jetstream/catch-up-turns.js';
import { scanStream } from '../jetstream/scan.js';
import { markAt } from '../tail/marks.js';
import { StreamTail } from '../tail/stream-tail.js';
import { DocumentAppender } from './document-appender.js';
import type { DocumentBatch, NewBatch } from './document-batch.js';
import {
  type DocumentCheckpoint,
  documentCheckpoint,
  encodeDocumentCheckpoint,
  readDocumentCheckpoint,
} from './document-checkpoint.js';
import { DocumentFold } from './document-fold.js';
import type { Appended, DocumentFollower, DocumentLog, DocumentReader } from './document-log.js';
import { DocumentSubjects, documentForm, documentStream } from './document-streams.js';
import { JetStreamDocumentReader } from './jetstream-document-reader.js';
import { type IdWindows, longestWindowMs } from './known-ids.js';
import { type TopicEnd, TopicEnds } from './topic-ends.js';

export interface JetStreamDocumentLogOptions {
  readonly name: DocumentLogName;
  readonly cluster: string;
  readonly link: NatsLink;
  /** Documents whose ids are known are passed over; undefined where they have no ids. */
  readonly ids?: IdWindows | undefined;
  readonly bounds: AppendBounds;
  readonly turns: CatchUpTurns;
  /** Why nothing is read, once for each such stretch of time; undefined at its end. */
  readonly onTrouble: (reason: string | undefined) => void;
  /** The stream has lost what it had from an offset on: nobody can send it again. */
  readonly onRewound: (stream: string, offset: number) => void;
  /** The stream is gone, or is not the one that was; the log does not go on. */
  readonly onLost: (cause: BackplaneError) => void;
  /** Other times than the usual, for tests. */
  readonly times?: Partial<ReaderTimes & { readonly appendMs: number }> | undefined;
}

export class JetStreamDocumentLog implements DocumentLog {
  readonly name: DocumentLogName;
  readonly stored = { batches: 0, events: 0 };
  /** The second in which the stream was made. */
  epoch = 0;
  /** Of the cluster. */
  identity = '';
  readonly #options: JetStreamDocumentLogOptions;
  readonly #stream: string;
  readonly #subjects: DocumentSubjects;
  readonly #appender: DocumentAppender;
  readonly #followers = new Set<DocumentFollower>();
  readonly #tail: StreamTail;
  #info!: StreamInfo;
  #fold!: DocumentFold;
  #taken: { readonly first: number; readonly ends: TopicEnds } | undefined;
  #looks: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #closed = false;

  /**
   * Resolves when all that is there was read. Rejects with failed_precondition where the stream is not there or not as
   * `cluster init` makes it, unavailable where NATS does not answer.
   */
  static async open(options: JetStreamDocumentLogOptions): Promise<JetStreamDocumentLog> {
    const log = new JetStreamDocumentLog(options);
    try {
      await log.#open();
      return log;
    } catch (cause) {
      await log.close();
      throw cause;
    }
  }

  private constructor(options: JetStreamDocumentLogOptions) {
    const { name, cluster, link, bounds, times } = options;
    this.#options = options;
    this.name = name;
    this.#stream = documentStream(cluster, name);
    this.#subjects = new DocumentSubjects(cluster, name);
    const subjectOf = (topic: string) => this.#subjects.batch(topic);
    const own = { link, stream: this.#stream, bounds, subjectOf, appendMs: times?.appendMs };
    this.#appender = new DocumentAppender({ ...own, trouble: () => this.trouble });
    this.#tail = new StreamTail({
      ...{ link, stream: this.#stream, times, hasTicks: false },
      place: () => this.#fold,
      check: (info) => this.#check(info),
      isAwaited: () => this.pending,
      take: (message) => this.#take(message),
      goBack: (info, lost) => this.#goBack(info, lost),
      rewound: (offset) => this.#rewound(offset),
      onTrouble: options.onTrouble,
      failed: (cause) => this.#appender.fail(cause),
      lost: options.onLost,
    });
  }

  /** Why the log is not read, in a sentence; undefined while it is. */
  get trouble(): string | undefined {
    return this.#tail.trouble;
  }

  /** Of the oldest checkpoint, since what retention took before it is known by topic. */
  get firstOffset(): number {
    const { first_seq: first } = this.#info.state;
    return first <= 1 ? 1 : (this.#oldest(first)?.before ?? first);
  }

  get deliverableOffset(): number {
    return this.#tail.deliverable;
  }

  get pending(): boolean {
    return this.#appender.pending;
  }

  get bytes(): number {
    return this.#info.state.bytes;
  }

  taken(topic: string): TopicEnd | undefined {
    const { first_seq: first, first_ts: firstTime } = this.#info.state;
    if (first <= 1) return undefined;
    if (this.#taken?.first !== first) {
      const oldest = this.#oldest(first);
      const ends = oldest && readDocumentCheckpoint(oldest).ends;
      this.#taken = { first, ends: ends ?? TopicEnds.before(first, timeNsOf(firstTime)) };
    }
    const { ends } = this.#taken;
    return topic === EVERY_APP_TOPIC ? ends.last : ends.of(topic);
  }

  async append(batch: NewBatch): Promise<Appended> {
    const asked = batch.documents.length;
    const { fresh, knownAt } = this.#fold.ids?.fresh(batch, Date.now()) ?? { fresh: batch.documents, knownAt: 0 };
    if (fresh.length === 0) return { offset: knownAt, duplicates: asked };
    const taken = await this.#appender.append({ ...batch, documents: fresh });
    const stored = fresh.length - taken.batch.repeated.length;
    if (stored > 0) this.stored.batches++;
    this.stored.events += stored;
    return { offset: taken.knownAt, duplicates: asked - stored };
  }

  async settled(): Promise<void> {
    await this.#appender.settled();
    await this.#writing;
  }

  follow(follower: DocumentFollower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** Halves its way between two checkpoints. */
  async offsetAt(timeNs: bigint): Promise<number> {
    const { checkpoints } = this.#fold;
    const { firstOffset } = this;
    let low = Math.max(firstOffset, checkpoints.findLast(({ lastNs }) => lastNs < timeNs)?.before ?? firstOffset);
    let high = checkpoints.find(({ lastNs }) => lastNs >= timeNs)?.before ?? this.deliverableOffset;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const found = await this.#message(middle);
      // What retention took meanwhile, or is damaged, is as good as older.
      const isOlder = found === null || this.#fold.timeOf(middle, timeNsOf(found.timestamp)) < timeNs;
      if (isOlder) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  markBefore(offset: number): number | undefined {
    return this.#fold.marks.of(offset - 1);
  }

  async reached(offset: number): Promise<void> {
    if (offset <= this.deliverableOffset) return;
    await this.look();
    const { last_seq: last } = this.#info.state;
    if (offset > last + 1) {
      checkHeard(this.#info);
      throw cursorInvalid(`cursor names offset ${offset} of the log of ${this.name}, which does not exist`);
    }
    await this.#tail.readUpTo(last, performance.now() + 10 * NATS_REQUEST_MS);
  }

  async hasMark(offset: number, mark: number): Promise<boolean> {
    if (offset > this.deliverableOffset) return false;
    const known = this.markBefore(offset);
    if (known !== undefined) return known === mark;
    // A removed message cannot be compared; a reader from there reports that it is gone.
    if (offset <= this.firstOffset) return true;
    const is = await markAt(this.#options.link, this.#stream, offset - 1);
    return is === undefined || is === mark;
  }

  reader(fromOffset: number, topics: readonly string[] | undefined): DocumentReader {
    const { link, turns } = this.#options;
    const log = {
      ...{ link, stream: this.#stream, subjects: this.#subjects, turns },
      deliverable: () => this.deliverableOffset,
      firstOffset: async (fresh: boolean) => {
        if (fresh) await this.look();
        return this.firstOffset;
      },
      ends: () => this.#fold.ends,
      missing: () => this.#fold.missing,
      markOf: (sequence: number) => this.#fold.marks.of(sequence),
      rewinds: () => this.#tail.rewinds,
      read: (message: StoredMessage) => this.#fold.read(message),
    };
    return new JetStreamDocumentReader(log, fromOffset, topics);
  }

  cached(offset: number): DocumentBatch | undefined {
    return this.#fold.cache.at(offset);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#looks);
    await this.#tail.close();
    await this.#writing;
  }

  async #open(): Promise<void> {
    const { link } = this.#options;
    const info = await madeStream(link.manager, this.#stream);
    this.#check(info);
    this.epoch = Math.floor(Date.parse(info.created) / 1000);
    await this.#beginFold(info.state.last_seq + 1);
    this.#looks = setInterval(() => this.#lookAgain(), LOG_STREAM_LOOK_MS).unref();
    await this.#tail.open(info.state.last_seq);
  }

  async #goBack({ state }: StreamInfo, lost: number | undefined): Promise<void> {
    if (lost !== undefined) await this.#beginFold(lost);
    // Retention took what was not read: what it was is known from a checkpoint only.
    else if (this.#fold.next < state.first_seq) await this.#beginFold(Number.POSITIVE_INFINITY);
  }

  /** Goes on from what the checkpoints say that are about what is before a sequence. */
  async #beginFold(before: number): Promise<void> {
    const { link, name, ids } = { ...this.#options };
    const { first_seq: first, first_ts: firstTime, last_seq: last } = this.#info.state;
    const checkpoints: DocumentCheckpoint[] = [];
    const range = { stream: this.#stream, from: Math.max(1, first), to: last + 1, headersOnly: false };
    await scanStream(link, { ...range, filter: this.#subjects.checkpoint }, ({ sequence, headers, data }) => {
      const checkpoint = documentCheckpoint(sequence, headers, data);
      if (checkpoint !== undefined && sequence < before) checkpoints.push(checkpoint);
    });
    const windowMs = ids === undefined ? 0 : longestWindowMs(ids, name);
    const options = { subjects: this.#subjects, epoch: this.epoch, ids, windowMs };
    this.#fold = new DocumentFold(options, checkpoints, { sequence: first, timeNs: timeNsOf(firstTime) });
    this.#taken = undefined;
  }

  #take(message: StoredMessage): void {
    const taken = this.#fold.take(message);
    if (taken !== undefined) {
      if (message.sequence >= this.#tail.toldTo) for (const { stored } of this.#followers) stored(taken.batch);
      this.#appender.taken(taken);
    }
    this.#writeDueCheckpoint();
  }

  #rewound(offset: number): void {
    this.#options.onRewound(this.#stream, offset);
    for (const { rewound } of this.#followers) rewound?.(offset);
  }

  #writeDueCheckpoint(): void {
    const { max_bytes: bytesMax, max_age: ageNsMax } = this.#info.config;
    const { checkpoints, next, bytesSince, sinceMs } = this.#fold;
    if (this.#closed || sinceMs === undefined || next <= (checkpoints.at(-1)?.sequence ?? 0)) return;
    // Also while nothing comes: what comes next is then behind it.
    const ageMs = performance.now() - sinceMs;
    const isOld = ageNsMax > 0 && ageMs > ageNsMax / NATS_NS_PER_MS / DOCUMENT_CHECKPOINTS;
    if (bytesSince <= bytesMax / DOCUMENT_CHECKPOINTS && !isOld) return;
    this.#writing ??= this.#writeCheckpoint().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Several brokers may write one at the same place: that costs some room, and nothing else. */
  async #writeCheckpoint(): Promise<void> {
    const { headers, body } = encodeDocumentCheckpoint(this.#fold.standing);
    const options = { headers, expect: { streamName: this.#stream }, timeout: NATS_REQUEST_MS };
    try {
      const { seq } = await this.#options.link.client.publish(this.#subjects.checkpoint, body, options);
      await this.#tail.readUpTo(seq, performance.now() + NATS_REQUEST_MS);
    } catch {
      // NATS is away; it is tried again after the next message.
    }
  }

  /** Asks what the stream holds now. */
  async look(): Promise<void> {
    const info = await streamInfo(this.#options.link.manager, this.#stream);
    if (info === undefined) {
      // A server that has just started may not know it yet; the reader looks itself, and ends where it is gone.
      this.#tail.restart('the stream was not found');
      throw new BackplaneError('unavailable', `stream ${this.#stream} was not found`);
    }
    this.#info = info;
    this.#fold.forget(info.state.first_seq);
  }

  #lookAgain(): void {
    // NATS may be away.
    this.look().catch(() => undefined);
    this.#writeDueCheckpoint();
  }

  #check(info: StreamInfo): void {
    const identity = checkStream(documentForm(this.#options.cluster, this.name), info);
    const created = this.#info?.created ?? info.created;
    if (this.identity !== '' && (identity !== this.identity || created !== info.created)) {
      const now = `it was made ${info.created}, the one before ${created}`;
      throw new BackplaneError('failed_precondition', `stream ${this.#stream} is not the one that it was: ${now}`);
    }
    this.identity = identity;
    this.#info = info;
  }

  /** The oldest checkpoint that is about something that the stream still has. */
  #oldest(first: number): DocumentCheckpoint | undefined {
    return this.#fold.checkpoints.find(({ before }) => before >= first);
  }

  /** Asked of the leader. */
  #message(offset: number) {
    return storedMessage(this.#options.link.manager, this.#stream, { seq: offset });
  }
}

/** Reads a log of documents on a stream behind its end. */

import type { StoredMessage } from '../../nats/stream-pull.js';
import { CatchUpReader, type ReadLog } from '../jetstream/catch-up-reader.js';
import type { DocumentBatch } from './document-batch.js';
import type { DocumentItem, DocumentReader } from './document-log.js';
import type { DocumentSubjects } from './document-streams.js';
import type { TopicEnds } from './topic-ends.js';

export interface ReadDocuments
  extends Pick<
    ReadLog<unknown>,
    'link' | 'stream' | 'turns' | 'deliverable' | 'firstOffset' | 'missing' | 'markOf' | 'rewinds'
  > {
  readonly subjects: DocumentSubjects;
  /** The last batches of topics. */
  readonly ends: () => TopicEnds;
  readonly read: (message: StoredMessage) => DocumentBatch | undefined;
}

export class JetStreamDocumentReader implements DocumentReader {
  readonly #log: ReadDocuments;
  /** Undefined: all of them. */
  #topics: readonly string[] | undefined;
  #reader: CatchUpReader<DocumentItem>;
  #end = 0;

  constructor(log: ReadDocuments, from: number, topics: readonly string[] | undefined) {
    this.#log = log;
    this.#topics = topics;
    this.#reader = this.#open(from);
  }

  get offset(): number {
    return this.#reader.offset;
  }

  async next(end: number): Promise<DocumentItem | undefined> {
    this.#end = end;
    this.#widen();
    const item = await this.#reader.next();
    if (item === undefined || item.kind === 'batch' || item.kind === 'expired' || item.kind === 'damaged') return item;
    const { kind, offsetFrom, offsetTo } = item;
    return { kind: kind === 'evicted' ? 'expired' : 'damaged', offsetFrom, offsetTo };
  }

  close(): void {
    this.#reader.close();
  }

  /** Of topics whose last batch is not known it is not known either whether there is any: then all are read. */
  #widen(): void {
    const ends = this.#log.ends();
    if (this.#topics === undefined || this.#topics.every((topic) => ends.knows(topic))) return;
    this.#topics = undefined;
    this.#reader.close();
    this.#reader = this.#open(this.#reader.offset);
  }

  #open(from: number): CatchUpReader<DocumentItem> {
    const { subjects, deliverable, ends, read, ...log } = this.#log;
    const topics = this.#topics;
    return new CatchUpReader<DocumentItem>(
      {
        ...log,
        filters: topics?.map((topic) => subjects.batch(topic)) ?? [subjects.batches],
        deliverable: () => Math.min(this.#end, deliverable()),
        lastWanted: () => {
          const wanted = topics === undefined ? [ends().last] : topics.map((topic) => ends().of(topic));
          return Math.max(0, ...wanted.map((end) => end?.offset ?? 0));
        },
        read: (message) => {
          const batch = read(message);
          if (batch !== undefined) return { kind: 'batch', batch };
          return { kind: 'damaged', offsetFrom: message.sequence, offsetTo: message.sequence + 1 };
        },
      },
      from,
    );
  }
}

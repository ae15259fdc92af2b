/**
 * A log of documents: events that are born in a broker and that no recorder has. A batch is stored whole or not at all, and
 * nobody is told of it before it is safe. A log has a bound of its own in bytes and age, so that whoever fills it pushes
 * nothing out but the oldest of the same log. In a cluster all brokers share it: offsets and positions mean the same on each.
 */
import type { DocumentLogName } from '../../../wire/event/document-topics.js';
import type { DocumentBatch, NewBatch } from './document-batch.js';
import type { TopicEnd } from './topic-ends.js';

export type DocumentItem =
  | { readonly kind: 'batch'; readonly batch: DocumentBatch }
  /** Batches that retention removed before they were read, or that cannot be read; their topics are unknown. */
  | { readonly kind: 'expired' | 'damaged'; readonly offsetFrom: number; readonly offsetTo: number };

export interface DocumentReader {
  /** The offset that is read next. */
  readonly offset: number;
  /** The next item below `end`, or undefined where there is none (yet). Rejects with unavailable where it cannot be read. */
  next(end: number): Promise<DocumentItem | undefined>;
  close(): void;
}

export interface Appended {
  /** Of the batch; where all its documents were known, of the last one. */
  readonly offset: number;
  /** Documents whose ids were known: they are not stored again, or all readers pass them over. */
  readonly duplicates: number;
}

export interface DocumentFollower {
  /** Every later batch, as soon as it can be read. */
  readonly stored: (batch: DocumentBatch) => void;
  /** The log has lost what it had from this offset on, and other batches come there. */
  readonly rewound?: (offset: number) => void;
}

export interface DocumentLog {
  readonly name: DocumentLogName;
  /** Names the events of this log together with their offsets: a new log has another. */
  readonly epoch: number;
  /** Why it is not read, in a sentence; undefined while it is. */
  readonly trouble: string | undefined;
  readonly firstOffset: number;
  /** Readers see only batches below it: they are safe. */
  readonly deliverableOffset: number;
  /** Something is under way that is not safe yet. */
  readonly pending: boolean;
  readonly bytes: number;
  /** By this broker, since it was started. */
  readonly stored: { readonly batches: number; readonly events: number };

  /**
   * The last batch that retention took of a topic, or of all where the pattern `app.*` is given; undefined where it took
   * none.
   */
  taken(topic: string): TopicEnd | undefined;

  /**
   * Resolves once the batch is safe; batches of one publisher and topic are stored in the order of the calls. Rejects with
   * resource_exhausted where there is no room, too_large for what the log never takes: then nothing was stored; with
   * unavailable where it cannot be promised: then it may be stored all the same, and whoever sends it again does so with
   * the same ids.
   */
  append(batch: NewBatch): Promise<Appended>;

  /** Resolves when all that this broker appended before is safe, and those who follow were told. */
  settled(): Promise<void>;

  /** Returns what ends it. */
  follow(follower: DocumentFollower): () => void;

  /** Offset before which every batch is older than a time, as near as the log knows. */
  offsetAt(timeNs: bigint): Promise<number>;

  /** See PartitionLog.markBefore. */
  markBefore(offset: number): number | undefined;

  /**
   * Resolves when the log can be read up to an offset that another broker may have reached first. Rejects with
   * cursor_invalid where it never had that offset.
   */
  reached(offset: number): Promise<void>;

  /** False when the log has something else before the offset, or nothing where something should be. */
  hasMark(offset: number, mark: number): Promise<boolean>;

  /** @param topics undefined for all of them; a topic that was not named may come all the same */
  reader(fromOffset: number, topics: readonly string[] | undefined): DocumentReader;

  /** The batch at an offset, if it is one of the newest and can be read. */
  cached(offset: number): DocumentBatch | undefined;
}

/**
 * How many events a group still has to process: those that match, lie in the log or in a log of documents, and are not
 * committed. What only recorders have is not counted.
 */
import { nsToMs } from '../../../nanoseconds.js';
import type { DocumentPredicate, Predicate } from '../../../subscriptions/predicate.js';
import type { DocumentLogName } from '../../../wire/event/document-topics.js';
import type { Frame } from '../../../wire/frame/frame.js';
import type { DocumentBatch } from '../../log/documents/document-batch.js';
import type { LogEntry } from '../../log/partition-log.js';
import { sliceOf } from '../slice.js';
import { SliceLag, type When } from './slice-lag.js';

/** One slice's, by log: a slice's nodes are in one partition. */
class LagOfSlice {
  readonly nodes = new SliceLag();
  readonly documents = new Map<DocumentLogName, SliceLag>();

  get events(): number {
    return this.#logs.reduce((sum, { events }) => sum + events, 0);
  }

  /** When the oldest of them came into a log, milliseconds since 1970; undefined where all is committed. */
  get sinceMs(): number | undefined {
    return oldest(this.#logs);
  }

  of(name: DocumentLogName): SliceLag {
    let lag = this.documents.get(name);
    if (lag === undefined) {
      lag = new SliceLag();
      this.documents.set(name, lag);
    }
    return lag;
  }

  get #logs(): readonly SliceLag[] {
    return [this.nodes, ...this.documents.values()];
  }
}

/** The lag of one group. */
export class GroupLag {
  #slices: readonly LagOfSlice[];
  /** Of the filter in force. */
  #predicateId: bigint;
  #documents: DocumentPredicate | undefined;
  /**
   * Whether a node, or a publisher, is one of the group's, and the group begins before a time: the end of a frame, wall
   * nanoseconds of the node, or when documents were stored.
   */
  readonly #includes: (node: string, wallNs: bigint) => boolean;
  /** Bytes of frames with events for the group that came since its last member left. */
  unattendedBytes = 0;

  constructor(
    readonly count: number,
    predicate: Pick<Predicate, 'id' | 'documents'>,
    includes: (node: string, wallNs: bigint) => boolean,
  ) {
    this.#predicateId = predicate.id;
    this.#documents = predicate.documents;
    this.#includes = includes;
    this.#slices = slices(count);
  }

  /** Whether documents are counted, too. */
  get hasDocuments(): boolean {
    return this.#documents !== undefined;
  }

  get events(): number {
    return this.#slices.reduce((sum, slice) => sum + slice.events, 0);
  }

  /** When the oldest of them came into the log, milliseconds since 1970; undefined where all is committed. */
  get sinceMs(): number | undefined {
    return oldest(this.#slices);
  }

  of(slice: number): { readonly events: number; readonly sinceMs: number | undefined } {
    return this.#slices[slice]!;
  }

  /** Counts a frame. @param froms by slice, the offset before which all is committed */
  frame(when: When, { node, frame, offset, bytes, appendedMs }: LogEntry, froms?: readonly number[]): void {
    const events = matchesIn(frame, this.#predicateId);
    if (events === 0 || !this.#includes(node, frame.watermarkNs)) return;
    const slice = sliceOf(node, this.count);
    if (froms !== undefined && offset < froms[slice]!) return;
    this.#slices[slice]!.nodes.add(when, offset, events, appendedMs);
    if (when === 'later') this.unattendedBytes += bytes;
  }

  /** Counts documents, each of which has a slice of its own. @param froms as those of frames */
  batch(when: When, name: DocumentLogName, batch: DocumentBatch, froms?: readonly number[]): void {
    const wanted = this.#documents;
    const { node, topic, offset, timeNs } = batch;
    if (wanted?.wants(topic) !== true || !this.#includes(node, timeNs)) return;
    const events = new Map<number, number>();
    for (const [index, { key }] of batch.documents.entries()) {
      const slice = sliceOf(key || node, this.count);
      if (batch.repeats(index) || (froms !== undefined && offset < froms[slice]!)) continue;
      if (wanted.matches(batch.event(index))) events.set(slice, (events.get(slice) ?? 0) + 1);
    }
    for (const [slice, count] of events) this.#slices[slice]!.of(name).add(when, offset, count, nsToMs(timeNs));
  }

  /** Frames before the offset are committed. */
  committed(slice: number, offset: number): void {
    this.#slices[slice]?.nodes.committed(offset);
  }

  /** Likewise of a log of documents. */
  batchesCommitted(slice: number, name: DocumentLogName, offset: number): void {
    this.#slices[slice]?.documents.get(name)?.committed(offset);
  }

  /** A log of documents has lost what it had from the offset on. */
  rewound(name: DocumentLogName, offset: number): void {
    for (const slice of this.#slices) slice.documents.get(name)?.rewound(offset);
  }

  /** Nothing is counted any more. @param predicate of the filter in force from here on */
  reset({ id, documents }: Pick<Predicate, 'id' | 'documents'>): void {
    this.#predicateId = id;
    this.#documents = documents;
    this.#slices = slices(this.count);
  }
}

function slices(count: number): LagOfSlice[] {
  return Array.from({ length: count }, () => new LagOfSlice());
}

function oldest(parts: readonly { readonly sinceMs: number | undefined }[]): number | undefined {
  const since = parts.flatMap(({ sinceMs }) => (sinceMs === undefined ? [] : [sinceMs]));
  return since.length === 0 ? undefined : Math.min(...since);
}

function matchesIn({ matches, count }: Frame, predicateId: bigint): number {
  const match = matches.find((each) => each.predicateId === predicateId);
  return match === undefined ? 0 : match.all ? count : match.indices.length;
}

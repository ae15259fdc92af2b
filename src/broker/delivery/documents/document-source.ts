/** The past of one log of documents, to be merged with what nodes have recorded. */
import { DOCUMENTS_BACK_BATCHES } from '../../../limits.js';
import type { HistoryFrame } from '../../../wire/frame/history-frame.js';
import type { DocumentBatch } from '../../log/documents/document-batch.js';
import type { DocumentItem, DocumentLog, DocumentReader } from '../../log/documents/document-log.js';
import { compareKeys, type HistoryKey, type HistorySource } from '../history/history-merge.js';
import { keyAt, sliceFrame } from '../history/history-slice.js';
import type { WantedDocuments } from './wanted-documents.js';

export interface DocumentRange {
  /** Inclusive, wall nanoseconds. */
  readonly sinceNs: bigint | undefined;
  /** Exclusive. */
  readonly untilNs: bigint | undefined;
  /** Only what follows it in merged order. */
  readonly after: HistoryKey | undefined;
  /** Only the last N; 0: all. */
  readonly last: number;
  /** The place from which on nothing was delivered; undefined: decided by the times. */
  readonly from: { readonly offset: number; readonly index: number } | undefined;
  /** Offset, exclusive. */
  readonly end: number;
}

export interface SourceEvents {
  /** What cannot be read of a log: retention removed it, or it is damaged. */
  readonly onLost: (lost: Exclude<DocumentItem, { kind: 'batch' }>) => Promise<void>;
  /** All before the offset was taken. */
  readonly onEnded: (offset: number) => void;
}

export class DocumentSource implements HistorySource {
  /** Of the frame that was returned last. */
  node = '';
  #reader: DocumentReader | undefined;
  #frames: Generator<{ frame: HistoryFrame }> | undefined;

  readonly #log: DocumentLog;
  readonly #wanted: WantedDocuments;
  readonly #range: DocumentRange;
  readonly #events: SourceEvents;

  constructor(log: DocumentLog, wanted: WantedDocuments, range: DocumentRange, events: SourceEvents) {
    this.#log = log;
    this.#wanted = wanted;
    this.#range = range;
    this.#events = events;
  }

  async next(): Promise<HistoryFrame | undefined> {
    this.#reader ??= this.#log.reader(await this.#start(), topicsRead(this.#wanted));
    for (;;) {
      const next = this.#frames?.next();
      if (next !== undefined && !next.done) {
        const frame = this.#behind(next.value.frame);
        if (frame !== undefined) return frame;
        continue;
      }
      const batch = await this.#batch(this.#reader);
      if (batch === undefined) return undefined;
      const { from } = this.#range;
      this.node = batch.node;
      this.#frames = this.#wanted.frames(batch, from?.offset === batch.offset ? from.index : 0);
    }
  }

  close(): void {
    this.#reader?.close();
  }

  /** The next batch within the window that may hold something; undefined at its end. */
  async #batch(reader: DocumentReader): Promise<DocumentBatch | undefined> {
    const { sinceNs, untilNs, end } = this.#range;
    for (;;) {
      const item = await reader.next(end);
      if (item === undefined) return this.#ended(Math.max(reader.offset, Math.min(end, this.#log.deliverableOffset)));
      if (item.kind !== 'batch') {
        await this.#events.onLost(item);
        continue;
      }
      const { batch } = item;
      if (untilNs !== undefined && batch.timeNs >= untilNs) return this.#ended(batch.offset);
      if ((sinceNs === undefined || batch.timeNs >= sinceNs) && this.#wanted.mayWant(batch)) return batch;
    }
  }

  #ended(offset: number): undefined {
    this.#events.onEnded(offset);
    return undefined;
  }

  /** The frame, unless what is wanted begins behind it. Events of a frame have one time and no order but their own. */
  #behind(frame: HistoryFrame): HistoryFrame | undefined {
    const { after } = this.#range;
    if (after === undefined) return frame;
    const keyOf = (index: number) => keyAt(this.node, frame, index);
    const { length } = frame.wallNs;
    let from = 0;
    while (from < length && compareKeys(keyOf(from), after) <= 0) from++;
    if (from === 0) return frame;
    return from === length ? undefined : sliceFrame(frame, from, length);
  }

  async #start(): Promise<number> {
    const { from, after, sinceNs, last, end } = this.#range;
    if (from !== undefined) return from.offset;
    const least = Math.max(this.#log.firstOffset, await this.#log.offsetAt(after?.wallNs ?? sinceNs ?? 0n));
    if (last === 0) return least;
    // Read backwards until there are enough: whoever wants the last few does not read the whole log.
    for (let back = DOCUMENTS_BACK_BATCHES; ; back *= 4) {
      const start = Math.max(least, end - back);
      if (start === least || (await this.#count(start)) >= last) return Math.min(start, end);
    }
  }

  async #count(start: number): Promise<number> {
    const reader = this.#log.reader(start, topicsRead(this.#wanted));
    let count = 0;
    try {
      for (let batch = await this.#counted(reader); batch !== undefined; batch = await this.#counted(reader)) {
        for (const { frame } of this.#wanted.frames(batch, 0)) count += frame.wallNs.length;
      }
    } finally {
      reader.close();
    }
    return count;
  }

  async #counted(reader: DocumentReader): Promise<DocumentBatch | undefined> {
    for (;;) {
      const item = await reader.next(this.#range.end);
      if (item === undefined || item.kind === 'batch') return item?.batch;
    }
  }
}

/** Undefined where topics of the log are wanted that nobody has named. */
export function topicsRead({ topics }: Pick<WantedDocuments, 'topics'>): readonly string[] | undefined {
  return topics.some((topic) => topic.includes('*')) ? undefined : topics;
}

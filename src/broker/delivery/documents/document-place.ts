/** How far a subscription has delivered one log of documents. */
import { type BackplaneError, cursorExpired } from '../../../errors.js';
import type { CursorPlace } from '../../../wire/cursor.js';
import { DOCUMENT_LOGS } from '../../../wire/event/document-topics.js';
import type { Position } from '../../../wire/position.js';
import type { DocumentBatch } from '../../log/documents/document-batch.js';
import type { DocumentItem, DocumentLog, DocumentReader } from '../../log/documents/document-log.js';

export class DocumentPlace {
  #offset: number;
  /** Set where the batch at the offset was delivered in part. */
  #index: number | undefined;
  #mark: number | undefined;
  #reader: DocumentReader | undefined;
  readonly #topics: readonly string[] | undefined;

  /**
   * At a cursor's place, which checkDocumentPlaces has found good, or at the log's end. `topics`: those that are read,
   * undefined for all of the log. Throws cursor_expired where the log lost its end since that check.
   */
  constructor(
    readonly log: DocumentLog,
    topics: readonly string[] | undefined,
    cursor: CursorPlace | undefined,
  ) {
    this.#topics = topics;
    if (cursor !== undefined && cursor.offset > log.deliverableOffset) throw lostEnd(log, cursor);
    this.#offset = cursor?.offset ?? log.deliverableOffset;
    this.#index = cursor?.index;
    this.#mark = cursor?.mark;
  }

  /** The offset that is read next. */
  get offset(): number {
    return this.#offset;
  }

  /** Index in the batch at the offset from which on nothing was delivered. */
  get index(): number {
    return this.#index ?? 0;
  }

  /** Approximate number of batches to the log's end, of all topics. */
  get lag(): number {
    return Math.max(0, this.log.deliverableOffset - this.#offset);
  }

  /** The next item, or undefined when there is none at this moment. The place stays at a batch until it is passed. */
  async next(): Promise<DocumentItem | undefined> {
    const end = this.log.deliverableOffset;
    if (this.#offset >= end) return undefined;
    const batch = this.log.cached(this.#offset);
    if (batch !== undefined) return { kind: 'batch', batch };
    if (this.#reader?.offset !== this.#offset) {
      this.#reader?.close();
      this.#reader = this.log.reader(this.#offset, this.#topics);
    }
    const item = await this.#reader.next(end);
    // Records of other topics were passed.
    if (item === undefined) this.#moveTo(this.#reader.offset);
    return item;
  }

  /** All of the batch was delivered, or is not wanted. */
  passed(batch: DocumentBatch): void {
    this.#moveTo(batch.offset + 1, batch.mark);
  }

  /** What stands before the offset cannot be read. */
  lost(offset: number): void {
    this.#moveTo(offset);
  }

  /** The log has other batches from this offset on than those that were delivered. */
  rewound(offset: number): void {
    // It may have read ahead what is void.
    this.#reader?.close();
    this.#reader = undefined;
    if (this.#offset > offset) this.#moveTo(offset);
  }

  /** The batch was delivered up to, and without, its event at `index`. */
  partly(batch: DocumentBatch, index: number): void {
    if (batch.offset !== this.#offset) this.#moveTo(batch.offset);
    this.#index = index;
  }

  /** Up to and with an event of this log. */
  reached({ timeNs, tie }: Position): void {
    this.#moveTo(Number(timeNs));
    this.#index = tie + 1;
  }

  toCursor(): CursorPlace {
    return { offset: this.#offset, mark: this.#mark ?? this.log.markBefore(this.#offset), index: this.#index };
  }

  close(): void {
    this.#reader?.close();
  }

  #moveTo(offset: number, mark?: number): void {
    if (offset === this.#offset) return;
    this.#offset = offset;
    this.#index = undefined;
    this.#mark = mark;
  }
}

/** One entry for each log, in the order that cursors have. */
export function cursorLogs(places: readonly DocumentPlace[]): (CursorPlace | undefined)[] {
  return DOCUMENT_LOGS.map((name) => places.find(({ log }) => log.name === name)?.toCursor());
}

/**
 * Throws cursor_expired where a log lost its end and has something else there now, cursor_invalid where it never reached so
 * far.
 */
export async function checkDocumentPlaces(
  places: readonly (CursorPlace | undefined)[],
  logs: readonly DocumentLog[],
): Promise<void> {
  for (const log of logs) {
    const place = places[DOCUMENT_LOGS.indexOf(log.name)];
    if (place === undefined) continue;
    await log.reached(place.offset);
    if (place.mark !== undefined && !(await log.hasMark(place.offset, place.mark))) throw lostEnd(log, place);
  }
}

function lostEnd({ name }: DocumentLog, { offset }: CursorPlace): BackplaneError {
  const what = 'before which it has something else now: its machine lost the end of it';
  return cursorExpired(`cursor names offset ${offset} of the log of ${name}, ${what}. Begin with since`);
}

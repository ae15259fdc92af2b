/** Reads a log in order, past damage and eviction, and follows its growing end. Holds nothing but one buffer. */
import { type DamageItem, type RecordItem, SegmentCursor } from './segment-cursor.js';
import type { SegmentList } from './segment-list.js';

/** Records that were deleted before they could be read: ordinalFrom to ordinalTo, exclusive. */
interface EvictedItem {
  readonly kind: 'evicted';
  readonly ordinalFrom: number;
  readonly ordinalTo: number;
}

export type SegmentLogItem = RecordItem | DamageItem | EvictedItem;

export class LogReader {
  #list: SegmentList;
  #ordinal: number;
  #cursor: SegmentCursor | undefined;
  #closed = false;

  readonly #wants: ((kind: number) => boolean) | undefined;

  /** @param wants for records of other kinds only the header is read */
  constructor(list: SegmentList, ordinal: number, wants?: (kind: number) => boolean) {
    this.#wants = wants;
    this.#list = list;
    this.#ordinal = ordinal;
  }

  /** The ordinal that is read next. */
  get ordinal(): number {
    return this.#ordinal;
  }

  /** The next item, or undefined at the log's present end: call again when more was appended. Never throws. */
  next(): SegmentLogItem | undefined {
    while (!this.#closed) {
      const ordinalFrom = this.#ordinal;
      if (ordinalFrom < this.#list.firstOrdinal) {
        this.#leave();
        this.#ordinal = this.#list.firstOrdinal;
        return { kind: 'evicted', ordinalFrom, ordinalTo: this.#ordinal };
      }
      // The segment was evicted while the reader stood at its very end: no record was missed, but the file is gone.
      if (this.#cursor?.segment.removed) this.#leave();
      if (!this.#cursor) {
        const segment = this.#list.at(ordinalFrom);
        if (!segment) return undefined;
        this.#cursor = new SegmentCursor(segment, ordinalFrom, undefined, this.#wants);
      }
      const item = this.#cursor.next();
      if (item) {
        this.#ordinal = item.kind === 'record' ? item.ordinal + 1 : item.ordinalTo;
        return item;
      }
      if (!this.#cursor.segment.sealed) return undefined;
      this.#leave();
      if (this.#list.at(this.#ordinal) === undefined) return undefined;
    }
    return undefined;
  }

  /** Closes the file. A reader that is not closed keeps a descriptor. */
  close(): void {
    this.#closed = true;
    this.#leave();
  }

  #leave(): void {
    this.#cursor?.close();
    this.#cursor = undefined;
  }
}

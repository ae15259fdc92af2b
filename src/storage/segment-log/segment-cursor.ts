/**
 * Reads one segment in order and checks every record; of a sealed segment only once, until its file changes. Behind a
 * bad one it searches for the next good one, and reports what lies between. It never throws: a block that cannot be
 * read is damage like any other.
 */
import { FILE_TIME_STEP_MS, READER_BUFFER_BYTES, READER_BUFFER_BYTES_MAX, RECORD_BYTES_MAX } from '../../limits.js';
import { systemErrorCode } from '../file-ops.js';
import {
  decodeRecordHeader,
  HEADER_BYTES,
  MARKER,
  payloadMatches,
  RECORD_HEADER_BYTES,
  type RecordHeader,
} from './format.js';
import type { Segment } from './segment.js';

export interface RecordItem {
  readonly kind: 'record';
  readonly ordinal: number;
  /** The kind that the log's owner gave the record. */
  readonly recordKind: number;
  readonly anchor: boolean;
  /** Wall clock, nanoseconds since 1970. */
  readonly timeNs: bigint;
  /** The record's checksum, which differs even for equal payloads, because it covers ordinal and time. */
  readonly crc: number;
  /** Valid until the next call. Empty where records of its kind are passed over. */
  readonly payload: Buffer;
}

export interface DamageItem {
  readonly kind: 'damage';
  readonly ordinalFrom: number;
  /** Exclusive; equal to ordinalFrom when the bytes held no record. */
  readonly ordinalTo: number;
  /** Bytes that could not be read; 0 when records are missing and nothing is in their place. */
  readonly bytes: number;
  /** Bytes of the lost records, as far as is known: at least their headers. */
  readonly lostBytes: number;
  readonly message: string;
}

const NOTHING = Buffer.alloc(0);
const BLOCK_BYTES = 4096;
/** A grown buffer is given back after this many fills that a small one would have served. */
const SMALL_FILLS_MAX = 64;

export class SegmentCursor {
  /** Where the next record is expected in the file. */
  offset: number;
  /** File offset of the item returned last. */
  itemOffset = 0;
  #expected: number;
  #from: number;
  #fd: number | undefined;
  #buffer: Buffer = Buffer.alloc(0);
  /** File offset of the buffer's first byte, and the number of filled bytes. */
  #start = 0;
  #filled = 0;
  #smallFills = 0;
  #unreadable: string | undefined;
  /**
   * When the file of a sealed segment was last changed, as of the last fill of the buffer. NaN: that does not tell
   * whether it is the same later, as another change at this moment would leave the same time.
   */
  #changedMs = Number.NaN;
  /** From here on, what the buffer has was read of the file as it was last changed. */
  #sameFrom = 0;
  /** From here on, records that are found good are good in the file as it was last changed. */
  #goodFrom = 0;

  readonly #bound: number | undefined;
  /** For records of other kinds only the header is read. */
  readonly #wants: ((kind: number) => boolean) | undefined;

  /**
   * Starts at `from`, an ordinal of this segment, or at its end. While a segment is first read its end is unknown: then
   * `ordinalEnd` bounds it.
   */
  constructor(
    readonly segment: Segment,
    from: number,
    ordinalEnd?: number,
    wants?: (kind: number) => boolean,
  ) {
    this.#bound = ordinalEnd;
    this.#wants = wants;
    this.#from = from;
    const mark = segment.index.seek(from);
    if (from === segment.nextOrdinal && !segment.sealed && ordinalEnd === undefined) {
      this.offset = segment.bytes;
      this.#expected = from;
    } else {
      this.offset = mark < 0 ? HEADER_BYTES : segment.index.offset(mark);
      this.#expected = mark < 0 ? segment.firstOrdinal : segment.index.ordinal(mark);
    }
  }

  /** Undefined at the present end of the segment. */
  next(): RecordItem | DamageItem | undefined {
    for (;;) {
      const item = this.#step();
      if (item === undefined) return undefined;
      if (item.kind === 'record') {
        if (item.ordinal >= this.#from) return item;
      } else if (item.ordinalTo > this.#from) {
        return item.ordinalFrom >= this.#from ? item : { ...item, ordinalFrom: this.#from };
      } else if (item.ordinalFrom >= this.#from) {
        return item;
      }
    }
  }

  close(): void {
    if (this.#fd !== undefined) this.segment.release();
    this.#fd = undefined;
    this.#buffer = Buffer.alloc(0);
    this.#filled = 0;
  }

  #step(): RecordItem | DamageItem | undefined {
    const limit = this.segment.bytes;
    this.itemOffset = this.offset;
    if (this.offset >= limit) return this.#end();
    const header = this.#recordAt(this.offset, limit);
    if (typeof header === 'string') return this.#resynchronise(header, limit);
    const size = RECORD_HEADER_BYTES + header.length;
    if (header.ordinal > this.#expected) return this.#missing(header.ordinal);
    const at = this.offset - this.#start + RECORD_HEADER_BYTES;
    this.offset += size;
    this.#expected = header.ordinal + 1;
    const { ordinal, kind: recordKind, anchor, timeNs, crc } = header;
    return {
      kind: 'record',
      ordinal,
      recordKind,
      anchor,
      timeNs,
      crc,
      payload: this.#passesOver(recordKind) ? NOTHING : this.#buffer.subarray(at, at + header.length),
    };
  }

  #passesOver(kind: number): boolean {
    return this.#wants !== undefined && !this.#wants(kind);
  }

  #end(): DamageItem | undefined {
    const end = this.#ordinalEnd;
    return this.segment.sealed && this.#expected < end ? this.#missing(end) : undefined;
  }

  get #ordinalEnd(): number {
    return this.#bound ?? this.segment.nextOrdinal;
  }

  #missing(ordinalTo: number): DamageItem {
    const ordinalFrom = this.#expected;
    this.#expected = ordinalTo;
    const message = `${ordinalTo - ordinalFrom} records missing in ${this.segment.path} at byte ${this.offset}`;
    const lostBytes = this.#lostBytes(0, ordinalTo - ordinalFrom);
    return { kind: 'damage', ordinalFrom, ordinalTo, bytes: 0, lostBytes, message };
  }

  #resynchronise(reason: string, limit: number): DamageItem {
    const from = this.offset;
    const ordinalFrom = this.#expected;
    let at = from;
    let ordinalTo = this.#ordinalEnd;
    for (;;) {
      at = this.#findMarker(at + 1, limit);
      if (at >= limit) break;
      this.#goodFrom = at;
      const header = this.#recordAt(at, limit);
      if (typeof header === 'string') continue;
      ordinalTo = header.ordinal;
      break;
    }
    this.offset = at;
    this.#expected = ordinalTo;
    const bytes = at - from;
    const message = `${reason} in ${this.segment.path} at byte ${from}, ${bytes} bytes passed over`;
    const lostBytes = this.#lostBytes(bytes, ordinalTo - ordinalFrom);
    return { kind: 'damage', ordinalFrom, ordinalTo, bytes, lostBytes, message };
  }

  /** Lost bytes where `records` are lost and `bytes` stand in their place. */
  #lostBytes(bytes: number, records: number): number {
    const cut = this.offset >= this.segment.bytes ? this.segment.lostBytes : 0;
    return cut > 0 ? bytes + cut : Math.max(bytes, records * RECORD_HEADER_BYTES);
  }

  /** Offset of the next marker from `at` on; `limit` when there is none. */
  #findMarker(at: number, limit: number): number {
    while (at + RECORD_HEADER_BYTES <= limit) {
      const have = this.#load(at, RECORD_HEADER_BYTES, limit);
      if (have < MARKER.length) {
        if (this.#unreadable === undefined) return limit;
        at = (Math.floor(at / BLOCK_BYTES) + 1) * BLOCK_BYTES;
        continue;
      }
      const begin = at - this.#start;
      const found = this.#buffer.subarray(0, this.#filled).indexOf(MARKER, begin);
      if (found >= 0) return this.#start + found;
      at = this.#start + this.#filled - (MARKER.length - 1);
    }
    return limit;
  }

  /** The good record at `at`, wholly in the buffer, or a text that says why it is bad. */
  #recordAt(at: number, limit: number): RecordHeader | string {
    if (limit - at < RECORD_HEADER_BYTES) return 'cut record';
    if (this.#load(at, RECORD_HEADER_BYTES, limit) < RECORD_HEADER_BYTES) return this.#unreadable ?? 'file cut';
    const { salt } = this.segment.key;
    let header = decodeRecordHeader(this.#buffer, at - this.#start, this.#isGood(at, 1) ? undefined : salt);
    if (header === undefined || header.length > RECORD_BYTES_MAX) return 'no record';
    if (header.ordinal < this.#expected || header.ordinal >= this.#ordinalEnd) return 'record out of order';
    const size = RECORD_HEADER_BYTES + header.length;
    if (at + size > limit) return 'cut record';
    if (this.#passesOver(header.kind)) {
      this.#goodFrom = at + size;
      return header;
    }
    if (this.#load(at, size, limit) < size) return this.#unreadable ?? 'file cut';
    if (this.#isGood(at, size)) return header;
    if (header.sum === undefined) header = decodeRecordHeader(this.#buffer, at - this.#start, salt);
    if (header === undefined) return 'no record';
    const payload = this.#buffer.subarray(at - this.#start + RECORD_HEADER_BYTES, at - this.#start + size);
    if (!payloadMatches(header, payload)) return 'checksum wrong';
    this.#good(at, size);
    return header;
  }

  #isGood(at: number, bytes: number): boolean {
    return at >= this.#sameFrom && this.segment.verified.has(at, at + bytes, this.#changedMs);
  }

  /** Notes a good record; those before it back to #goodFrom were good too, or it was set behind them. */
  #good(at: number, size: number): void {
    if (Number.isNaN(this.#changedMs) || at < this.#goodFrom) return;
    this.segment.verified.add(this.#goodFrom, at + size, this.#changedMs);
  }

  /**
   * Loads `want` bytes from file offset `at` into the buffer, if the file has them below `limit`; returns how many it
   * got.
   */
  #load(at: number, want: number, limit: number): number {
    const end = this.#start + this.#filled;
    if (at >= this.#start && at + want <= end) return end - at;
    const kept = at >= this.#start && at < end ? end - at : 0;
    this.#makeRoom(want, at - this.#start, kept);
    this.#start = at;
    this.#filled = kept;
    this.#unreadable = undefined;
    try {
      this.#fd ??= this.segment.acquire();
      const changedMs = this.#changeOf(this.#fd);
      while (this.#filled < want) {
        const room = Math.min(this.#buffer.length, limit - at) - this.#filled;
        if (room <= 0) break;
        const got = this.segment.files.read(this.#fd, this.#buffer, this.#filled, room, at + this.#filled);
        if (got === 0) break;
        this.#filled += got;
      }
      this.#noteChange(changedMs === this.#changeOf(this.#fd) ? changedMs : Number.NaN, this.#start + kept);
    } catch (cause) {
      this.#unreadable = `${systemErrorCode(cause) ?? 'read error'}`;
    }
    return this.#filled;
  }

  /** NaN as long as another change could leave the same time, or where the file grows. */
  #changeOf(fd: number): number {
    if (!this.segment.sealed) return Number.NaN;
    const nowMs = Date.now();
    const changedMs = this.segment.files.changedMs(fd);
    return nowMs - changedMs > FILE_TIME_STEP_MS ? changedMs : Number.NaN;
  }

  /** Called after bytes from `from` on were read, of a file that was last changed then: those before are of the file as it was. */
  #noteChange(changedMs: number, from: number): void {
    if (changedMs === this.#changedMs) return;
    this.#changedMs = changedMs;
    this.#goodFrom = from;
    this.#sameFrom = from;
  }

  /** Makes room for `want` bytes in the buffer, and moves `kept` bytes from `keptAt` to its beginning. */
  #makeRoom(want: number, keptAt: number, kept: number): void {
    this.#smallFills = want > READER_BUFFER_BYTES ? 0 : this.#smallFills + 1;
    const shrink = this.#buffer.length > READER_BUFFER_BYTES && this.#smallFills > SMALL_FILLS_MAX;
    if (this.#buffer.length >= want && !shrink) {
      if (kept > 0) this.#buffer.copyWithin(0, keptAt, keptAt + kept);
      return;
    }
    const generous = Math.min(want * 4, READER_BUFFER_BYTES_MAX);
    const bytes = Math.max(want, want > READER_BUFFER_BYTES ? generous : READER_BUFFER_BYTES, kept);
    const grown = Buffer.allocUnsafeSlow(bytes);
    if (kept > 0) this.#buffer.copy(grown, 0, keptAt, keptAt + kept);
    this.#buffer = grown;
  }
}

/**
 * The kernel's ring-buffer page, walked once. The only code that looks at
 * every recorded event, so it allocates nothing and decodes nothing.
 *
 * Page  := time u64 | commit u64 | Entry*         commit: bits 0-29 data length, 30 a lost count
 *                                                 follows the data, 31 events were lost before
 * Entry := word u32 (type 5 bits, delta 27) ...   times add up from the page's time
 *   1-28    delta, type * 4 bytes of payload
 *   0       delta, length u32 (itself included), payload
 *   29      padding: delta 0 ends the page, else length u32 bytes are skipped
 *   30      time extend: high u32, adds high << 27 | delta
 *   31      time stamp: high u32, low 59 bits of the absolute time
 */
import { PAGE_HEADER_BYTES } from '../../../limits.js';

/** Carries tie numbering over the pages of one lane. */
export interface LaneCursor {
  /** Time of the lane's last entry; negative: unknown, and the next entry takes `tie` whatever its time. */
  lastTimeNs: bigint;
  /** The next entry's tie, if its time equals lastTimeNs. */
  tie: number;
}

export function startCursor(firstTie = 0): LaneCursor {
  return { lastTimeNs: -1n, tie: firstTie };
}

/** Values of `wanted` for an event id: 0 skips it, NOTED notes it, and from FIRST_TEST on a test decides. */
export const NOTED = 1;
export const FIRST_TEST = 2;
export const TESTS_MAX = 256 - FIRST_TEST;

/** Decides about the entry whose payload goes from word `at` to word `end`. */
export type EntryTest = (words: Uint32Array, at: number, end: number) => boolean;

const NO_TESTS: readonly EntryTest[] = [];

/** The entries that scanPage found; reused from page to page. Parallel arrays, valid below `count`. */
export class PageEntries {
  /** Payload (common_type first), bytes from the start of the page. */
  offsets = new Int32Array(0);
  lengths = new Int32Array(0);
  ids = new Uint16Array(0);
  /** Nanoseconds after baseTimeNs; exact, a page spans less than 2^53 ns. */
  deltas = new Float64Array(0);
  ties = new Int32Array(0);
  /** Wanted entries. */
  count = 0;
  baseTimeNs = 0n;
  /** All entries recorded in the page, wanted or not. */
  entries = 0;
  /** Tie of the page's first entry: start a cursor with it to scan the page again. */
  firstTie = 0;
  /** Deltas of the page's first and last entry; 0 when it has none. */
  firstDelta = 0;
  lastDelta = 0;
  /** Whether the page breaks its own grammar: entries after the break are missing. */
  malformed = false;
  /** Copy of the last page that was not aligned to words. */
  #aligned = Buffer.alloc(0);

  timeNs(index: number): bigint {
    return this.baseTimeNs + BigInt(this.deltas[index]!);
  }

  get firstTimeNs(): bigint {
    return this.baseTimeNs + BigInt(this.firstDelta);
  }

  get lastTimeNs(): bigint {
    return this.baseTimeNs + BigInt(this.lastDelta);
  }

  /** The smallest entry takes 8 bytes, so a page's length bounds its entries. */
  reserve(pageBytes: number): void {
    const capacity = pageBytes >>> 3;
    if (this.offsets.length >= capacity) return;
    this.offsets = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
    this.ids = new Uint16Array(capacity);
    this.deltas = new Float64Array(capacity);
    this.ties = new Int32Array(capacity);
  }

  /** The page as 32-bit words: a view where the address allows it, else a copy, valid until the next call. */
  wordsOf(page: Buffer, words: number): Uint32Array {
    if ((page.byteOffset & 3) === 0) return new Uint32Array(page.buffer, page.byteOffset, words);
    if (this.#aligned.length < words << 2) this.#aligned = Buffer.from(new ArrayBuffer(words << 2));
    page.copy(this.#aligned, 0, 0, words << 2);
    return new Uint32Array(this.#aligned.buffer, 0, words);
  }
}

export interface PageHeader {
  readonly timeNs: bigint;
  /** Bytes of entries behind the header. */
  readonly dataBytes: number;
  /** Events lost before this page; 0 also when their number is not known. */
  readonly lost: number;
  readonly lostUnknown: boolean;
}

/** Reads the header of a page as the kernel gave it; the lost count must not be trimmed off yet. */
export function readPageHeader(page: Buffer): PageHeader {
  const commit = page.readUInt32LE(8);
  const dataBytes = commit & 0x3fffffff;
  const countAt = PAGE_HEADER_BYTES + dataBytes;
  const missed = commit >>> 31 === 1;
  const stored = missed && (commit & 0x40000000) !== 0 && countAt + 8 <= page.length;
  const lost = stored ? Number(page.readBigUInt64LE(countAt)) : 0;
  return { timeNs: page.readBigUInt64LE(0), dataBytes, lost, lostUnknown: missed && !stored };
}

/** 2^27: time extends count in these. */
const HIGH = 134_217_728;
const SPAN_NS_MAX = 2 ** 53;
/** Padding without a delta. */
const PAGE_END = 29;

/**
 * Walks a page once. `wanted` has 65,536 bytes: at each id 0, NOTED, or
 * FIRST_TEST plus an index of `tests`; `cursor` is advanced over all entries.
 * Never throws, never reads outside the page; garbage sets `malformed`.
 */
export function scanPage(
  page: Buffer,
  wanted: Uint8Array,
  cursor: LaneCursor,
  out: PageEntries,
  tests: readonly EntryTest[] = NO_TESTS,
): void {
  out.count = 0;
  out.entries = 0;
  out.firstDelta = 0;
  out.lastDelta = 0;
  out.firstTie = 0;
  out.malformed = page.length < PAGE_HEADER_BYTES;
  if (out.malformed) return;
  const dataEnd = PAGE_HEADER_BYTES + (page.readUInt32LE(8) & 0x3fffffff);
  const end = Math.min(dataEnd, page.length) >>> 2;
  out.malformed = dataEnd > page.length;
  out.reserve(end << 2);
  out.baseTimeNs = page.readBigUInt64LE(0);
  walk(out.wordsOf(page, end), wanted, tests, cursor, out);
}

/** The hot loop. Positions are words, not bytes: entries are aligned to four bytes. */
function walk(
  words: Uint32Array,
  wanted: Uint8Array,
  tests: readonly EntryTest[],
  cursor: LaneCursor,
  out: PageEntries,
): void {
  const end = words.length;
  const { offsets, lengths, ids, deltas, ties } = out;
  const unknown = cursor.lastTimeNs < 0n;
  let previous = unknown ? Number.NaN : Number(cursor.lastTimeNs - out.baseTimeNs);
  let tie = cursor.tie - 1;
  let fresh = unknown ? cursor.tie : 0;
  let count = 0;
  let entries = 0;
  let time = 0;
  let at = PAGE_HEADER_BYTES >>> 2;
  while (at < end) {
    const word = words[at]!;
    const type = word & 31;
    let payload = at + 1;
    let next = payload + type;
    if ((type - 1) >>> 0 < 28) {
      time += word >>> 5;
    } else if (type === 0 && at + 1 < end) {
      time += word >>> 5;
      payload = at + 2;
      next = payload + Math.max(1, (words[at + 1]! - 1) >>> 2);
    } else {
      if (word === PAGE_END) break;
      const passed = at + 1 < end ? timeAfter(words, at, time, out.baseTimeNs) : -1;
      if (passed < 0) {
        out.malformed = true;
        break;
      }
      time = passed;
      at = type === 29 ? at + 1 + Math.max(1, Math.ceil(words[at + 1]! / 4)) : at + 2;
      continue;
    }
    if (next > end) {
      out.malformed = true;
      break;
    }
    if (time === previous) {
      tie++;
    } else {
      tie = fresh;
      previous = time;
    }
    fresh = 0;
    if (entries++ === 0) {
      out.firstTie = tie;
      out.firstDelta = time;
    }
    const id = words[payload]! & 0xffff;
    const how = wanted[id]!;
    if (how !== 0 && (how === NOTED || tests[how - FIRST_TEST]!(words, payload, next))) {
      offsets[count] = payload << 2;
      lengths[count] = (next - payload) << 2;
      ids[count] = id;
      deltas[count] = time;
      ties[count++] = tie;
    }
    at = next;
  }
  out.malformed ||= at > end;
  out.count = count;
  out.entries = entries;
  if (entries === 0) return;
  out.lastDelta = previous;
  cursor.lastTimeNs = out.lastTimeNs;
  cursor.tie = tie + 1;
}

/** The time, from the page's own, after a padding or time entry of two words or more; -1 on garbage. */
function timeAfter(words: Uint32Array, at: number, time: number, baseNs: bigint): number {
  const word = words[at]!;
  const delta = word >>> 5;
  const high = words[at + 1]!;
  // A discarded event keeps its delta, on which the next one's counts.
  if ((word & 31) === 29) return time + delta;
  // Names must not repeat: within a page time never runs backwards.
  const after = (word & 31) === 30 ? time + high * HIGH + delta : Math.max(time, stampDelta(baseNs, high, delta));
  return after < SPAN_NS_MAX ? after : -1;
}

/** Nanoseconds from the page's time to a stamp of 59 bits, exact beyond 2^53. */
function stampDelta(baseNs: bigint, high: number, low: number): number {
  const stamp = (BigInt(high) << 27n) | BigInt(low);
  const delta = BigInt.asUintN(59, stamp - baseNs);
  // The upper bits come from the page's time; a stamp just before it is not 18 years after it.
  return Number(delta >= 1n << 58n ? delta - (1n << 59n) : delta);
}

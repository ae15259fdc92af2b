/**
 * Reads the values of an encoded event, for the decoders that scripts/typed-messages.js makes. What is no message throws,
 * or ends as some other event: nothing is read beyond the bytes, and nothing goes on for ever.
 */
import { BackplaneError } from '../../errors.js';
import type { JsonValue } from '../gen/typed/types.js';

const NS_PER_S = 1_000_000_000n;

/** What Buffer has beside what its types tell: toString() takes half as long again. */
type Sliceable = Buffer & { utf8Slice(from: number, to: number): string };

export class EventReader {
  /** Offset of what is read next. */
  at = 0;
  readonly #bytes: Sliceable;
  readonly #view: DataView;

  constructor(bytes: Buffer) {
    this.#bytes = bytes as Sliceable;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** A tag, field << 3 | wire type. */
  tag(): number {
    const byte = this.#bytes[this.at]!;
    if (byte >= 0x80) return this.uint32();
    this.at += 1;
    return byte;
  }

  /** Reads a length; offset behind what is so long, which ends within its message. */
  end(limit: number): number {
    const byte = this.#bytes[this.at]!;
    let end: number;
    if (byte >= 0x80) {
      const length = this.uint32();
      end = this.at + length;
    } else {
      this.at += 1;
      end = this.at + byte;
    }
    if (!(end <= limit)) this.fail();
    return end;
  }

  /** What is said again and again, and much of it is, is one text. */
  text(limit: number): string {
    const end = this.end(limit);
    const from = this.at;
    this.at = end;
    const length = end - from;
    if (length === 0) return '';
    const bytes = this.#bytes;
    if (length > KEPT_BYTES_MAX) return bytes.utf8Slice(from, end);
    const slot = slotOf(bytes, from, end);
    const kept = slot * KEPT_BYTES_MAX;
    if (KEPT_LENGTHS[slot] === length) {
      let at = 0;
      while (at < length && KEPT_BYTES[kept + at] === bytes[from + at]) at += 1;
      if (at === length) return KEPT_TEXTS[slot]!;
    }
    const text = bytes.utf8Slice(from, end);
    KEPT_TEXTS[slot] = text;
    KEPT_LENGTHS[slot] = length;
    for (let at = 0; at < length; at += 1) KEPT_BYTES[kept + at] = bytes[from + at]!;
    return text;
  }

  /** Bytes with their length before them. */
  bytes(limit: number): Buffer {
    const end = this.end(limit);
    const from = this.at;
    this.at = end;
    return this.#bytes.subarray(from, end);
  }

  /** The message is none. */
  fail(): never {
    throw new BackplaneError(
      'invalid_argument',
      `the event ends amid a field, or a field behind it, at byte ${this.at}`,
    );
  }

  bool(): boolean {
    return this.uint32() !== 0;
  }

  int32(): number {
    return this.uint32() | 0;
  }

  /** The lower 32 bits. */
  uint32(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.at++]!;
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    for (let shift = 7; byte >= 0x80; shift += 7) {
      byte = bytes[this.at++]!;
      if (shift < 32) value |= (byte & 0x7f) << shift;
    }
    return value >>> 0;
  }

  uint64(): bigint {
    const before = this.at;
    const number = this.#number();
    if (number >= Number.MAX_SAFE_INTEGER) {
      this.at = before;
      return this.#wide();
    }
    if (number !== lastNumber) {
      lastNumber = number;
      lastWide = BigInt(number);
    }
    return lastWide;
  }

  int64(): bigint {
    return BigInt.asIntN(64, this.uint64());
  }

  fixed64(): bigint {
    const value = this.#view.getBigUint64(this.at, true);
    this.at += 8;
    return value;
  }

  /** A Timestamp that ends at `end`. */
  timeNs(end: number): bigint {
    let seconds = 0;
    let nanos = 0;
    while (this.at < end) {
      const tag = this.tag();
      if (tag === 8) seconds = this.#number();
      else if (tag === 16) nanos = this.uint32();
      else this.skip(tag);
    }
    if (seconds !== lastSecond) {
      lastSecond = seconds;
      lastSecondNs = BigInt(seconds) * NS_PER_S;
    }
    return lastSecondNs + BigInt(nanos);
  }

  /** An entry of a map of texts. */
  entry(end: number, into: Record<string, string>): void {
    let key = '';
    let value = '';
    while (this.at < end) {
      const tag = this.tag();
      if (tag === 10) key = this.text(end);
      else if (tag === 18) value = this.text(end);
      else this.skip(tag);
    }
    into[key] = value;
  }

  /** A google.protobuf.Value that ends at `end`. */
  json(end: number): JsonValue {
    let value: JsonValue = null;
    while (this.at < end) {
      const tag = this.tag();
      if (tag === 17) value = this.#double();
      else if (tag === 26) value = this.text(end);
      else if (tag === 32) value = this.bool();
      else if (tag === 42) value = this.#struct(this.end(end));
      else if (tag === 50) value = this.#list(this.end(end));
      else this.skip(tag);
    }
    return value;
  }

  #double(): number {
    const value = this.#view.getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  #struct(end: number): JsonValue {
    const fields: [string, JsonValue][] = [];
    while (this.at < end) {
      this.tag();
      const to = this.end(end);
      let name = '';
      let value: JsonValue = null;
      while (this.at < to) {
        const tag = this.tag();
        if (tag === 10) name = this.text(to);
        else if (tag === 18) value = this.json(this.end(to));
        else this.skip(tag);
      }
      fields.push([name, value]);
    }
    // Also a name that objects give a meaning to becomes a property like any other.
    return Object.fromEntries(fields);
  }

  #list(end: number): JsonValue {
    const values: JsonValue[] = [];
    while (this.at < end) {
      this.tag();
      values.push(this.json(this.end(end)));
    }
    return values;
  }

  skip(tag: number): void {
    const wireType = tag & 7;
    if (wireType === 2) this.at = this.end(this.#bytes.length);
    else if (wireType === 0) this.uint32();
    else if (wireType === 1) this.at += 8;
    else if (wireType === 5) this.at += 4;
    else this.fail();
  }

  /** Exact below 2^53. */
  #number(): number {
    const bytes = this.#bytes;
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
      // Also where the bytes have ended.
      if (!(byte >= 0x80)) return value;
      scale *= 128;
    }
  }

  #wide(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#bytes[this.at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (!(byte >= 0x80)) return BigInt.asUintN(64, value);
    }
  }
}

/** Events that follow each other are mostly of one recording and one second: their numbers are made once. */
let lastNumber = 0;
let lastWide = 0n;
let lastSecond = 0;
let lastSecondNs = 0n;

/** Texts that came lately, by a hash of their bytes: paths, names and words of which there are few. */
const KEPT_SLOTS = 4096;
const KEPT_BYTES_MAX = 64;
const KEPT_BYTES = new Uint8Array(KEPT_SLOTS * KEPT_BYTES_MAX);
const KEPT_LENGTHS = new Uint8Array(KEPT_SLOTS);
const KEPT_TEXTS: string[] = new Array(KEPT_SLOTS).fill('');
/** Of longer ones only so many bytes at the end are hashed, where they differ most. */
const HASHED_BYTES = 8;

function slotOf(bytes: Uint8Array, from: number, end: number): number {
  let hash = end - from;
  for (let at = Math.max(from, end - HASHED_BYTES); at < end; at += 1) hash = Math.imul(hash, 31) + bytes[at]!;
  if (end - from > HASHED_BYTES) hash = Math.imul(hash, 31) + bytes[from + ((end - from) >> 1)]!;
  return (hash ^ (hash >>> 12)) & (KEPT_SLOTS - 1);
}

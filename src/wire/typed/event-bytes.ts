/**
 * Reads the values of an encoded message that was found valid (event-check.ts): nothing is checked again. What is made
 * of it is scripts/typed-messages.js's.
 */
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

  /** Reads a length; offset behind what is so long. */
  end(): number {
    const byte = this.#bytes[this.at]!;
    if (byte >= 0x80) {
      const length = this.uint32();
      return this.at + length;
    }
    this.at += 1;
    return this.at + byte;
  }

  text(): string {
    const end = this.end();
    const from = this.at;
    this.at = end;
    return from === end ? '' : this.#bytes.utf8Slice(from, end);
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
      if (tag === 10) key = this.text();
      else if (tag === 18) value = this.text();
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
      else if (tag === 26) value = this.text();
      else if (tag === 32) value = this.bool();
      else if (tag === 42) value = this.#struct(this.end());
      else if (tag === 50) value = this.#list(this.end());
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
      const to = this.end();
      let name = '';
      let value: JsonValue = null;
      while (this.at < to) {
        const tag = this.tag();
        if (tag === 10) name = this.text();
        else if (tag === 18) value = this.json(this.end());
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
      values.push(this.json(this.end()));
    }
    return values;
  }

  skip(tag: number): void {
    const wireType = tag & 7;
    if (wireType === 2) this.at = this.end();
    else if (wireType === 0) this.uint32();
    else this.at += wireType === 1 ? 8 : 4;
  }

  /** Exact below 2^53. */
  #number(): number {
    const bytes = this.#bytes;
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
  }

  #wide(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#bytes[this.at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
  }
}

/** Events that follow each other are mostly of one recording and one second: their numbers are made once. */
let lastNumber = 0;
let lastWide = 0n;
let lastSecond = 0;
let lastSecondNs = 0n;

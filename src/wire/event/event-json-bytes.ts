/**
 * Encoded events as JSON, from bytes to bytes: the same as event-json.ts, without an object in between. Text is copied
 * as it stands, since both forms are UTF-8.
 *
 * Whatever is encoded in an unusual way is left to the slow way: fields out of order or twice, fields that the schema
 * does not know, values that have no JSON form.
 */
import { isUtf8 } from 'node:buffer';
import { FIXED64, LENGTH } from '../protobuf.js';
import {
  EVENT_FORM,
  type FieldForm,
  FLAG,
  INT32,
  INT64,
  MESSAGE,
  type MessageForm,
  NODE,
  TEXT,
  TEXTS,
  TIME,
  TOPIC,
  UINT32,
} from './event-json-form.js';
import { NANOS_MAX, SECONDS_MAX } from './event-shape.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DIGIT = 0x30;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const ZONE = 0x5a;
const HEX = Buffer.from('0123456789abcdef');
const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
/** By byte: what follows the backslash; 1 where that is \u00XX; 0 where the byte stands for itself. */
const ESCAPES = new Uint8Array(256).fill(1, 0, 0x20);
for (const [byte, letter] of [...['\bb', '\tt', '\nn', '\ff', '\rr']].map(
  (pair) => [pair.charCodeAt(0), pair[1]!] as const,
))
  ESCAPES[byte] = letter.charCodeAt(0);
ESCAPES[QUOTE] = QUOTE;
ESCAPES[BACKSLASH] = BACKSLASH;
/** A byte of text takes at most so many of JSON. */
const ESCAPED_BYTES_MAX = 6;
/** At most what a field takes besides its name and its text: the longest is a time. */
const VALUE_BYTES_MAX = 64;
const TWO_32 = 2 ** 32;
/** Below it a number of 64 bits is exact. */
const HIGH_MAX = 2 ** 21;

/** Thrown, and caught in openEvent: an event that the slow way has to write. */
const UNUSUAL = new Error('encoded in an unusual way');

/** Lines of JSON in the making. */
export class JsonBytes {
  #bytes: Buffer;
  #length = 0;
  /** The event that is read, and where. */
  #source: Buffer = Buffer.alloc(0);
  #at = 0;
  /** The lower 32 bits of the number that #wide read last. */
  #low = 0;
  /** Events that follow each other are mostly of one second: `2026-01-31T23:59:59.` */
  readonly #secondText = Buffer.alloc(20);
  #second = -1;

  /** `bytes`: room at first; it grows. */
  constructor(bytes = 64 * 1024) {
    this.#bytes = Buffer.allocUnsafe(bytes);
  }

  /** Begins anew. */
  clear(): void {
    this.#length = 0;
  }

  /** A copy of what was written; begins anew. */
  takeBytes(): Buffer {
    const bytes = Buffer.from(this.#bytes.subarray(0, this.#length));
    this.#length = 0;
    return bytes;
  }

  /** What was written, as text; begins anew. */
  takeText(): string {
    const text = this.#bytes.toString('utf8', 0, this.#length);
    this.#length = 0;
    return text;
  }

  /** Writes text as it stands. */
  text(text: string): void {
    this.#reserve(text.length * 3);
    this.#length += this.#bytes.write(text, this.#length);
  }

  /**
   * Writes the event in bytes[from, to) as an object without its closing brace, so that fields can be added. False, with
   * nothing written, for one that is encoded in an unusual way. `node` and `topic` are left out when empty.
   */
  openEvent(bytes: Buffer, from: number, to: number, node: string, topic: string): boolean {
    const began = this.#length;
    this.#source = bytes;
    this.#at = from;
    try {
      this.#fields(to, EVENT_FORM);
    } catch (thrown) {
      if (thrown !== UNUSUAL) throw thrown;
      this.#length = began;
      return false;
    }
    if (topic !== '') this.#named(TOPIC, topic);
    if (node !== '') this.#named(NODE, node);
    return true;
  }

  #named(key: Uint8Array, value: string): void {
    const json = JSON.stringify(value);
    this.#reserve(key.length + 1 + json.length * 3);
    this.#key(key);
    this.#length += this.#bytes.write(json, this.#length);
  }

  /** Reads up to `to`; writes an opening brace and all fields. */
  #fields(to: number, form: MessageForm): void {
    this.#reserve(1);
    this.#put(OPEN);
    let before = 0;
    while (this.#at < to) {
      const tag = this.#number(to);
      const number = tag >>> 3;
      const field = form[number];
      if (field === undefined || (tag & 7) !== field.wireType || number <= before) throw UNUSUAL;
      before = number;
      if (field.wireType === LENGTH) this.#chunk(to, tag, field);
      else if (field.wireType === FIXED64) this.#fixed(to, field);
      else this.#varint(to, field);
    }
  }

  #chunk(to: number, tag: number, field: FieldForm): void {
    const end = this.#end(to, field);
    const { kind, key } = field;
    if (kind === TEXT) {
      if (this.#at === end && !field.optional) return;
      this.#key(key);
      this.#string(end);
    } else if (kind === MESSAGE) {
      this.#key(key);
      this.#fields(end, field.inner);
      this.#reserve(1);
      this.#put(CLOSE);
    } else if (kind === TEXTS) {
      this.#key(key);
      this.#put(OPEN_LIST);
      this.#string(end);
      while (this.#at < to && this.#tagIs(tag)) {
        const next = this.#end(to, field);
        this.#put(COMMA);
        this.#string(next);
      }
      this.#put(CLOSE_LIST);
    } else if (kind === TIME) {
      this.#key(key);
      this.#time(end);
    } else this.#fixeds(end, key);
    if (this.#at !== end && kind !== TEXTS) throw UNUSUAL;
  }

  /** Seconds and nanoseconds, which have no other fields beside them. */
  #time(end: number): void {
    const source = this.#source;
    let seconds = 0;
    let nanos = 0;
    if (this.#at < end && source[this.#at] === 0x08) {
      this.#at += 1;
      const high = this.#wide(end);
      if (high !== 0 && (high < 0 || high >= HIGH_MAX)) throw UNUSUAL;
      seconds = high * TWO_32 + this.#low;
    }
    if (this.#at < end && source[this.#at] === 0x10) {
      this.#at += 1;
      if (this.#wide(end) !== 0) throw UNUSUAL;
      nanos = this.#low;
    }
    if (seconds > SECONDS_MAX || nanos > NANOS_MAX) throw UNUSUAL;
    if (seconds !== this.#second) {
      this.#second = seconds;
      this.#secondText.write(new Date(seconds * 1000).toISOString(), 'latin1');
    }
    this.#put(QUOTE);
    this.#copy(this.#secondText);
    this.#digits(nanos, 9);
    this.#put(ZONE);
    this.#put(QUOTE);
  }

  #fixed(to: number, field: FieldForm): void {
    this.#reserve(field.key.length + VALUE_BYTES_MAX);
    const { low, high } = this.#fixedAt(to);
    if (low === 0 && high === 0 && !field.optional) return;
    this.#key(field.key);
    this.#quoted(low, high, false);
  }

  /** A list of packed ones. */
  #fixeds(end: number, key: Uint8Array): void {
    if (this.#at === end) return;
    this.#reserve(key.length + VALUE_BYTES_MAX + (end - this.#at) * 3);
    this.#key(key);
    this.#put(OPEN_LIST);
    for (let first = true; this.#at < end; first = false) {
      if (!first) this.#put(COMMA);
      const { low, high } = this.#fixedAt(end);
      this.#quoted(low, high, false);
    }
    this.#put(CLOSE_LIST);
  }

  #fixedAt(to: number): { low: number; high: number } {
    const at = this.#at;
    if (at + 8 > to) throw UNUSUAL;
    this.#at = at + 8;
    return { low: this.#source.readUInt32LE(at), high: this.#source.readUInt32LE(at + 4) };
  }

  #varint(to: number, { kind, key, optional }: FieldForm): void {
    this.#reserve(key.length + VALUE_BYTES_MAX);
    const high = this.#wide(to);
    const low = this.#low;
    // Of what is too wide decoders keep the lower half.
    if (high !== 0 && kind <= FLAG && !(kind === INT32 && high === 0xffff_ffff)) throw UNUSUAL;
    if (low === 0 && high === 0 && !optional) return;
    this.#key(key);
    if (kind === FLAG) this.#copy(low !== 0 ? TRUE : FALSE);
    else if (kind === UINT32) this.#digits(low);
    else if (kind === INT32) {
      if (low >= 0x8000_0000) this.#put(MINUS);
      this.#digits(low >= 0x8000_0000 ? TWO_32 - low : low);
    } else this.#quoted(low, high, kind === INT64);
  }

  /** A number of 64 bits, as text. */
  #quoted(low: number, high: number, signed: boolean): void {
    this.#put(QUOTE);
    if (high >= 0 && high < HIGH_MAX) this.#digits(high * TWO_32 + low);
    else {
      const value = (BigInt(high >>> 0) << 32n) | BigInt(low);
      const text = String(signed ? BigInt.asIntN(64, value) : value);
      this.#length += this.#bytes.write(text, this.#length, 'latin1');
    }
    this.#put(QUOTE);
  }

  /** A whole number from 0 to 2^53, with zeros in front of it to that width. */
  #digits(value: number, width = 1): void {
    let digits = width;
    for (let bound = 10 ** width; value >= bound; bound *= 10) digits += 1;
    const out = this.#bytes;
    const end = this.#length + digits;
    let at = end;
    let rest = value;
    // Whole numbers of 32 bits are divided faster.
    while (rest > 0xffff_ffff) {
      const upper = Math.floor(rest / 10);
      out[--at] = DIGIT + (rest - upper * 10);
      rest = upper;
    }
    let narrow = rest >>> 0;
    while (at > this.#length) {
      const upper = (narrow / 10) >>> 0;
      out[--at] = DIGIT + (narrow - upper * 10);
      narrow = upper;
    }
    this.#length = end;
  }

  /** Reads a varint of up to ten bytes; its upper 32 bits, unsigned. */
  #wide(to: number): number {
    const source = this.#source;
    let at = this.#at;
    let byte = at < to ? source[at++]! : 0x80;
    if (byte < 0x80) {
      this.#at = at;
      this.#low = byte;
      return 0;
    }
    let low = byte & 0x7f;
    let high = 0;
    for (let shift = 7; ; shift += 7) {
      if (at >= to || shift > 63) throw UNUSUAL;
      byte = source[at++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) break;
    }
    this.#at = at;
    this.#low = low >>> 0;
    return high >>> 0;
  }

  /** Reads a length or a tag. */
  #number(to: number): number {
    if (this.#wide(to) !== 0) throw UNUSUAL;
    return this.#low;
  }

  /** Whether the next tag is this one, which is read then. */
  #tagIs(tag: number): boolean {
    const before = this.#at;
    if (this.#number(this.#source.length) === tag) return true;
    this.#at = before;
    return false;
  }

  /** Reads a length; where the chunk ends. There is room for its JSON then. */
  #end(to: number, { key }: FieldForm): number {
    const length = this.#number(to);
    const end = this.#at + length;
    if (end > to) throw UNUSUAL;
    this.#reserve(key.length + VALUE_BYTES_MAX + length * ESCAPED_BYTES_MAX);
    return end;
  }

  /** Text up to `end`. */
  #string(end: number): void {
    const source = this.#source;
    const out = this.#bytes;
    let length = this.#length;
    let high = 0;
    out[length++] = QUOTE;
    for (let at = this.#at; at < end; at += 1) {
      const byte = source[at]!;
      high |= byte;
      const letter = ESCAPES[byte]!;
      if (letter === 0) out[length++] = byte;
      else {
        out[length++] = BACKSLASH;
        if (letter === 1) {
          length += out.write('u00', length, 'latin1');
          out[length++] = HEX[byte >>> 4]!;
          out[length++] = HEX[byte & 15]!;
        } else out[length++] = letter;
      }
    }
    out[length++] = QUOTE;
    if (high >= 0x80 && !isUtf8(source.subarray(this.#at, end))) throw UNUSUAL;
    this.#at = end;
    this.#length = length;
  }

  /** Writes a name, after a comma unless it is the first of its object. */
  #key(key: Uint8Array): void {
    if (this.#bytes[this.#length - 1] !== OPEN) this.#put(COMMA);
    this.#copy(key);
  }

  #copy(bytes: Uint8Array): void {
    const out = this.#bytes;
    const length = this.#length;
    for (let at = 0; at < bytes.length; at += 1) out[length + at] = bytes[at]!;
    this.#length = length + bytes.length;
  }

  #put(byte: number): void {
    this.#bytes[this.#length++] = byte;
  }

  /** Makes room for so many bytes more. */
  #reserve(bytes: number): void {
    const wanted = this.#length + bytes;
    if (wanted <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(wanted, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

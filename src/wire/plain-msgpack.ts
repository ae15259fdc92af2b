/**
 * The part of msgpack that cursors, their notes and the log's checkpoints are made of, read strictly: lists, whole
 * numbers, short texts and bytes. Anybody can send a cursor, and a general reader would build anything that it
 * describes: shared and circular structures, classes, maps. Here every value takes at least a byte of its own, so that
 * work and memory are in proportion to the length of the input.
 *
 *   value := nil | whole number | text | bytes | list of values, at most DEPTH_MAX deep
 *
 *   nil          c0
 *   whole number 00..7f | cc u8 | cd u16 | ce u32 | cf u64 | d3 i64 | cb float64, where it is whole
 *   text         a0..bf | d9 u8
 *   bytes        c4 u8
 *   list         90..9f | dc u16 | dd u32
 */
import { BackplaneError } from '../errors.js';

/** Numbers of up to 32 bits, and floats, come as number; 64-bit integers as bigint. */
export type PlainValue = null | number | bigint | string | Buffer | readonly PlainValue[];

/** The deepest nesting in a cursor: its nodes, a node, its owed ranges, a range, a position. */
const DEPTH_MAX = 8;

/** Reads all of `bytes` as one value. Bytes in it are views. @throws BackplaneError damaged, in one sentence. */
export function readPlainMsgpack(bytes: Buffer): PlainValue {
  const reader = new PlainReader(bytes);
  const value = reader.value(0);
  if (reader.offset !== bytes.length) throw broken(`${bytes.length - reader.offset} bytes follow the value`);
  return value;
}

class PlainReader {
  offset = 0;

  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  value(depth: number): PlainValue {
    const bytes = this.#bytes;
    const at = this.#take(1);
    const type = bytes[at]!;
    if (type < 0x80) return type;
    if (type >= 0x90 && type < 0xa0) return this.#list(type & 0x0f, depth);
    if (type >= 0xa0 && type < 0xc0) return this.#text(type & 0x1f);
    switch (type) {
      case 0xc0:
        return null;
      case 0xc4:
        return this.#chunk(bytes[this.#take(1)]!);
      case 0xcb:
        return whole(bytes.readDoubleBE(this.#take(8)));
      case 0xcc:
        return bytes[this.#take(1)]!;
      case 0xcd:
        return bytes.readUInt16BE(this.#take(2));
      case 0xce:
        return bytes.readUInt32BE(this.#take(4));
      case 0xcf:
        return bytes.readBigUInt64BE(this.#take(8));
      case 0xd3:
        return bytes.readBigInt64BE(this.#take(8));
      case 0xd9:
        return this.#text(bytes[this.#take(1)]!);
      case 0xdc:
        return this.#list(bytes.readUInt16BE(this.#take(2)), depth);
      case 0xdd:
        return this.#list(bytes.readUInt32BE(this.#take(4)), depth);
      default:
        throw broken(`byte ${at} begins a value of the unknown type 0x${type.toString(16)}`);
    }
  }

  #list(length: number, depth: number): readonly PlainValue[] {
    if (depth >= DEPTH_MAX) throw broken(`lists must be at most ${DEPTH_MAX} deep`);
    const left = this.#bytes.length - this.offset;
    if (length > left) throw broken(`a list says ${length} values, ${left} bytes are left`);
    const values: PlainValue[] = [];
    for (let index = 0; index < length; index++) values.push(this.value(depth + 1));
    return values;
  }

  #text(length: number): string {
    return this.#chunk(length).toString('utf8');
  }

  #chunk(length: number): Buffer {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Offset of the next `count` bytes, which count as read from then on. */
  #take(count: number): number {
    const at = this.offset;
    if (at + count > this.#bytes.length) throw broken(`cut short at byte ${this.#bytes.length}`);
    this.offset = at + count;
    return at;
  }
}

function whole(value: number): number {
  if (!Number.isSafeInteger(value)) throw broken('a number is not whole');
  return value;
}

function broken(message: string): BackplaneError {
  return new BackplaneError('damaged', message);
}

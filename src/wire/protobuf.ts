/**
 * The few parts of the protobuf wire format that the hand-written codecs need,
 * over one Buffer, without an object per field.
 *
 *   Message := (tag varint | value)*      tag = field << 3 | wire type
 *   value   := varint (0) | 8 bytes (1) | length varint, bytes (2) | 4 bytes (5)
 *
 * Every read checks the end of the message first; a message that lies about a
 * length is refused with BackplaneError('invalid_argument').
 */
import { BackplaneError } from '../errors.js';

export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH = 2;
export const FIXED32 = 5;

export class ProtoReader {
  offset = 0;
  /** The field and wire type of the last tag read. */
  field = 0;
  wireType = 0;

  constructor(
    readonly bytes: Buffer,
    /** The message's name in errors. */
    readonly what: string,
  ) {}

  fail(message: string): BackplaneError {
    return new BackplaneError('invalid_argument', `${this.what}: ${message}`);
  }

  /** False at the end of the message. */
  nextTag(): boolean {
    if (this.offset >= this.bytes.length) return false;
    const tag = this.varint();
    if (tag > 0xffff_ffff) throw this.fail(`tag must be below 2^32, got ${tag}`);
    this.field = tag >>> 3;
    this.wireType = tag & 7;
    if (this.field === 0) throw this.fail(`field number 0 at byte ${this.offset}`);
    return true;
  }

  expect(wireType: number): void {
    if (this.wireType !== wireType) {
      throw this.fail(`field ${this.field} must have wire type ${wireType}, got ${this.wireType}`);
    }
  }

  /** A bare varint up to 2^53 - 1; a larger one is refused. */
  varint(): number {
    const { bytes } = this;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      if (this.offset >= bytes.length) throw this.fail(`cut short at byte ${bytes.length}`);
      const byte = bytes[this.offset++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw this.fail(`field ${this.field} must be below 2^53, got ${value}`);
        return value;
      }
      scale *= 128;
    }
    throw this.fail(`varint longer than 10 bytes at byte ${this.offset}`);
  }

  uint(): number {
    this.expect(VARINT);
    return this.varint();
  }

  uint32(): number {
    this.expect(VARINT);
    return this.varint32();
  }

  /** A bare varint below 2^32: an element of a packed field. */
  varint32(): number {
    const value = this.varint();
    if (value > 0xffff_ffff) throw this.fail(`field ${this.field} must be below 2^32, got ${value}`);
    return value;
  }

  bool(): boolean {
    return this.uint() !== 0;
  }

  fixed64(): bigint {
    this.expect(FIXED64);
    if (this.offset + 8 > this.bytes.length) throw this.fail(`cut short at byte ${this.bytes.length}`);
    const value = this.bytes.readBigUInt64LE(this.offset);
    this.offset += 8;
    return value;
  }

  /** A view of the next length-delimited value, not a copy. */
  chunk(): Buffer {
    this.expect(LENGTH);
    const length = this.varint();
    const end = this.offset + length;
    if (end > this.bytes.length) {
      throw this.fail(`field ${this.field} says ${length} bytes, ${this.bytes.length - this.offset} are left`);
    }
    const chunk = this.bytes.subarray(this.offset, end);
    this.offset = end;
    return chunk;
  }

  skip(): void {
    if (this.wireType === VARINT) this.#skipBytes(this.#varintLength());
    else if (this.wireType === FIXED64) this.#skipBytes(8);
    else if (this.wireType === LENGTH) this.chunk();
    else if (this.wireType === FIXED32) this.#skipBytes(4);
    else throw this.fail(`field ${this.field} has the unknown wire type ${this.wireType}`);
  }

  #varintLength(): number {
    for (let i = 0; i < 10; i++) {
      const byte = this.bytes[this.offset + i];
      if (byte === undefined) break;
      if (byte < 0x80) return i + 1;
    }
    throw this.fail(`varint without an end at byte ${this.offset}`);
  }

  #skipBytes(count: number): void {
    if (this.offset + count > this.bytes.length) throw this.fail(`cut short at byte ${this.bytes.length}`);
    this.offset += count;
  }
}

/** Bytes that `value` (0 to 2^53 - 1) takes as a varint. */
export function varintBytes(value: number): number {
  let count = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) count++;
  return count;
}

/** Writes a number (0 to 2^53 - 1) as a varint at an offset; returns where it ends. */
function writeVarint(bytes: Buffer, value: number, offset: number): number {
  let at = offset;
  let rest = value;
  while (rest > 0x7fff_ffff) {
    bytes[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest > 0x7f) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

/** Writes into a buffer that the caller sized; offsets beyond it throw RangeError (a defect). */
export class ProtoWriter {
  readonly bytes: Buffer;
  offset = 0;

  constructor(bytesMax: number) {
    this.bytes = Buffer.allocUnsafe(bytesMax);
  }

  varint(value: number): void {
    this.offset = writeVarint(this.bytes, value, this.offset);
  }

  tag(field: number, wireType: number): void {
    this.varint((field << 3) | wireType);
  }

  /** Omitted when zero, as proto3 does. */
  uintField(field: number, value: number): void {
    if (value === 0) return;
    this.tag(field, VARINT);
    this.varint(value);
  }

  fixed64Field(field: number, value: bigint): void {
    if (value === 0n) return;
    this.tag(field, FIXED64);
    this.bytes.writeBigUInt64LE(value, this.offset);
    this.offset += 8;
  }

  stringField(field: number, value: string): void {
    if (value === '') return;
    this.tag(field, LENGTH);
    this.varint(Buffer.byteLength(value));
    this.offset += this.bytes.write(value, this.offset);
  }

  bytesField(field: number, value: Uint8Array): void {
    if (value.length === 0) return;
    this.tag(field, LENGTH);
    this.varint(value.length);
    this.bytes.set(value, this.offset);
    this.offset += value.length;
  }

  packedField(field: number, values: ArrayLike<number>): void {
    if (values.length === 0) return;
    let length = 0;
    for (let i = 0; i < values.length; i++) length += varintBytes(values[i]!);
    this.tag(field, LENGTH);
    this.varint(length);
    for (let i = 0; i < values.length; i++) this.varint(values[i]!);
  }

  packedFixed64Field(field: number, values: BigUint64Array): void {
    if (values.length === 0) return;
    this.tag(field, LENGTH);
    this.varint(values.length * 8);
    for (let i = 0; i < values.length; i++) {
      this.bytes.writeBigUInt64LE(values[i]!, this.offset);
      this.offset += 8;
    }
  }

  finish(): Buffer {
    return this.bytes.subarray(0, this.offset);
  }
}

const UTF8_BYTES_MAX = 3;
/** Of a tag and a length. */
const ELEMENT_BYTES_MAX = 4;

/** One message after the other into a buffer that grows: the room is reserved first, and nothing is made for a field. */
export class GrowingWriter {
  bytes: Buffer;
  /** How much of them is written. */
  end = 0;
  /** Of the same bytes: it writes 64 bits without making others of them first. */
  #view: DataView;
  readonly #elementBytesMax: number;

  /** @param elementBytesMax what is longer is cut */
  constructor(capacityBytes: number, elementBytesMax: number) {
    this.#elementBytesMax = elementBytesMax;
    this.bytes = Buffer.allocUnsafe(capacityBytes);
    this.#view = viewOf(this.bytes);
  }

  string(tag: number, value: string | undefined): void {
    if (value) this.element(tag, value);
  }

  element(tag: number, value: string, bytesMax = this.#elementBytesMax): void {
    const at = this.open(tag);
    this.end += this.bytes.write(value, this.end, bytesMax, 'utf8');
    this.close(at);
  }

  /** As far as there is room; false where that is not all. An empty argument is one, too. */
  elements(tag: number, args: readonly string[], bytesMax: number): boolean {
    const end = this.end + bytesMax;
    for (const argument of args) {
      const left = end - this.end - ELEMENT_BYTES_MAX;
      if (left <= 0) return false;
      this.element(tag, argument, left);
      if (argument.length * UTF8_BYTES_MAX > left && Buffer.byteLength(argument) > left) return false;
    }
    return true;
  }

  /** A varint field for a number up to 2^53; negative ones are sign-extended like int32; 0 is not written. */
  int(tag: number, value: number): void {
    if (value === 0) return;
    this.byte(tag);
    if (value > 0) this.varint(value);
    else this.wide(BigInt.asUintN(64, BigInt(value)));
  }

  /** A varint field of any 64-bit integer; 0 is not written. */
  int64(tag: number, value: bigint): void {
    if (value !== 0n) this.present(tag, value);
  }

  present(tag: number, value: bigint): void {
    this.byte(tag);
    this.wide(BigInt.asUintN(64, value));
  }

  varint(value: number): void {
    this.end = writeVarint(this.bytes, value, this.end);
  }

  /** Protobuf writes a negative integer as ten bytes of its 64-bit two's complement. */
  wide(value: bigint): void {
    let rest = value;
    while (rest > 0x7fn) {
      this.byte(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.byte(Number(rest));
  }

  byte(value: number): void {
    this.bytes[this.end++] = value;
  }

  /** Begins a length-delimited field with one byte kept for its length. */
  open(tag: number): number {
    this.byte(tag);
    return this.end++;
  }

  /** Fills in the length; moves the content when one byte is not enough for it. */
  close(at: number): void {
    const size = this.end - at - 1;
    if (size < 0x80) {
      this.bytes[at] = size;
      return;
    }
    const extra = size < 0x4000 ? 1 : 2;
    this.bytes.copyWithin(at + 1 + extra, at + 1, this.end);
    this.end = at;
    this.varint(size);
    this.end += size;
  }

  reserve(bytes: number): void {
    if (this.bytes.length - this.end >= bytes) return;
    const grown = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.end + bytes));
    this.bytes.copy(grown, 0, 0, this.end);
    this.bytes = grown;
    this.#view = viewOf(grown);
  }

  fixed64(tag: number, value: bigint): void {
    this.byte(tag);
    this.eight(value);
  }

  /** Of a packed fixed64 field, signed or not. */
  eight(value: bigint): void {
    this.#view.setBigInt64(this.end, value, true);
    this.end += 8;
  }
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}

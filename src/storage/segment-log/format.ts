/**
 * The bytes of a segment file. All integers are little endian.
 *
 *   Segment := Header Record*
 *   Header  := magic "BPLOGSEG" | version u16 | headRecords u16 | salt u32 | identity u64
 *              | firstOrdinal u64 | createdNs u64 | zero u32 | crc32 u32 (of the 44 bytes before)
 *   Record  := marker u32 | crc32 u32 | check u16 | kind u8 | flags u8 | length u32
 *              | ordinal u64 | timeNs u64 | payload (length bytes)
 *
 * `crc32` is over everything from `kind` on, started from the log's salt; `check` is the low half of the same sum at
 * the end of the fixed part, so a damaged length is detected before it is used. The salt is random and never leaves the
 * log's directory: no payload can contain bytes that look like a record to a reader searching for the next good one.
 */
import { crc32 } from 'node:zlib';
import { BackplaneError } from '../../errors.js';

export const HEADER_BYTES = 48;
export const RECORD_HEADER_BYTES = 32;
/** "\xb5REC", never valid UTF-8. */
export const MARKER = Buffer.from([0xb5, 0x52, 0x45, 0x43]);

const MARKER_U32 = MARKER.readUInt32LE(0);
const MAGIC = Buffer.from('BPLOGSEG', 'latin1');
const VERSION = 1;
const HEADER_CRC_AT = HEADER_BYTES - 4;
const SUMMED_FROM = 10;
const FLAG_ANCHOR = 1;
const TWO_32 = 2 ** 32;

/** Identifies the log that a segment belongs to. */
export interface LogKey {
  /** Random, u64. */
  readonly identity: bigint;
  /** Random, u32: the start value of all checksums. */
  readonly salt: number;
}

export interface SegmentHeader extends LogKey {
  readonly firstOrdinal: number;
  /** Wall clock. */
  readonly createdNs: bigint;
  /** Number of records that the segment was begun with, in one write. */
  readonly headRecords: number;
}

export interface RecordFields {
  /** Chosen by the log's owner, 0..255. */
  readonly kind: number;
  /** Wall clock, nanoseconds since 1970, u64. */
  readonly timeNs: bigint;
  readonly anchor?: boolean;
}

export interface RecordHeader {
  readonly kind: number;
  readonly anchor: boolean;
  readonly ordinal: number;
  readonly timeNs: bigint;
  /** Payload bytes. */
  readonly length: number;
  readonly crc: number;
  /** Checksum of the fixed part, which the payload's checksum continues; undefined where it was not summed. */
  readonly sum: number | undefined;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const out = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(out, 0);
  out.writeUInt16LE(VERSION, 8);
  out.writeUInt16LE(header.headRecords, 10);
  out.writeUInt32LE(header.salt, 12);
  out.writeBigUInt64LE(header.identity, 16);
  out.writeBigUInt64LE(BigInt(header.firstOrdinal), 24);
  out.writeBigUInt64LE(BigInt.asUintN(64, header.createdNs), 32);
  out.writeUInt32LE(crc32(out.subarray(0, HEADER_CRC_AT)), HEADER_CRC_AT);
  return out;
}

/**
 * The header, or a sentence that says why it is invalid. Throws `failed_precondition` when it is sound, but of another
 * version: the rest would look damaged, and what looks damaged is cut.
 */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | string {
  if (bytes.length < HEADER_BYTES) return `header cut after ${bytes.length} bytes`;
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return 'not a segment';
  if (crc32(bytes.subarray(0, HEADER_CRC_AT)) !== bytes.readUInt32LE(HEADER_CRC_AT)) return 'header checksum wrong';
  const version = bytes.readUInt16LE(8);
  if (version !== VERSION) {
    const others = 'start the version that wrote it, or with another directory';
    throw new BackplaneError(
      'failed_precondition',
      `is of format version ${version}, and this program reads version ${VERSION}: ${others}`,
    );
  }
  const firstOrdinal = bytes.readBigUInt64LE(24);
  if (firstOrdinal > BigInt(Number.MAX_SAFE_INTEGER)) return 'first ordinal out of range';
  return {
    headRecords: bytes.readUInt16LE(10),
    salt: bytes.readUInt32LE(12),
    identity: bytes.readBigUInt64LE(16),
    firstOrdinal: Number(firstOrdinal),
    createdNs: bytes.readBigUInt64LE(32),
  };
}

/**
 * Writes a record's fixed part into `out` (RECORD_HEADER_BYTES long); sums the payload's parts without joining them.
 */
export function encodeRecordHeader(
  out: Buffer,
  record: RecordFields,
  parts: readonly Uint8Array[],
  length: number,
  ordinal: number,
  salt: number,
): void {
  out.writeUInt32LE(MARKER_U32, 0);
  out[10] = record.kind;
  out[11] = record.anchor === true ? FLAG_ANCHOR : 0;
  out.writeUInt32LE(length, 12);
  out.writeUInt32LE(ordinal % TWO_32, 16);
  out.writeUInt32LE(Math.floor(ordinal / TWO_32), 20);
  out.writeBigUInt64LE(record.timeNs, 24);
  let sum = crc32(out.subarray(SUMMED_FROM, RECORD_HEADER_BYTES), salt);
  out.writeUInt16LE(sum & 0xffff, 8);
  for (const part of parts) sum = crc32(part, sum);
  out.writeUInt32LE(sum, 4);
}

/**
 * Decodes the fixed part at `at`, which must lie within `bytes`; undefined when it is not a record's. Without a salt it
 * is not summed: for bytes that are known to be good.
 */
export function decodeRecordHeader(bytes: Buffer, at: number, salt: number | undefined): RecordHeader | undefined {
  if (bytes.readUInt32LE(at) !== MARKER_U32) return undefined;
  const sum = salt === undefined ? undefined : crc32(bytes.subarray(at + SUMMED_FROM, at + RECORD_HEADER_BYTES), salt);
  if (sum !== undefined && (sum & 0xffff) !== bytes.readUInt16LE(at + 8)) return undefined;
  return {
    kind: bytes[at + 10]!,
    anchor: (bytes[at + 11]! & FLAG_ANCHOR) !== 0,
    length: bytes.readUInt32LE(at + 12),
    ordinal: bytes.readUInt32LE(at + 16) + bytes.readUInt32LE(at + 20) * TWO_32,
    timeNs: bytes.readBigUInt64LE(at + 24),
    crc: bytes.readUInt32LE(at + 4),
    sum,
  };
}

/** Whether the payload has the checksum that the fixed part states, which must have been summed itself. */
export function payloadMatches(header: RecordHeader, payload: Uint8Array): boolean {
  return crc32(payload, header.sum) === header.crc;
}

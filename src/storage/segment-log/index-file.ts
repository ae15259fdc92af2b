/**
 * A closed segment's index on disk, so that opening a log need not read the whole segment. It is a cache: if it is
 * missing, damaged or for another segment length, reading the segment builds it again.
 *
 *   Index := magic "BPINDEX1" | identity u64 | firstOrdinal u64 | nextOrdinal u64 | bytes u64
 *            | firstTimeNs u64 | lastTimeNs u64 | synced u32 | count u32
 *            | (offset u32 (top bit: anchor) | ordinal - firstOrdinal u32 | timeNs u64)*count | crc32 u32
 */
import { SEGMENT_ANCHORS_MAX, SEGMENT_BYTES_MAX, SEGMENT_MARK_BYTES } from '../../limits.js';
import { isSealed, seal } from './seal.js';
import { SparseIndex } from './sparse-index.js';

export interface SegmentSummary {
  readonly identity: bigint;
  readonly firstOrdinal: number;
  /** The ordinal after the last record's. */
  readonly nextOrdinal: number;
  /** Length of the segment file. */
  readonly bytes: number;
  /** Wall clock; both 0 when there are no records. */
  readonly firstTimeNs: bigint;
  readonly lastTimeNs: bigint;
  /** The segment was fsynced before this was written. */
  readonly synced: boolean;
  readonly index: SparseIndex;
}

const MAGIC = Buffer.from('BPINDEX1', 'latin1');
const FIXED_BYTES = 64;
const ENTRY_BYTES = 16;
const ENTRIES_MAX = SEGMENT_ANCHORS_MAX + 2 * (SEGMENT_BYTES_MAX / SEGMENT_MARK_BYTES);
const ANCHOR_BIT = 0x8000_0000;

export const INDEX_FILE_BYTES_MAX = FIXED_BYTES + ENTRIES_MAX * ENTRY_BYTES + 4;

export function encodeIndex(summary: SegmentSummary): Buffer {
  const { index } = summary;
  const out = Buffer.alloc(FIXED_BYTES + index.length * ENTRY_BYTES + 4);
  out.writeBigUInt64LE(summary.identity, 8);
  out.writeBigUInt64LE(BigInt(summary.firstOrdinal), 16);
  out.writeBigUInt64LE(BigInt(summary.nextOrdinal), 24);
  out.writeBigUInt64LE(BigInt(summary.bytes), 32);
  out.writeBigUInt64LE(summary.firstTimeNs, 40);
  out.writeBigUInt64LE(summary.lastTimeNs, 48);
  out.writeUInt32LE(summary.synced ? 1 : 0, 56);
  out.writeUInt32LE(index.length, 60);
  for (let at = 0; at < index.length; at++) {
    const offset = index.isAnchor(at) ? (index.offset(at) | ANCHOR_BIT) >>> 0 : index.offset(at);
    out.writeUInt32LE(offset, FIXED_BYTES + at * ENTRY_BYTES);
    out.writeUInt32LE(index.ordinal(at) - summary.firstOrdinal, FIXED_BYTES + at * ENTRY_BYTES + 4);
    out.writeBigUInt64LE(index.timeNs(at), FIXED_BYTES + at * ENTRY_BYTES + 8);
  }
  return seal(out, MAGIC);
}

/** Undefined when the bytes are no complete index. */
export function decodeIndex(bytes: Buffer): SegmentSummary | undefined {
  if (bytes.length < FIXED_BYTES + 4) return undefined;
  const count = bytes.readUInt32LE(60);
  if (bytes.length !== FIXED_BYTES + count * ENTRY_BYTES + 4) return undefined;
  if (!isSealed(bytes, MAGIC)) return undefined;
  const firstOrdinal = Number(bytes.readBigUInt64LE(16));
  const index = new SparseIndex();
  for (let at = FIXED_BYTES; at < bytes.length - 4; at += ENTRY_BYTES) {
    const offset = bytes.readUInt32LE(at);
    const ordinal = firstOrdinal + bytes.readUInt32LE(at + 4);
    index.add(ordinal, offset & ~ANCHOR_BIT, bytes.readBigUInt64LE(at + 8), offset >= ANCHOR_BIT);
  }
  return {
    identity: bytes.readBigUInt64LE(8),
    firstOrdinal,
    nextOrdinal: Number(bytes.readBigUInt64LE(24)),
    bytes: Number(bytes.readBigUInt64LE(32)),
    firstTimeNs: bytes.readBigUInt64LE(40),
    lastTimeNs: bytes.readBigUInt64LE(48),
    synced: bytes.readUInt32LE(56) === 1,
    index,
  };
}

/** Explains bad bytes at the end of the newest segment: an append that was cut short, or lost records. */
import { decodeRecordHeader, MARKER, RECORD_HEADER_BYTES } from './format.js';
import type { Segment } from './segment.js';

/** A stretch of bad bytes at the end of a segment. */
export interface Tail {
  readonly byteOffset: number;
  readonly bytes: number;
  /** The ordinal that was expected there. */
  readonly ordinal: number;
}

/** Disks write at least this much at once. */
const SECTOR_BYTES = 512;
const SCAN_BYTES = 64 * 1024;

/** True when the tail is the beginning of the next record and nothing else. */
export function isTorn(segment: Segment, tail: Tail): boolean {
  const written = writtenBytes(segment, tail);
  if (written === 0) return true;
  const bytes = readTail(segment, tail.byteOffset, Math.min(written, RECORD_HEADER_BYTES));
  if (bytes.length < RECORD_HEADER_BYTES) {
    const known = Math.min(bytes.length, MARKER.length);
    return bytes.length === written && bytes.subarray(0, known).equals(MARKER.subarray(0, known));
  }
  const header = decodeRecordHeader(bytes, 0, segment.key.salt);
  return header !== undefined && header.ordinal === tail.ordinal && RECORD_HEADER_BYTES + header.length > written;
}

/**
 * Length of the tail without the sectors that were never written. After a power cut, file systems (ext4 does) may keep
 * the length of an append whose bytes are not on the disk yet, and these bytes read as zeros.
 */
function writtenBytes(segment: Segment, { byteOffset, bytes }: Tail): number {
  const end = byteOffset + bytes;
  for (let to = end; to > byteOffset; ) {
    const from = Math.max(byteOffset, to - SCAN_BYTES);
    const read = readTail(segment, from, to - from);
    // A part that cannot be read does not count as zeros.
    const last = read.length < to - from ? read.length : read.findLastIndex((byte) => byte !== 0);
    if (last >= 0) return Math.min(end, Math.ceil((from + last + 1) / SECTOR_BYTES) * SECTOR_BYTES) - byteOffset;
    to = from;
  }
  return 0;
}

/** Upper bound of the records that the tail can have held. */
export function recordsMax(segment: Segment, tail: Tail): number {
  let at = tail.byteOffset;
  const end = at + tail.bytes;
  for (let count = 0; ; count++) {
    const bytes = readTail(segment, at, Math.min(RECORD_HEADER_BYTES, end - at));
    const header = bytes.length < RECORD_HEADER_BYTES ? undefined : decodeRecordHeader(bytes, 0, segment.key.salt);
    if (header?.ordinal !== tail.ordinal + count) return count + Math.ceil((end - at) / RECORD_HEADER_BYTES);
    at += RECORD_HEADER_BYTES + header.length;
    if (at >= end) return count + 1;
  }
}

function readTail(segment: Segment, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  try {
    const fd = segment.acquire();
    try {
      return bytes.subarray(0, segment.files.read(fd, bytes, 0, length, offset));
    } finally {
      segment.release();
    }
  } catch {
    return bytes.subarray(0, 0);
  }
}

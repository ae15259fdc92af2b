/** What the bad bytes at the end of the newest segment can have been: an append that was cut short, or lost records. */
import { decodeRecordHeader, MARKER, RECORD_HEADER_BYTES } from './format.js';
import type { Segment } from './segment.js';

/** A stretch of bad bytes at the end of a segment. */
export interface Tail {
  readonly byteOffset: number;
  readonly bytes: number;
  /** That was expected there. */
  readonly ordinal: number;
}

/** True when the tail is the beginning of the next record and nothing else. */
export function isTorn(segment: Segment, tail: Tail): boolean {
  const bytes = readTail(segment, tail.byteOffset, Math.min(tail.bytes, RECORD_HEADER_BYTES));
  if (bytes.length < RECORD_HEADER_BYTES) {
    const known = Math.min(bytes.length, MARKER.length);
    return bytes.length === tail.bytes && bytes.subarray(0, known).equals(MARKER.subarray(0, known));
  }
  const header = decodeRecordHeader(bytes, 0, segment.key.salt);
  return header !== undefined && header.ordinal === tail.ordinal && RECORD_HEADER_BYTES + header.length > tail.bytes;
}

/** How many records the tail can have held at most. */
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

/**
 * Checks the records that an owner gives to a log before anything is written, and writes those that a segment begins
 * with.
 */
import { BackplaneError } from '../../errors.js';
import { RECORD_BYTES_MAX, SEGMENT_HEAD_BYTES_MAX, SEGMENT_HEAD_RECORDS_MAX } from '../../limits.js';
import {
  encodeRecordHeader,
  encodeSegmentHeader,
  HEADER_BYTES,
  RECORD_HEADER_BYTES,
  type RecordFields,
} from './format.js';
import type { Segment } from './segment.js';

export interface NewRecord extends RecordFields {
  /** The payload, in pieces: at most RECORD_BYTES_MAX in all. Not kept. */
  readonly parts: readonly Uint8Array[];
}

/** Length of the payload in bytes. Throws `invalid_argument` for a record that cannot be stored. */
export function payloadLength(record: NewRecord): number {
  let length = 0;
  for (const part of record.parts) length += part.length;
  if (length > RECORD_BYTES_MAX) {
    throw new BackplaneError('invalid_argument', `a record must be at most ${RECORD_BYTES_MAX} bytes, got ${length}`);
  }
  const { kind, timeNs } = record;
  if (!(Number.isInteger(kind) && kind >= 0 && kind <= 255)) {
    throw new BackplaneError('invalid_argument', `kind of a record must be from 0 to 255, got ${kind}`);
  }
  if (timeNs < 0n || timeNs > 0xffff_ffff_ffff_ffffn) {
    throw new BackplaneError('invalid_argument', `timeNs of a record must be from 0 to 2^64 - 1, got ${timeNs}`);
  }
  return length;
}

/** Creates a segment's file with its header and the records that it begins with, in one write. */
export function createSegment(segment: Segment, records: readonly NewRecord[]): void {
  const { key, firstOrdinal, createdNs } = segment;
  checkRange('head records', records.length, 0, SEGMENT_HEAD_RECORDS_MAX);
  segment.headRecords = records.length;
  const buffers: Uint8Array[] = [encodeSegmentHeader({ ...key, firstOrdinal, createdNs, headRecords: records.length })];
  let bytes = HEADER_BYTES;
  for (const [at, record] of records.entries()) {
    const length = payloadLength(record);
    const header = Buffer.alloc(RECORD_HEADER_BYTES);
    encodeRecordHeader(header, record, record.parts, length, firstOrdinal + at, key.salt);
    segment.note(firstOrdinal + at, bytes, record.timeNs, record.anchor === true);
    buffers.push(header, ...record.parts);
    bytes += RECORD_HEADER_BYTES + length;
  }
  checkRange('head bytes', bytes, HEADER_BYTES, SEGMENT_HEAD_BYTES_MAX);
  segment.create(buffers, bytes);
}

export function checkRange(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new BackplaneError('invalid_argument', `${name} must be a whole number from ${min} to ${max}, got ${value}`);
}

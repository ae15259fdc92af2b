/**
 * The events of a frame that match each predicate. The agent decides, so that the broker splices without looking into
 * events.
 *
 *   Match := predicate_id fixed64 1 | all bool 2 | indices packed uint32 3
 */

import { invalid } from '../../errors.js';
import { FRAME_EVENTS_MAX, FRAME_MATCH_INDICES_MAX, PREDICATES_MAX } from '../../limits.js';
import { LENGTH, ProtoReader, type ProtoWriter, varintBytes } from '../protobuf.js';
import { readPacked } from './frame-columns.js';

/** The events of a frame that match one predicate. */
export interface Match {
  readonly predicateId: bigint;
  /** Every event matches; indices is empty then. */
  readonly all: boolean;
  /** Ascending, each below the frame's count. */
  readonly indices: readonly number[];
}

/** Throws invalid_argument unless each predicate appears once, with either all or ascending indices below `count`. */
export function checkMatches(what: string, matches: readonly Match[], count: number): void {
  if (matches.length > PREDICATES_MAX) {
    throw invalid(what, `at most ${PREDICATES_MAX} matches, got ${matches.length}`);
  }
  const seen = new Set<bigint>();
  let indexCount = 0;
  for (const { predicateId, all, indices } of matches) {
    if (seen.has(predicateId)) throw invalid(what, `predicate ${predicateId} has two match lists`);
    seen.add(predicateId);
    if (all === indices.length > 0) {
      throw invalid(what, `match of predicate ${predicateId} must have either all or indices`);
    }
    indexCount += indices.length;
    if (indexCount > FRAME_MATCH_INDICES_MAX) {
      throw invalid(what, `at most ${FRAME_MATCH_INDICES_MAX} match indices in all`);
    }
    let before = -1;
    for (const index of indices) {
      if (index <= before || index >= count) {
        throw invalid(what, `match indices must ascend and be below ${count}, got ${index} after ${before}`);
      }
      before = index;
    }
  }
}

export function matchBytesMax(matches: readonly Match[]): number {
  return matches.reduce((bytes, { indices }) => bytes + 24 + indices.length * 2, 0);
}

export function writeMatch(writer: ProtoWriter, field: number, { predicateId, all, indices }: Match): void {
  let packed = 0;
  for (const index of indices) packed += varintBytes(index);
  const indexBytes = packed === 0 ? 0 : 1 + varintBytes(packed) + packed;
  writer.tag(field, LENGTH);
  writer.varint((predicateId === 0n ? 0 : 9) + (all ? 2 : 0) + indexBytes);
  writer.fixed64Field(1, predicateId);
  writer.uintField(2, all ? 1 : 0);
  writer.packedField(3, indices);
}

/** Appends to `into`, within the bounds of a frame. */
export function readMatch(reader: ProtoReader, into: Match[]): void {
  if (into.length >= PREDICATES_MAX) throw reader.fail(`at most ${PREDICATES_MAX} matches`);
  const inner = new ProtoReader(reader.chunk(), `${reader.what}: match`);
  const indices: number[] = [];
  let predicateId = 0n;
  let all = false;
  while (inner.nextTag()) {
    if (inner.field === 1) predicateId = inner.fixed64();
    else if (inner.field === 2) all = inner.bool();
    else if (inner.field === 3) readPacked(inner, indices, FRAME_EVENTS_MAX);
    else inner.skip();
  }
  into.push({ predicateId, all, indices });
}

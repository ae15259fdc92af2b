/**
 * The matches of each predicate that a node did not send because it was over its budget, counted exactly.
 *
 *   Shed := predicate_id fixed64 1 | events uint64 2
 */

import { invalid } from '../../errors.js';
import { PREDICATES_MAX } from '../../limits.js';
import { LENGTH, ProtoReader, type ProtoWriter, varintBytes } from '../protobuf.js';

export interface Shed {
  readonly predicateId: bigint;
  /** At least 1. */
  readonly events: number;
}

/**
 * Throws invalid_argument unless each predicate appears once, with at least one event, in a frame without events of its
 * own.
 */
export function checkShed(shed: readonly Shed[], count: number): void {
  if (shed.length === 0) return;
  if (count > 0) throw invalid('frame', `must have either events or shed, got ${count} and ${shed.length}`);
  if (shed.length > PREDICATES_MAX) throw invalid('frame', `at most ${PREDICATES_MAX} shed, got ${shed.length}`);
  const seen = new Set<bigint>();
  for (const { predicateId, events } of shed) {
    if (seen.has(predicateId)) throw invalid('frame', `predicate ${predicateId} is shed twice`);
    seen.add(predicateId);
    if (events < 1) throw invalid('frame', `shed of predicate ${predicateId} must be at least 1, got ${events}`);
  }
}

export function writeShed(writer: ProtoWriter, { predicateId, events }: Shed): void {
  writer.tag(14, LENGTH);
  writer.varint((predicateId === 0n ? 0 : 9) + 1 + varintBytes(events));
  writer.fixed64Field(1, predicateId);
  writer.uintField(2, events);
}

/** Appends to `into`, within the bounds of a frame. */
export function readShed(reader: ProtoReader, into: Shed[]): void {
  if (into.length >= PREDICATES_MAX) throw reader.fail(`at most ${PREDICATES_MAX} shed`);
  const inner = new ProtoReader(reader.chunk(), 'frame: shed');
  let predicateId = 0n;
  let events = 0;
  while (inner.nextTag()) {
    if (inner.field === 1) predicateId = inner.fixed64();
    else if (inner.field === 2) events = inner.uint();
    else inner.skip();
  }
  into.push({ predicateId, events });
}

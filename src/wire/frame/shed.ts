/**
 * The events that a node did not send because it was over its budget, counted exactly: by the whole set of predicates
 * that an event matches, so that whoever asks with several predicates can count each event once.
 *
 *   Shed := predicate_ids packed fixed64 1 | events uint64 2
 */

import { invalid } from '../../errors.js';
import { FRAME_SHED_IDS_MAX } from '../../limits.js';
import { FIXED64, LENGTH, ProtoReader, type ProtoWriter, varintBytes } from '../protobuf.js';
import { readPackedFixed64 } from './frame-columns.js';

export interface Shed {
  /** At least one, each once: the events match these predicates and no other. */
  readonly predicateIds: readonly bigint[];
  /** At least 1. */
  readonly events: number;
}

/**
 * Throws invalid_argument unless each set of predicates appears once, with at least one event, in a frame without events
 * of its own.
 */
export function checkShed(shed: readonly Shed[], count: number): void {
  if (shed.length === 0) return;
  if (count > 0) throw invalid('frame', `must have either events or shed, got ${count} and ${shed.length}`);
  const sets = new Set<string>();
  let ids = 0;
  for (const { predicateIds, events } of shed) {
    const told = predicateIds.slice(0, 4).join(', ');
    if (predicateIds.length === 0) throw invalid('frame', 'shed must have predicate_ids');
    if (new Set(predicateIds).size < predicateIds.length) throw invalid('frame', `shed names ${told} twice`);
    const set = predicateIds.join();
    if (sets.has(set)) throw invalid('frame', `predicate ${told} is shed twice`);
    sets.add(set);
    if (events < 1) throw invalid('frame', `shed of predicate ${told} must be at least 1, got ${events}`);
    ids += predicateIds.length;
  }
  if (ids > FRAME_SHED_IDS_MAX)
    throw invalid('frame', `at most ${FRAME_SHED_IDS_MAX} predicate_ids of shed, got ${ids}`);
}

export function writeShed(writer: ProtoWriter, { predicateIds, events }: Shed): void {
  const idBytes = predicateIds.length * 8;
  writer.tag(14, LENGTH);
  writer.varint(1 + varintBytes(idBytes) + idBytes + 1 + varintBytes(events));
  writer.packedFixed64Field(1, BigUint64Array.from(predicateIds));
  writer.uintField(2, events);
}

export function shedBytesMax(shed: readonly Shed[]): number {
  return shed.reduce((bytes, { predicateIds }) => bytes + 24 + predicateIds.length * 8, 0);
}

/** Appends to `into`, within the bounds of a frame. */
export function readShed(reader: ProtoReader, into: Shed[]): void {
  if (into.length >= FRAME_SHED_IDS_MAX) throw reader.fail(`at most ${FRAME_SHED_IDS_MAX} shed`);
  const inner = new ProtoReader(reader.chunk(), 'frame: shed');
  let predicateIds: bigint[] = [];
  let events = 0;
  while (inner.nextTag()) {
    // Logs of version 0.1 have one id, not packed.
    if (inner.field === 1 && inner.wireType === FIXED64) predicateIds = [inner.fixed64()];
    else if (inner.field === 1) predicateIds = [...readPackedFixed64(inner, FRAME_SHED_IDS_MAX)];
    else if (inner.field === 2) events = inner.uint();
    else inner.skip();
  }
  into.push({ predicateIds, events });
}

/**
 * Positions and times inside hand-written messages.
 *
 *   Position  := epoch uint64 1 | time_ns fixed64 2 | lane uint32 3 | tie uint32 4
 *   Timestamp := seconds int64 1 | nanos int32 2      not before 1970 here
 */
import type { Position } from './position.js';
import { LENGTH, ProtoReader, type ProtoWriter, varintBytes } from './protobuf.js';

export function writePosition(writer: ProtoWriter, field: number, p: Position): void {
  const length =
    (p.epoch === 0 ? 0 : 1 + varintBytes(p.epoch)) +
    (p.timeNs === 0n ? 0 : 9) +
    (p.lane === 0 ? 0 : 1 + varintBytes(p.lane)) +
    (p.tie === 0 ? 0 : 1 + varintBytes(p.tie));
  writer.tag(field, LENGTH);
  writer.varint(length);
  writer.uintField(1, p.epoch);
  writer.fixed64Field(2, p.timeNs);
  writer.uintField(3, p.lane);
  writer.uintField(4, p.tie);
}

export function readPosition(reader: ProtoReader): Position {
  const inner = new ProtoReader(reader.chunk(), `${reader.what}: position`);
  let epoch = 0;
  let timeNs = 0n;
  let lane = 0;
  let tie = 0;
  while (inner.nextTag()) {
    if (inner.field === 1) epoch = inner.uint();
    else if (inner.field === 2) timeNs = inner.fixed64();
    else if (inner.field === 3) lane = inner.uint32();
    else if (inner.field === 4) tie = inner.uint32();
    else inner.skip();
  }
  if (lane > 0xffff) throw inner.fail(`lane must be at most 65535, got ${lane}`);
  return { epoch, timeNs, lane, tie };
}

const NS_PER_S = 1_000_000_000n;

export function writeTimestamp(writer: ProtoWriter, field: number, wallNs: bigint): void {
  const seconds = Number(wallNs / NS_PER_S);
  const nanos = Number(wallNs % NS_PER_S);
  writer.tag(field, LENGTH);
  writer.varint((seconds === 0 ? 0 : 1 + varintBytes(seconds)) + (nanos === 0 ? 0 : 1 + varintBytes(nanos)));
  writer.uintField(1, seconds);
  writer.uintField(2, nanos);
}

/** Wall nanoseconds since 1970. `what` is named in errors. */
export function readTimestamp(reader: ProtoReader, what: string): bigint {
  const inner = new ProtoReader(reader.chunk(), `${reader.what}: ${what}`);
  let seconds = 0;
  let nanos = 0;
  while (inner.nextTag()) {
    if (inner.field === 1) seconds = inner.uint();
    else if (inner.field === 2) nanos = inner.uint32();
    else inner.skip();
  }
  if (seconds > 253_402_300_799 || nanos > 999_999_999) {
    throw inner.fail(`must be a time from 1970 to 9999, got ${seconds}.${nanos}`);
  }
  return BigInt(seconds) * NS_PER_S + BigInt(nanos);
}

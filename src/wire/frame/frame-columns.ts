/**
 * The part that live and history frames share: per-event columns (size, time, lane, tie) beside a run of already
 * encoded events, and the checks that make the run safe to splice without looking inside. `checkEvents` looks inside,
 * once, when a frame arrives.
 *
 *   events := (tag 0x2a | length varint | Event)*     field 5 of EventBatch
 */
import { endianness } from 'node:os';
import { BackplaneError, invalid } from '../../errors.js';
import { EVENT_BYTES_MAX, FRAME_BYTES_MAX, FRAME_EVENTS_MAX, NAME_BYTES_MAX } from '../../limits.js';
import { eventFault } from '../event/event-check.js';
import type { Position } from '../position.js';
import { ProtoReader, VARINT } from '../protobuf.js';

/** The tag of `EventBatch.events`: the first byte of each event in a frame. */
const EVENT_TAG = 0x2a;
/** Tag and length in front of one event. */
const EVENT_PREFIX_BYTES_MAX = 1 + 3;

export interface EventColumns {
  /** Bytes of each element of events, its tag and length included. */
  readonly eventSizes: readonly number[] | Uint32Array;
  /** Trace clock, nanoseconds. */
  readonly timesNs: BigUint64Array;
  readonly lanes: readonly number[] | Uint16Array;
  readonly ties: readonly number[] | Uint32Array;
  /** The encoded events, one after the other. */
  readonly events: Buffer;
}

const TOPIC_PATTERN = /^[a-z][a-z0-9._-]*$/;

/**
 * Checks a topic name. Topic names become directory names, so the pattern allows nothing that could leave the
 * directory.
 */
export function checkTopicName(what: string, topic: string): void {
  if (topic.length > NAME_BYTES_MAX - 8 || !TOPIC_PATTERN.test(topic)) {
    const shown = JSON.stringify(topic.slice(0, 40));
    throw new BackplaneError(
      'invalid_argument',
      `${what}: topic must be up to ${NAME_BYTES_MAX - 8} of a-z 0-9 . _ - and begin with a letter, got ${shown}`,
    );
  }
}

export function positionAt(epoch: number, columns: EventColumns, index: number): Position {
  return {
    epoch,
    timeNs: columns.timesNs[index]!,
    lane: columns.lanes[index]!,
    tie: columns.ties[index]!,
  };
}

/** Throws invalid_argument unless columns agree with each other and with the run of events. */
export function checkColumns(what: string, columns: EventColumns): void {
  const { eventSizes, timesNs, lanes, ties, events } = columns;
  const count = eventSizes.length;
  if (count > FRAME_EVENTS_MAX) throw invalid(what, `at most ${FRAME_EVENTS_MAX} events, got ${count}`);
  if (events.length > FRAME_BYTES_MAX) {
    throw invalid(what, `events must be at most ${FRAME_BYTES_MAX} bytes, got ${events.length}`);
  }
  if (timesNs.length !== count || lanes.length !== count || ties.length !== count) {
    const got = `sizes ${count}, times ${timesNs.length}, lanes ${lanes.length}, ties ${ties.length}`;
    throw invalid(what, `columns must have equal lengths, got ${got}`);
  }
  checkRun(what, eventSizes, events);
  const halves = new Uint32Array(timesNs.buffer, timesNs.byteOffset, 2 * count);
  for (let i = 0; i < count; i++) {
    if (lanes[i]! > 0xffff) throw invalid(what, `lane of event ${i} must be at most 65535, got ${lanes[i]}`);
    if (i > 0 && !ascends(halves, columns, i)) {
      throw invalid(what, `events must stand in position order, event ${i} does not`);
    }
  }
}

/**
 * Throws invalid_argument unless everybody can decode each event. The columns must have been checked. Frames are
 * checked when they arrive, not again when they are read from the log.
 */
export function checkEvents(what: string, { eventSizes, events }: EventColumns): void {
  let offset = 0;
  for (let i = 0; i < eventSizes.length; i++) {
    const end = offset + eventSizes[i]!;
    const fault = eventFault(events, offset + prefixBytes(events, offset), end);
    if (fault !== undefined) throw invalid(what, `event ${i} is not an event: ${fault}`);
    offset = end;
  }
}

/** Bytes of tag and length of the element at `offset`, which has been checked. */
function prefixBytes(events: Buffer, offset: number): number {
  if (events[offset + 1]! < 0x80) return 2;
  return events[offset + 2]! < 0x80 ? 3 : 4;
}

/** Every element must be exactly one length-delimited field 5, so that spliced bytes stay a valid message. */
function checkRun(what: string, eventSizes: ArrayLike<number>, events: Buffer): void {
  let offset = 0;
  for (let i = 0; i < eventSizes.length; i++) {
    const size = eventSizes[i]!;
    if (size < 2 || size > EVENT_BYTES_MAX + EVENT_PREFIX_BYTES_MAX || offset + size > events.length) {
      throw invalid(what, `size of event ${i} must be 2 to ${EVENT_BYTES_MAX} and within events, got ${size}`);
    }
    if (events[offset] !== EVENT_TAG || size !== prefixedLength(events, offset + 1)) {
      throw invalid(what, `event ${i} is not one element of EventBatch.events`);
    }
    offset += size;
  }
  if (offset !== events.length) {
    throw invalid(what, `event_sizes must add up to ${events.length} bytes of events, got ${offset}`);
  }
}

/** Size of the whole element whose length prefix stands at `offset`; -1 when the prefix is not minimal. */
function prefixedLength(bytes: Buffer, offset: number): number {
  let length = 0;
  for (let i = 0; i < 3; i++) {
    const byte = bytes[offset + i];
    if (byte === undefined) return -1;
    length |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return i > 0 && byte === 0 ? -1 : 1 + i + 1 + length;
  }
  return -1;
}

const HIGH = endianness() === 'LE' ? 1 : 0;
const LOW = 1 - HIGH;

/** @param halves of the times: each read of the whole would make a BigInt */
function ascends(halves: Uint32Array, { lanes, ties }: EventColumns, i: number): boolean {
  const at = 2 * i;
  if (halves[at + HIGH] !== halves[at - 2 + HIGH]) return halves[at + HIGH]! > halves[at - 2 + HIGH]!;
  if (halves[at + LOW] !== halves[at - 2 + LOW]) return halves[at + LOW]! > halves[at - 2 + LOW]!;
  if (lanes[i] !== lanes[i - 1]) return lanes[i]! > lanes[i - 1]!;
  return ties[i]! > ties[i - 1]!;
}

/** A packed or single repeated uint32, appended to `into`. */
export function readPacked(reader: ProtoReader, into: number[], countMax: number): void {
  if (reader.wireType === VARINT) {
    pushBounded(reader, into, reader.uint32(), countMax);
    return;
  }
  const inner = new ProtoReader(reader.chunk(), reader.what);
  inner.field = reader.field;
  const { bytes } = inner;
  while (inner.offset < bytes.length) {
    // Most are of one byte.
    const byte = bytes[inner.offset]!;
    if (byte < 0x80) inner.offset++;
    pushBounded(reader, into, byte < 0x80 ? byte : inner.varint32(), countMax);
  }
}

function pushBounded(reader: ProtoReader, into: number[], value: number, countMax: number): void {
  if (into.length >= countMax) throw reader.fail(`field ${reader.field} must have at most ${countMax} elements`);
  into.push(value);
}

/** A packed repeated fixed64. */
export function readPackedFixed64(reader: ProtoReader, countMax: number): BigUint64Array {
  const chunk = reader.chunk();
  if (chunk.length % 8 !== 0 || chunk.length / 8 > countMax) {
    throw reader.fail(`field ${reader.field} must be at most ${countMax} times 8 bytes, got ${chunk.length} bytes`);
  }
  const bytes = new Uint8Array(chunk);
  if (HIGH === 0) Buffer.from(bytes.buffer).swap64();
  return new BigUint64Array(bytes.buffer);
}

/** Bytes that the columns and events can take, for sizing a writer. */
export function columnBytesMax(columns: EventColumns): number {
  return columns.eventSizes.length * 24 + columns.events.length + 64;
}

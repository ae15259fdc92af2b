/**
 * Checks that encoded events are valid: walks each one once by the schema, without decoding, when its frame arrives, so
 * that every later decoder (a client, the HTTP API, a field mask) succeeds.
 *
 *   Event   := (tag varint | value)*                of a known field: as the schema says
 *   value   := varint | 8 bytes | length varint, bytes | 4 bytes       by the tag's last three bits
 *
 * A test generated from the schema (event-pass.ts) passes the usual events at twice the speed; for all others the walk
 * decides.
 *
 * Decoders read a length from at most five bytes, and a 32-bit number from at most five or, if it is negative, from
 * ten. A varint padded with zeros to a length between would make them continue at another byte than this walk, so such
 * an event is refused.
 *
 * Fields that the schema does not know are allowed and skipped. Groups are refused: they nest without a bound, and
 * proto3 has none.
 */
import { isUtf8 } from 'node:buffer';
import { JSON_DEPTH_MAX } from '../../limits.js';
import { FIXED32, FIXED64, LENGTH, VARINT } from '../protobuf.js';
import { passTest } from './event-pass.js';
import {
  BYTES,
  type EventShape,
  MESSAGE,
  NANOS,
  NANOS_MAX,
  NARROW,
  NARROWS,
  NUMBER,
  NUMBER32,
  NUMBERS,
  SECONDS,
  SECONDS_MAX,
  STRING,
  shapeOfMessage,
  UNKNOWN,
  WIDE,
  WIDES,
} from './event-shape.js';

const TAG_BYTES_MAX = 5;
const VARINT_BYTES_MAX = 10;
/** Longest varint of a length, and of a 32-bit number that is not negative. */
const NARROW_VARINT_BYTES_MAX = 5;
const LOOP_BYTES_MAX = 128;
/** Nesting of messages: that of the deepest body of an application's event, each level of which takes three. */
const DEPTH_MAX = 3 * (JSON_DEPTH_MAX + 1) + 4;

const EVENT = shapeOfMessage('Event');
const passes = passTest(EVENT);

/** Undefined when everybody can decode bytes[from, to) as an Event; else the fault. */
export function eventFault(bytes: Buffer, from: number, to: number): string | undefined {
  return passes(bytes, from, to) ? undefined : walkedFault(bytes, from, to);
}

/** As eventFault, by the full walk alone. */
export function walkedFault(bytes: Buffer, from: number, to: number): string | undefined {
  try {
    walk(bytes, from, to, EVENT, 0);
    return undefined;
  } catch (cause) {
    if (cause instanceof Fault) return cause.message;
    throw cause;
  }
}

class Fault extends Error {}

function walk(bytes: Buffer, from: number, to: number, shape: EventShape, depth: number): void {
  const { kinds, inner } = shape;
  let at = from;
  while (at < to) {
    let tag = bytes[at++]!;
    if (tag >= 0x80) {
      const end = varintEnd(bytes, at - 1, to, TAG_BYTES_MAX);
      tag = numberAt(bytes, at - 1, end);
      at = end;
      if (tag > 0xffff_ffff) throw new Fault(`tag must be below 2^32, got ${tag}`);
    }
    const field = tag >>> 3;
    if (field === 0) throw new Fault('field number must be at least 1, got 0');
    const kind = field < kinds.length ? kinds[field]! : UNKNOWN;
    switch (tag & 7) {
      case LENGTH: {
        let length = at < to ? bytes[at++]! : overrun(field);
        if (length >= 0x80) {
          const end = varintEnd(bytes, at - 1, to, NARROW_VARINT_BYTES_MAX);
          length = numberAt(bytes, at - 1, end);
          at = end;
        }
        const end = at + length;
        if (end > to) throw new Fault(`field ${field} must end within its message, it says ${length} bytes`);
        if (kind === STRING) checkText(bytes, at, end, field);
        else if (kind === MESSAGE) walkInner(bytes, at, end, inner[field]!, depth);
        else checkChunk(bytes, at, end, kind, field);
        at = end;
        break;
      }
      case VARINT:
        if (kind >= SECONDS) checkTime(bytes, at, to, kind);
        else if (kind === NUMBER32) checkNumber32(bytes, at, to);
        else if (kind !== NUMBER && kind !== UNKNOWN && kind !== NUMBERS) throw wrongType(field, tag & 7);
        at = at < to && bytes[at]! < 0x80 ? at + 1 : varintEnd(bytes, at, to, VARINT_BYTES_MAX);
        break;
      case FIXED64:
        if (kind !== WIDE && kind !== UNKNOWN && kind !== WIDES) throw wrongType(field, tag & 7);
        at += 8;
        break;
      case FIXED32:
        if (kind !== NARROW && kind !== UNKNOWN && kind !== NARROWS) throw wrongType(field, tag & 7);
        at += 4;
        break;
      default:
        throw wrongType(field, tag & 7);
    }
  }
  if (at !== to) throw new Fault('the last field must end within its message');
}

function walkInner(bytes: Buffer, from: number, to: number, shape: EventShape, depth: number): void {
  if (depth >= DEPTH_MAX) throw new Fault(`messages must nest at most ${DEPTH_MAX} deep`);
  walk(bytes, from, to, shape, depth + 1);
}

function checkTime(bytes: Buffer, at: number, to: number, kind: number): void {
  const bytesMax = kind === NANOS ? NARROW_VARINT_BYTES_MAX : VARINT_BYTES_MAX;
  const value = numberAt(bytes, at, varintEnd(bytes, at, to, bytesMax));
  const max = kind === SECONDS ? SECONDS_MAX : NANOS_MAX;
  if (value > max) throw new Fault(`a time must be from 1970 to 9999, got ${value} ${kind === SECONDS ? 's' : 'ns'}`);
}

function checkNumber32(bytes: Buffer, at: number, to: number): void {
  const length = varintEnd(bytes, at, to, VARINT_BYTES_MAX) - at;
  if (length <= NARROW_VARINT_BYTES_MAX || length === VARINT_BYTES_MAX) return;
  throw new Fault(
    `varint of 32 bits must have at most ${NARROW_VARINT_BYTES_MAX} bytes or ${VARINT_BYTES_MAX}, got ${length}`,
  );
}

/** Checks a field of bytes, of packed numbers, or one that the schema does not know. */
function checkChunk(bytes: Buffer, from: number, to: number, kind: number, field: number): void {
  if (kind === UNKNOWN || kind === BYTES) return;
  if (kind === WIDES || kind === NARROWS) {
    const size = kind === WIDES ? 8 : 4;
    if ((to - from) % size !== 0) throw new Fault(`field ${field} must be a multiple of ${size} bytes`);
    return;
  }
  if (kind !== NUMBERS) throw wrongType(field, LENGTH);
  for (let at = from; at < to; ) at = varintEnd(bytes, at, to, VARINT_BYTES_MAX);
}

/** Most text is short and ASCII, for which a loop is faster than a view and a native call. */
function checkText(bytes: Buffer, from: number, to: number, field: number): void {
  let high = to - from > LOOP_BYTES_MAX ? 0x80 : 0;
  if (high === 0) for (let at = from; at < to; at++) high |= bytes[at]!;
  if (high >= 0x80 && !isUtf8(bytes.subarray(from, to))) throw new Fault(`field ${field} must be UTF-8`);
}

/** Offset behind the varint at `at`. */
function varintEnd(bytes: Buffer, at: number, to: number, bytesMax: number): number {
  const stop = Math.min(to, at + bytesMax);
  for (let end = at; end < stop; end++) if (bytes[end]! < 0x80) return end + 1;
  throw new Fault(`varint at byte ${at} must end within its message and ${bytesMax} bytes`);
}

/** The varint's value: exact below 2^53, and above that close enough to be refused. */
function numberAt(bytes: Buffer, from: number, end: number): number {
  let value = 0;
  let scale = 1;
  for (let at = from; at < end; at++) {
    value += (bytes[at]! & 0x7f) * scale;
    scale *= 128;
  }
  return value;
}

function wrongType(field: number, wireType: number): Fault {
  return new Fault(`field ${field} must not have wire type ${wireType}`);
}

function overrun(field: number): never {
  throw new Fault(`field ${field} must end within its message`);
}

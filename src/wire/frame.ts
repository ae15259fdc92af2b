/**
 * Frame: the unit of transport and storage. One node, one topic, events
 * already encoded, and what they mean. Written and read by hand because every
 * event of every node passes here.
 *
 *   Frame := topic 1 | covered_from Position 2 | covered_to Position 3
 *          | count uint32 4 | event_sizes packed uint32 5 | matches Match 6 *
 *          | lost uint64 7 | lost_unknown bool 8 | late uint64 9
 *          | watermark Timestamp 10 | event_times_ns packed fixed64 11
 *          | event_lanes packed uint32 12 | event_ties packed uint32 13
 *          | events bytes 15
 *   Match := predicate_id fixed64 1 | all bool 2 | indices packed uint32 3
 */
import { FRAME_EVENTS_MAX, FRAME_MATCH_INDICES_MAX, MESSAGE_BYTES_MAX, PREDICATES_MAX } from '../limits.js';
import {
  checkColumns,
  checkTopicName,
  columnBytesMax,
  type EventColumns,
  invalid,
  positionAt,
  readPacked,
  readPackedFixed64,
  readPosition,
  writePosition,
} from './frame-columns.js';
import { comparePositions, ORIGIN, type Position } from './position.js';
import { LENGTH, ProtoReader, ProtoWriter, varintBytes } from './protobuf.js';

export interface Frame extends EventColumns {
  readonly topic: string;
  /** The frame accounts for every event in (coveredFrom, coveredTo]. */
  readonly coveredFrom: Position;
  readonly coveredTo: Position;
  readonly count: number;
  readonly matches: readonly Match[];
  /** What the kernel lost within the stretch. */
  readonly lost: number;
  readonly lostUnknown: boolean;
  /** Events that came below the agent's horizon; they are in its recorder. */
  readonly late: number;
  /** Wall nanoseconds: no older event of this topic follows. 0: not stated. */
  readonly watermarkNs: bigint;
}

/** Which events of the frame match a predicate. */
export interface Match {
  readonly predicateId: bigint;
  /** Every event matches; indices is empty then. */
  readonly all: boolean;
  /** Ascending, each below the frame's count. */
  readonly indices: readonly number[];
}

/** Throws invalid_argument where decodeFrame would. */
export function encodeFrame(frame: Frame): Buffer {
  checkFrame(frame);
  let matchBytesMax = 0;
  for (const match of frame.matches) matchBytesMax += 24 + match.indices.length * 2;
  const writer = new ProtoWriter(columnBytesMax(frame) + matchBytesMax + frame.topic.length + 192);
  writer.stringField(1, frame.topic);
  writePosition(writer, 2, frame.coveredFrom);
  writePosition(writer, 3, frame.coveredTo);
  writer.uintField(4, frame.count);
  writer.packedField(5, frame.eventSizes);
  for (const match of frame.matches) writeMatch(writer, match);
  writer.uintField(7, frame.lost);
  writer.uintField(8, frame.lostUnknown ? 1 : 0);
  writer.uintField(9, frame.late);
  if (frame.watermarkNs !== 0n) writeTimestamp(writer, 10, frame.watermarkNs);
  writer.packedFixed64Field(11, frame.timesNs);
  writer.packedField(12, frame.lanes);
  writer.packedField(13, frame.ties);
  writer.bytesField(15, frame.events);
  const bytes = writer.finish();
  if (bytes.length > MESSAGE_BYTES_MAX - 16) throw invalid('frame', `must fit a message, got ${bytes.length} bytes`);
  return bytes;
}

/** `events` of the result is a view of `bytes`. Throws invalid_argument unless the frame is sound in every part. */
export function decodeFrame(bytes: Buffer): Frame {
  const reader = new ProtoReader(bytes, 'frame');
  if (bytes.length > MESSAGE_BYTES_MAX) {
    throw reader.fail(`must be at most ${MESSAGE_BYTES_MAX} bytes, got ${bytes.length}`);
  }
  const frame = {
    topic: '',
    coveredFrom: ORIGIN,
    coveredTo: ORIGIN,
    count: 0,
    eventSizes: [] as number[],
    matches: [] as Match[],
    lost: 0,
    lostUnknown: false,
    late: 0,
    watermarkNs: 0n,
    timesNs: new BigUint64Array(0),
    lanes: [] as number[],
    ties: [] as number[],
    events: Buffer.alloc(0),
  };
  let indicesLeft = FRAME_MATCH_INDICES_MAX;
  while (reader.nextTag()) {
    switch (reader.field) {
      case 1:
        frame.topic = reader.chunk().toString('utf8');
        break;
      case 2:
        frame.coveredFrom = readPosition(reader);
        break;
      case 3:
        frame.coveredTo = readPosition(reader);
        break;
      case 4:
        frame.count = reader.uint32();
        break;
      case 5:
        readPacked(reader, frame.eventSizes, FRAME_EVENTS_MAX);
        break;
      case 6:
        if (frame.matches.length >= PREDICATES_MAX) throw reader.fail(`at most ${PREDICATES_MAX} matches`);
        frame.matches.push(readMatch(reader, indicesLeft));
        indicesLeft -= frame.matches.at(-1)!.indices.length;
        break;
      case 7:
        frame.lost = reader.uint();
        break;
      case 8:
        frame.lostUnknown = reader.uint() !== 0;
        break;
      case 9:
        frame.late = reader.uint();
        break;
      case 10:
        frame.watermarkNs = readTimestamp(reader);
        break;
      case 11:
        frame.timesNs = readPackedFixed64(reader, FRAME_EVENTS_MAX);
        break;
      case 12:
        readPacked(reader, frame.lanes, FRAME_EVENTS_MAX);
        break;
      case 13:
        readPacked(reader, frame.ties, FRAME_EVENTS_MAX);
        break;
      case 15:
        frame.events = reader.chunk();
        break;
      default:
        reader.skip();
    }
  }
  checkFrame(frame);
  return frame;
}

function checkFrame(frame: Frame): void {
  checkTopicName('frame', frame.topic);
  if (frame.count !== frame.eventSizes.length) {
    throw invalid('frame', `count must be the number of event_sizes, ${frame.eventSizes.length}, got ${frame.count}`);
  }
  checkColumns('frame', frame);
  if (comparePositions(frame.coveredFrom, frame.coveredTo) > 0) {
    throw invalid('frame', 'covered_from must not come after covered_to');
  }
  if (frame.count > 0) {
    const { epoch } = frame.coveredTo;
    if (comparePositions(positionAt(epoch, frame, 0), frame.coveredFrom) <= 0) {
      throw invalid('frame', 'the first event must come after covered_from');
    }
    if (comparePositions(positionAt(epoch, frame, frame.count - 1), frame.coveredTo) > 0) {
      throw invalid('frame', 'the last event must not come after covered_to');
    }
  }
  checkMatches(frame);
}

function checkMatches({ matches, count }: Frame): void {
  if (matches.length > PREDICATES_MAX) {
    throw invalid('frame', `at most ${PREDICATES_MAX} matches, got ${matches.length}`);
  }
  const seen = new Set<bigint>();
  let indexCount = 0;
  for (const { predicateId, all, indices } of matches) {
    if (seen.has(predicateId)) throw invalid('frame', `predicate ${predicateId} has two match lists`);
    seen.add(predicateId);
    if (all === indices.length > 0) {
      throw invalid('frame', `match of predicate ${predicateId} must have either all or indices`);
    }
    indexCount += indices.length;
    if (indexCount > FRAME_MATCH_INDICES_MAX) {
      throw invalid('frame', `at most ${FRAME_MATCH_INDICES_MAX} match indices in all`);
    }
    let before = -1;
    for (const index of indices) {
      if (index <= before || index >= count) {
        throw invalid('frame', `match indices must ascend and be below ${count}, got ${index} after ${before}`);
      }
      before = index;
    }
  }
}

function writeMatch(writer: ProtoWriter, { predicateId, all, indices }: Match): void {
  let packed = 0;
  for (const index of indices) packed += varintBytes(index);
  const indexBytes = packed === 0 ? 0 : 1 + varintBytes(packed) + packed;
  writer.tag(6, LENGTH);
  writer.varint((predicateId === 0n ? 0 : 9) + (all ? 2 : 0) + indexBytes);
  writer.fixed64Field(1, predicateId);
  writer.uintField(2, all ? 1 : 0);
  writer.packedField(3, indices);
}

function readMatch(reader: ProtoReader, indicesMax: number): Match {
  const inner = new ProtoReader(reader.chunk(), 'frame: match');
  const indices: number[] = [];
  let predicateId = 0n;
  let all = false;
  while (inner.nextTag()) {
    if (inner.field === 1) predicateId = inner.fixed64();
    else if (inner.field === 2) all = inner.uint() !== 0;
    else if (inner.field === 3) readPacked(inner, indices, indicesMax);
    else inner.skip();
  }
  return { predicateId, all, indices };
}

const NS_PER_S = 1_000_000_000n;

/** Timestamp := seconds int64 1 | nanos int32 2, not before 1970 here. */
function writeTimestamp(writer: ProtoWriter, field: number, wallNs: bigint): void {
  const seconds = Number(wallNs / NS_PER_S);
  const nanos = Number(wallNs % NS_PER_S);
  writer.tag(field, LENGTH);
  writer.varint((seconds === 0 ? 0 : 1 + varintBytes(seconds)) + (nanos === 0 ? 0 : 1 + varintBytes(nanos)));
  writer.uintField(1, seconds);
  writer.uintField(2, nanos);
}

function readTimestamp(reader: ProtoReader): bigint {
  const inner = new ProtoReader(reader.chunk(), `${reader.what}: watermark`);
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

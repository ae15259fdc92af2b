/**
 * HistoryFrame: a part of the answer to a HistoryQuery. Events of one topic and epoch in position order, with the wall
 * times by which nodes are merged.
 *
 *   HistoryFrame := topic 1 | epoch uint64 2 | event_sizes packed uint32 3
 *                 | event_wall_ns packed fixed64 4 | event_times_ns packed fixed64 5
 *                 | event_lanes packed uint32 6 | event_ties packed uint32 7 | matches Match 8 *
 *                 | incomplete bool 9 | events bytes 15
 */

import { invalid } from '../../errors.js';
import { FRAME_EVENTS_MAX, MESSAGE_BYTES_MAX } from '../../limits.js';
import { ProtoReader, ProtoWriter } from '../protobuf.js';
import {
  checkColumns,
  checkTopicName,
  columnBytesMax,
  type EventColumns,
  readPacked,
  readPackedFixed64,
} from './frame-columns.js';
import { checkMatches, type Match, matchBytesMax, readMatch, writeMatch } from './match.js';

export interface HistoryFrame extends EventColumns {
  readonly topic: string;
  readonly epoch: number;
  /** Wall time of each event, nanoseconds since 1970, non-decreasing. */
  readonly wallNs: BigUint64Array;
  /** Which events match each predicate of a query that has several; empty for a query that has one, which all match. */
  readonly matches: readonly Match[];
  /** Something is missing, or may be, before one of the events and behind the frame before. */
  readonly incomplete: boolean;
}

/** Throws invalid_argument where decodeHistoryFrame would. */
export function encodeHistoryFrame(frame: HistoryFrame): Buffer {
  checkHistoryFrame(frame);
  const writer = new ProtoWriter(
    columnBytesMax(frame) + frame.wallNs.length * 8 + matchBytesMax(frame.matches) + frame.topic.length + 64,
  );
  writer.stringField(1, frame.topic);
  writer.uintField(2, frame.epoch);
  writer.packedField(3, frame.eventSizes);
  writer.packedFixed64Field(4, frame.wallNs);
  writer.packedFixed64Field(5, frame.timesNs);
  writer.packedField(6, frame.lanes);
  writer.packedField(7, frame.ties);
  for (const match of frame.matches) writeMatch(writer, 8, match);
  if (frame.incomplete) writer.uintField(9, 1);
  writer.bytesField(15, frame.events);
  return writer.finish();
}

type Draft = { -readonly [K in keyof HistoryFrame]: HistoryFrame[K] } & Record<
  'eventSizes' | 'lanes' | 'ties',
  number[]
> & { matches: Match[] };

/** A frame without events, by which a node says that a query is still at work. */
export function emptyHistoryFrame(topic: string): Draft {
  return {
    topic,
    epoch: 0,
    eventSizes: [],
    wallNs: new BigUint64Array(0),
    timesNs: new BigUint64Array(0),
    lanes: [],
    ties: [],
    matches: [],
    incomplete: false,
    events: Buffer.alloc(0),
  };
}

/** `events` of the result is a view of `bytes`. Throws invalid_argument unless the frame is valid. */
export function decodeHistoryFrame(bytes: Buffer): HistoryFrame {
  const reader = new ProtoReader(bytes, 'history frame');
  if (bytes.length > MESSAGE_BYTES_MAX) {
    throw reader.fail(`must be at most ${MESSAGE_BYTES_MAX} bytes, got ${bytes.length}`);
  }
  const frame: Draft = emptyHistoryFrame('');
  while (reader.nextTag()) {
    if (reader.field === 1) frame.topic = reader.chunk().toString('utf8');
    else if (reader.field === 2) frame.epoch = reader.uint();
    else if (reader.field === 3) readPacked(reader, frame.eventSizes, FRAME_EVENTS_MAX);
    else if (reader.field === 4) frame.wallNs = readPackedFixed64(reader, FRAME_EVENTS_MAX);
    else if (reader.field === 5) frame.timesNs = readPackedFixed64(reader, FRAME_EVENTS_MAX);
    else if (reader.field === 6) readPacked(reader, frame.lanes, FRAME_EVENTS_MAX);
    else if (reader.field === 7) readPacked(reader, frame.ties, FRAME_EVENTS_MAX);
    else if (reader.field === 8) readMatch(reader, frame.matches);
    else if (reader.field === 9) frame.incomplete = reader.uint() !== 0;
    else if (reader.field === 15) frame.events = reader.chunk();
    else reader.skip();
  }
  checkHistoryFrame(frame);
  return frame;
}

function checkHistoryFrame(frame: HistoryFrame): void {
  checkTopicName('history frame', frame.topic);
  checkColumns('history frame', frame);
  checkMatches('history frame', frame.matches, frame.eventSizes.length);
  const { wallNs } = frame;
  if (wallNs.length !== frame.eventSizes.length) {
    throw invalid('history frame', `event_wall_ns must have ${frame.eventSizes.length} elements, got ${wallNs.length}`);
  }
  for (let i = 1; i < wallNs.length; i++) {
    if (wallNs[i]! < wallNs[i - 1]!) {
      throw invalid('history frame', `event_wall_ns must not decrease, element ${i} does`);
    }
  }
}

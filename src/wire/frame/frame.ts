/**
 * Frame: the unit of transport and storage. It holds encoded events of one node and topic, and the data about them.
 * Written and read by hand because every event of every node passes here.
 *
 *   Frame := topic 1 | covered_from Position 2 | covered_to Position 3
 *          | count uint32 4 | event_sizes packed uint32 5 | matches Match 6 *
 *          | lost uint64 7 | lost_unknown bool 8 | late uint64 9
 *          | watermark Timestamp 10 | event_times_ns packed fixed64 11
 *          | event_lanes packed uint32 12 | event_ties packed uint32 13
 *          | shed Shed 14 * | events bytes 15 | refused bool 16 | losses Loss 17 *
 *          | continues bool 18 | named_fields bool 19
 */

import { invalid } from '../../errors.js';
import { FRAME_EVENTS_MAX, MESSAGE_BYTES_MAX } from '../../limits.js';
import { comparePositions, ORIGIN, type Position } from '../position.js';
import { readPosition, readTimestamp, writePosition, writeTimestamp } from '../position-codec.js';
import { ProtoReader, ProtoWriter } from '../protobuf.js';
import {
  checkColumns,
  checkTopicName,
  columnBytesMax,
  type EventColumns,
  positionAt,
  readPacked,
  readPackedFixed64,
} from './frame-columns.js';
import { checkLosses, lossBytesMax, readLoss, type StatedLoss, writeLoss } from './loss.js';
import { checkMatches, type Match, matchBytesMax, readMatch, writeMatch } from './match.js';
import { checkShed, readShed, type Shed, shedBytesMax, writeShed } from './shed.js';

export type { Match, Shed, StatedLoss };

export interface Frame extends EventColumns {
  readonly topic: string;
  /** The frame accounts for every event in (coveredFrom, coveredTo]. */
  readonly coveredFrom: Position;
  readonly coveredTo: Position;
  readonly count: number;
  readonly matches: readonly Match[];
  /** Matching events that were not sent. A frame has either events or this. */
  readonly shed: readonly Shed[];
  /** Events that the kernel lost within the stretch. */
  readonly lost: number;
  readonly lostUnknown: boolean;
  /** Events that arrived below the agent's horizon; they are in its recorder. */
  readonly late: number;
  /** Wall nanoseconds: no older event of this topic follows. 0: not stated. */
  readonly watermarkNs: bigint;
  /**
   * The frame made for this stretch was invalid: its matches are unknown, and the recorder has the events. No events
   * here.
   */
  readonly refused: boolean;
  /** The agent's frame of the topic before this one ended exactly at coveredFrom. Unset where interest begins. */
  readonly continues: boolean;
  /** Other losses of the recording; losses that the subscriber was told of may be stated again. */
  readonly losses: readonly StatedLoss[];
  /** Events may have fields that come only where they are named. */
  readonly namedFields: boolean;
}

/** The predicates of which it has events, or that it shed events of. */
export function predicatesOf({ matches, shed }: Pick<Frame, 'matches' | 'shed'>): ReadonlySet<bigint> {
  const ids = new Set(matches.map(({ predicateId }) => predicateId));
  for (const { predicateIds } of shed) for (const id of predicateIds) ids.add(id);
  return ids;
}

/** Replaces an invalid frame: the stretch is accounted for as unknown. */
export function refusedFrame({ topic, coveredFrom, coveredTo }: FrameStretch): Frame {
  return { ...newDraft(), topic, coveredFrom, coveredTo, refused: true };
}

type FrameStretch = Pick<Frame, 'topic' | 'coveredFrom' | 'coveredTo'>;

/** Throws invalid_argument where decodeFrame would. */
export function encodeFrame(frame: Frame): Buffer {
  checkFrame(frame);
  const writer = new ProtoWriter(
    columnBytesMax(frame) +
      matchBytesMax(frame.matches) +
      shedBytesMax(frame.shed) +
      lossBytesMax(frame.losses) +
      frame.topic.length +
      192,
  );
  writer.stringField(1, frame.topic);
  writePosition(writer, 2, frame.coveredFrom);
  writePosition(writer, 3, frame.coveredTo);
  writer.uintField(4, frame.count);
  writer.packedField(5, frame.eventSizes);
  for (const match of frame.matches) writeMatch(writer, 6, match);
  writer.uintField(7, frame.lost);
  writer.uintField(8, frame.lostUnknown ? 1 : 0);
  writer.uintField(9, frame.late);
  if (frame.watermarkNs !== 0n) writeTimestamp(writer, 10, frame.watermarkNs);
  writer.packedFixed64Field(11, frame.timesNs);
  writer.packedField(12, frame.lanes);
  writer.packedField(13, frame.ties);
  for (const shed of frame.shed) writeShed(writer, shed);
  writer.bytesField(15, frame.events);
  writer.uintField(16, frame.refused ? 1 : 0);
  for (const loss of frame.losses) writeLoss(writer, 17, loss);
  writer.uintField(18, frame.continues ? 1 : 0);
  writer.uintField(19, frame.namedFields ? 1 : 0);
  const bytes = writer.finish();
  if (bytes.length > MESSAGE_BYTES_MAX - 16) throw invalid('frame', `must fit a message, got ${bytes.length} bytes`);
  return bytes;
}

/** `events` of the result is a view of `bytes`. Throws invalid_argument unless every part of the frame is valid. */
export function decodeFrame(bytes: Buffer): Frame {
  const reader = new ProtoReader(bytes, 'frame');
  if (bytes.length > MESSAGE_BYTES_MAX) {
    throw reader.fail(`must be at most ${MESSAGE_BYTES_MAX} bytes, got ${bytes.length}`);
  }
  const draft = newDraft();
  while (reader.nextTag()) readField(reader, draft);
  checkFrame(draft);
  return draft;
}

/** The stretch that a frame claims to cover, even if the frame is invalid; undefined where it cannot be read. */
export function stretchOf(bytes: Buffer): FrameStretch | undefined {
  const reader = new ProtoReader(bytes, 'frame');
  const draft = newDraft();
  try {
    // These fields come first, so a fault behind them does not matter.
    while (reader.nextTag() && reader.field <= 3) readField(reader, draft);
  } catch {
    return undefined;
  }
  return draft;
}

type Draft = { -readonly [K in keyof Frame]: Frame[K] } & {
  eventSizes: number[];
  matches: Match[];
  shed: Shed[];
  losses: StatedLoss[];
  lanes: number[];
  ties: number[];
};

const NO_TIMES = new BigUint64Array(0);
const NO_EVENTS = Buffer.alloc(0);

function newDraft(): Draft {
  return {
    topic: '',
    coveredFrom: ORIGIN,
    coveredTo: ORIGIN,
    count: 0,
    eventSizes: [],
    matches: [],
    shed: [],
    lost: 0,
    lostUnknown: false,
    late: 0,
    watermarkNs: 0n,
    refused: false,
    losses: [],
    continues: false,
    namedFields: false,
    timesNs: NO_TIMES,
    lanes: [],
    ties: [],
    events: NO_EVENTS,
  };
}

function readField(reader: ProtoReader, draft: Draft): void {
  switch (reader.field) {
    case 1:
      draft.topic = reader.chunk().toString('utf8');
      break;
    case 2:
      draft.coveredFrom = readPosition(reader);
      break;
    case 3:
      draft.coveredTo = readPosition(reader);
      break;
    case 4:
      draft.count = reader.uint32();
      break;
    case 5:
      readPacked(reader, draft.eventSizes, FRAME_EVENTS_MAX);
      break;
    case 6:
      readMatch(reader, draft.matches);
      break;
    case 7:
      draft.lost = reader.uint();
      break;
    case 8:
      draft.lostUnknown = reader.bool();
      break;
    case 9:
      draft.late = reader.uint();
      break;
    case 10:
      draft.watermarkNs = readTimestamp(reader, 'watermark');
      break;
    case 11:
      draft.timesNs = readPackedFixed64(reader, FRAME_EVENTS_MAX);
      break;
    case 12:
      readPacked(reader, draft.lanes, FRAME_EVENTS_MAX);
      break;
    case 13:
      readPacked(reader, draft.ties, FRAME_EVENTS_MAX);
      break;
    case 14:
      readShed(reader, draft.shed);
      break;
    case 15:
      draft.events = reader.chunk();
      break;
    case 16:
      draft.refused = reader.bool();
      break;
    case 17:
      readLoss(reader, draft.losses);
      break;
    case 18:
      draft.continues = reader.bool();
      break;
    case 19:
      draft.namedFields = reader.bool();
      break;
    default:
      reader.skip();
  }
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
  checkMatches('frame', frame.matches, frame.count);
  checkShed(frame.shed, frame.count);
  checkLosses('frame', frame.losses);
  if (frame.refused && frame.count + frame.shed.length > 0) {
    throw invalid('frame', 'refused must have neither events nor shed');
  }
}

/**
 * What the messages of a partition's stream say, taken one after the other. Every broker takes the same messages in the
 * same order and applies the same rule (see chain.ts), so that all know the same, whoever appended what.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import { LOG_DAMAGES_MAX, LOG_LOST_ENDS_MAX } from '../../../limits.js';
import { nsToMs } from '../../../nanoseconds.js';
import { decodeFrame, type Frame } from '../../../wire/frame/frame.js';
import { timeNsOf } from '../../../wire/typed/json-values.js';
import type { ReceivedHeaders } from '../../nats/header-text.js';
import type { StoredMessage } from '../../nats/stream-pull.js';
import { PeerClock } from '../../peer-clock.js';
import { CoveredPositions } from '../covered-positions.js';
import type { LogItem } from '../partition-log.js';
import { RecentCovers } from '../recent-covers.js';
import { Marks, markOf } from '../tail/marks.js';
import { CheckpointIndex, type Standing } from './checkpoint.js';
import { type Cover, readCover } from './frame-headers.js';
import type { PartitionSubjects } from './subjects.js';

/** Sequences that the stream does not have, or whose messages cannot be read. */
export interface Missing {
  readonly from: number;
  readonly to: number;
  readonly message: string;
}

/** Messages that were read, and that the stream has lost since. */
interface LostEnd {
  readonly begin: number;
  readonly markAt: (sequence: number) => number | undefined;
  readonly recent: RecentCovers;
}

export interface FoldListener {
  /** Whether bodies are read. */
  readonly withBodies: boolean;
  /** Told of each frame. */
  stored(message: StoredMessage): void;
  /** Told of each tick, where bodies are read. */
  ticked(message: StoredMessage): void;
  /** The frame of a message, where it is known without decoding it. */
  sent?(message: StoredMessage): Frame | undefined;
  /** Told of frames, where their bodies are read, and of sequences that are missing. */
  tell(item: LogItem): void;
}

export class PartitionFold {
  readonly marks = new Marks();
  /** Of the servers, by which messages have their times. */
  readonly clock = new PeerClock();
  readonly checkpoints = new CheckpointIndex();
  /** The sequence that is due next. */
  next = 1;
  covered = new CoveredPositions();
  /** By topic, the sequence of its last frame. */
  lastOf = new Map<string, number>();
  /** Bytes since the newest checkpoint. */
  bytesSince = 0;
  /** Oldest first. */
  missing: Missing[] = [];
  /** How far nodes reach before the newest sequences. */
  readonly recent = new RecentCovers();
  /** The latest last. */
  #lostEnds: LostEnd[] = [];

  readonly #subjects: PartitionSubjects;

  constructor(subjects: PartitionSubjects) {
    this.#subjects = subjects;
  }

  /** Takes what the stream's leader says of it now. */
  looked({ state, ts }: StreamInfo): void {
    this.checkpoints.forget(state.first_seq);
    if (ts !== undefined) this.clock.measured(timeNsOf(ts));
  }

  /** Goes on from here; what was taken before is forgotten. */
  restart({ before, covered, lastOf }: Standing): void {
    this.next = before;
    this.covered = covered.copy();
    this.lastOf = new Map(lastOf);
    this.bytesSince = 0;
    this.recent.restart(before, covered);
  }

  /** Forgets what the messages from a sequence on were: they are others now. */
  cut(end: number): void {
    const { first, marks } = this.marks.from(end);
    const lost = { begin: end, markAt: (sequence: number) => marks[sequence - first], recent: this.recent.frozen() };
    this.#lostEnds = [...this.#lostEnds, lost].slice(-LOG_LOST_ENDS_MAX);
    this.marks.cut(end);
    this.checkpoints.cut(end);
    this.missing = this.missing.filter(({ to }) => to <= end);
  }

  /** Of the message before a sequence; of one that the stream lost until all know that. Undefined where it is not known. */
  markBefore(offset: number): number | undefined {
    const known = this.marks.of(offset - 1);
    if (known !== undefined || offset <= this.next) return known;
    for (const { markAt } of this.#lostEnds.toReversed()) {
      const mark = markAt(offset - 1);
      if (mark) return mark;
    }
    return undefined;
  }

  /**
   * Where a sequence and the mark of the message before it are of what the stream lost: from where on it has other messages
   * now, and how far nodes reached before the sequence then. Undefined where it is not known.
   */
  lostBefore(offset: number, mark: number): { offset: number; covered: CoveredPositions } | undefined {
    if (this.marks.of(offset - 1) === mark) return undefined;
    let same = Number.POSITIVE_INFINITY;
    for (const { begin, markAt, recent } of this.#lostEnds.toReversed()) {
      // What was lost later may have begun earlier.
      same = Math.min(same, begin);
      if (offset <= begin || markAt(offset - 1) !== mark) continue;
      const covered = recent.before(offset);
      return covered && { offset: same, covered };
    }
    return undefined;
  }

  /** How far nodes reach before one of the newest sequences; undefined where it is too old, or in doubt. */
  coversBefore(offset: number): CoveredPositions | undefined {
    const checked = this.checkpoints.upTo(offset)?.before ?? 0;
    if (this.missing.some(({ from, to }) => to > checked && from < offset)) return undefined;
    return this.recent.before(offset);
  }

  get standing(): Standing {
    return { before: this.next, covered: this.covered, lastOf: this.lastOf };
  }

  /**
   * Takes the next message. What a frame covers is in its headers, so that it counts the same for those who read bodies and
   * those who do not, and also where its body is damaged.
   */
  take(message: StoredMessage, { withBodies, stored, ticked, sent, tell }: FoldListener): void {
    const { sequence, subject, timeNs } = message;
    // A new consumer begins where the one before it may have gone on.
    if (sequence < this.next) return;
    if (sequence > this.next) {
      const lost = { from: this.next, to: sequence, message: 'the stream does not have it' };
      this.#miss(lost);
      tell({ kind: 'damage', offsetFrom: lost.from, offsetTo: lost.to, message: lost.message });
    }
    this.next = sequence + 1;
    this.marks.set(sequence, markOf(subject, timeNs));
    this.bytesSince += subject.length + message.bytes;
    const read = this.#subjects.read(subject);
    if (read.kind === 'checkpoint') {
      const { newest } = this.checkpoints;
      this.checkpoints.take(sequence, message.headers);
      if (this.checkpoints.newest !== newest) this.bytesSince = 0;
    }
    if (read.kind === 'tick' && withBodies) ticked(message);
    if (read.kind !== 'frame') return;
    this.lastOf.set(read.topic, sequence);
    const cover = coverOf(message.headers);
    if (cover !== undefined) {
      const frame = { topic: read.topic, ...cover };
      this.recent.take(sequence, read.node, frame, this.covered);
      this.covered.take(read.node, frame);
    }
    stored(message);
    if (!withBodies) return;
    const item = frameItem(message, read.node, this.clock, sent?.(message));
    if (item.kind !== 'frame') this.#miss({ from: sequence, to: sequence + 1, message: 'its frame cannot be read' });
    tell(item);
  }

  #miss(missing: Missing): void {
    this.missing.push(missing);
    if (this.missing.length > LOG_DAMAGES_MAX) this.missing.shift();
  }
}

/** A frame as readers get it, or that it cannot be read. @param known where the message's body is decoded already */
export function frameItem(
  { sequence: offset, data, timeNs }: StoredMessage,
  node: string,
  clock: PeerClock,
  known?: Frame,
): LogItem {
  try {
    const frame = known ?? decodeFrame(ownBytes(data));
    const appendedMs = nsToMs(timeNs - clock.windowOffsetNs);
    return { kind: 'frame', offset, node, frame, bytes: data.length, appendedMs };
  } catch (cause) {
    return { kind: 'damage', offsetFrom: offset, offsetTo: offset + 1, message: (cause as Error).message };
  }
}

/** What was read from the connection may belong to many messages: a few bytes must not keep all of them. */
function ownBytes(data: Uint8Array): Buffer {
  const isMost = 2 * data.byteLength >= data.buffer.byteLength;
  return isMost ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
}

/** Undefined where nothing of it can be read: the node's next frame tells the hole. */
export function coverOf(headers: ReceivedHeaders | undefined): Cover | undefined {
  try {
    return readCover(headers);
  } catch {
    return undefined;
  }
}

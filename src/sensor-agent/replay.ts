/**
 * Reads a recording again through a timeline of its own, in bounded steps so
 * that recording goes on meanwhile. Opens at a checkpoint.
 */
import { BackplaneError } from '../errors.js';
import { EXEC_CONTEXT_WAIT_MS } from '../limits.js';
import { RECORD_HEADER_BYTES } from '../storage/format.js';
import type { LogItem, LogReader } from '../storage/log-reader.js';
import type { SegmentLog } from '../storage/segment-log.js';
import { comparePositions, type Position } from '../wire/position.js';
import type { Checkpoint, CheckpointHead } from './checkpoint.js';
import {
  CHECKPOINT_HEAD_SHAPE,
  CHECKPOINT_SHAPE,
  checkShape,
  EXEC_SHAPE,
  HOLE_SHAPE,
  LOSS_SHAPE,
  NOTICE_SHAPE,
  ORIGIN_SHAPE,
  PATHS_SHAPE,
  SNAPSHOT_SHAPE,
} from './record-shape.js';
import {
  type Origin,
  type RecordedExec,
  type RecordedHole,
  type RecordedLoss,
  type RecordedNotice,
  type RecordedPaths,
  type RecordedSnapshot,
  RecordKind,
  readClock,
  readPage,
  readU64,
  unpackRecord,
} from './recording.js';
import { PageEntries, scanPage, startCursor } from './source/tracefs/page.js';
import { Timeline, type TimelineSink } from './timeline.js';

/** Not among what a checkpoint knows already: there an exec would wait for ever. */
const OF_NO_RECORD = Number.MAX_SAFE_INTEGER;
const EXEC_WAIT_NS = BigInt(EXEC_CONTEXT_WAIT_MS) * 1_000_000n;

export class Replay {
  readonly timeline: Timeline;
  /** Bytes that could not be read again, at least: of a record that is not there, its header is counted. */
  damagedBytes = 0;
  /** Some of what the checkpoint needed has left the recorder. */
  evicted = false;
  /** All entries of the pages that were read, of every type. */
  entriesScanned = 0;
  #reader: LogReader;
  #entries = new PageEntries();
  /** A hole was read, and the checkpoint behind it not yet. */
  #interrupted = false;
  /** Something was passed over; what it told is not beyond this time; undefined: not known yet. */
  #unsure = false;
  /** How often something was passed over. */
  passages = 0;
  #unsureToNs: bigint | undefined;
  /** Since then. */
  #horizons = 0;
  /** Execs before it were overdue at the horizon before. */
  #overdueNs = 0n;

  /** Opens at an anchor, or at the log's start where there is none. `checkpoint`: its parts, where they were read. */
  constructor(
    private readonly log: SegmentLog,
    anchor: number | undefined,
    private readonly sink: TimelineSink,
    checkpoint: readonly Checkpoint[] | undefined = anchor === undefined ? undefined : readCheckpoint(log, anchor),
  ) {
    this.timeline = new Timeline(sink);
    const head = checkpoint?.[0]?.head;
    if (checkpoint && head && anchor !== undefined) this.timeline.restore(head, checkpoint, anchor);
    this.#reader = log.reader(head?.resumeOrdinal ?? log.firstOrdinal);
  }

  /** The next record to be read. */
  get ordinal(): number {
    return this.#reader.ordinal;
  }

  /** Feeds about `bytesMax` of records, or until everything up to a position is told; false at the log's present end. */
  step(bytesMax: number, upTo?: Position): boolean {
    for (let bytes = 0; bytes < bytesMax; ) {
      if (upTo && comparePositions(this.timeline.frontier, upTo) >= 0) return true;
      const item = this.#reader.next();
      if (item === undefined) return false;
      bytes += item.kind === 'record' ? item.payload.length + 64 : 64;
      this.#take(item);
    }
    return true;
  }

  close(): void {
    this.#reader.close();
  }

  /** Whether something that could not be read may have told of this time, or of before it. */
  unsureAt(timeNs: bigint): boolean {
    return this.#unsure && (this.#unsureToNs === undefined || timeNs <= this.#unsureToNs);
  }

  #take(item: LogItem): void {
    if (item.kind === 'evicted') {
      this.evicted = true;
      this.#passedOver();
    } else if (item.kind === 'damage') {
      this.#damaged(Math.max(item.bytes, (item.ordinalTo - item.ordinalFrom) * RECORD_HEADER_BYTES));
    } else {
      try {
        this.#record(item.recordKind, item.payload, item.ordinal);
      } catch (cause) {
        if (!(cause instanceof BackplaneError)) throw cause;
        this.#damaged(item.payload.length);
      }
    }
  }

  #damaged(bytes: number): void {
    this.damagedBytes += bytes;
    this.#passedOver();
  }

  #passedOver(): void {
    this.passages += 1;
    this.#unsure = true;
    this.#unsureToNs = undefined;
    this.#horizons = 0;
  }

  #record(kind: number, payload: Buffer, ordinal: number): void {
    const { timeline } = this;
    if (kind === RecordKind.PAGE) this.#page(payload, ordinal);
    else if (kind === RecordKind.HORIZON) this.#horizon(readU64(payload, 0));
    else if (kind === RecordKind.CLOCK) timeline.setClock(readClock(payload), ordinal);
    else if (kind === RecordKind.EXEC) timeline.exec(unpackRecord<RecordedExec>(payload, EXEC_SHAPE), ordinal);
    else if (kind === RecordKind.NOTICE) timeline.notice(unpackRecord<RecordedNotice>(payload, NOTICE_SHAPE), ordinal);
    else if (kind === RecordKind.SNAPSHOT)
      timeline.snapshot(unpackRecord<RecordedSnapshot>(payload, SNAPSHOT_SHAPE), ordinal);
    else if (kind === RecordKind.PATHS) timeline.paths(unpackRecord<RecordedPaths>(payload, PATHS_SHAPE));
    else if (kind === RecordKind.ORIGIN) timeline.begin(unpackRecord<Origin>(payload, ORIGIN_SHAPE), ordinal);
    else if (kind === RecordKind.HOLE) this.#hole(unpackRecord<RecordedHole>(payload, HOLE_SHAPE));
    else if (kind === RecordKind.LOSS) timeline.lose(unpackRecord<RecordedLoss>(payload, LOSS_SHAPE), ordinal);
    else if (kind === RecordKind.CHECKPOINT && this.#interrupted) this.#resume(ordinal);
  }

  /**
   * The record for which an exec waits may be among what cannot be read. The recorder lets none wait longer than until
   * the horizon after the one at which it was overdue.
   */
  #horizon(horizonNs: bigint): void {
    const { timeline } = this;
    timeline.horizon(horizonNs);
    if (!this.#unsure) return;
    // Pages are read a little beyond the horizon that follows them, and not beyond the next one.
    if (this.#unsureToNs === undefined && ++this.#horizons === 2) this.#unsureToNs = horizonNs;
    for (let exec = timeline.waitingExec; exec && exec.timeNs < this.#overdueNs; exec = timeline.waitingExec) {
      timeline.exec({ ...exec, missed: true }, OF_NO_RECORD);
    }
    this.#overdueNs = horizonNs - EXEC_WAIT_NS;
  }

  #hole({ from, to, lost, lostUnknown }: RecordedHole): void {
    this.timeline.interrupt();
    this.#interrupted = true;
    if (lost > 0 || lostUnknown) this.sink.loss({ count: lost, unknown: lostUnknown }, to, from);
  }

  /** What was followed live while nothing could be recorded is known from the checkpoint only. */
  #resume(ordinal: number): void {
    const checkpoint = readCheckpoint(this.log, ordinal);
    const head = checkpoint?.[0]?.head;
    if (!checkpoint || !head) return;
    this.timeline.restore(head, checkpoint, ordinal);
    this.#interrupted = false;
  }

  #page(payload: Buffer, ordinal: number): void {
    const page = readPage(payload);
    const { wanted, tests } = this.timeline.selection;
    scanPage(page.bytes, wanted, startCursor(page.firstTie), this.#entries, tests);
    this.entriesScanned += this.#entries.entries;
    if (this.#entries.malformed) this.damagedBytes += payload.length;
    this.timeline.page(page, this.#entries, ordinal);
  }
}

/** The parts of the checkpoint at an anchor; undefined where they are not whole. */
export function readCheckpoint(log: SegmentLog, anchor: number): Checkpoint[] | undefined {
  return readParts(log, anchor, Number.MAX_SAFE_INTEGER);
}

/** What a checkpoint begins with, a small record where the whole is large; says nothing of whether the rest is there. */
export function readCheckpointHead(log: SegmentLog, anchor: number): CheckpointHead | undefined {
  return readParts(log, anchor, 1)?.[0]?.head;
}

function readParts(log: SegmentLog, anchor: number, partsMax: number): Checkpoint[] | undefined {
  const reader = log.reader(anchor);
  const parts: Checkpoint[] = [];
  try {
    do {
      const item = reader.next();
      if (item?.kind !== 'record' || item.recordKind !== RecordKind.CHECKPOINT) return undefined;
      const part = unpackRecord<Checkpoint>(item.payload, CHECKPOINT_SHAPE);
      if (part.head !== undefined) checkShape(part.head, CHECKPOINT_HEAD_SHAPE);
      if (part.part !== parts.length || (part.part === 0) !== (part.head !== undefined)) return undefined;
      parts.push(part);
    } while (parts.length < Math.min(partsMax, parts[0]!.parts));
    return parts;
  } catch (cause) {
    if (cause instanceof BackplaneError) return undefined;
    throw cause;
  } finally {
    reader.close();
  }
}

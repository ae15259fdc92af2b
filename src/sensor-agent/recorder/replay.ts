/**
 * Feeds a timeline from a recording, in bounded steps so that recording goes on
 * meanwhile. Where it is told what is sought, it passes over whole stretches
 * between checkpoints that have nothing of it. Opens at a checkpoint, or at the log's
 * start. There it cannot interpret pages until it reads an ORIGIN record or
 * reaches the oldest whole checkpoint; events and losses recorded before that
 * count as damaged.
 */
import { BackplaneError } from '../../errors.js';
import { EXEC_CONTEXT_WAIT_MS } from '../../limits.js';
import { msToNs } from '../../nanoseconds.js';
import type { LogReader, SegmentLogItem } from '../../storage/segment-log/log-reader.js';
import type { SegmentLog } from '../../storage/segment-log/segment-log.js';
import { AGENT_LANE, comparePositions, type Position, TIE_MAX } from '../../wire/position.js';
import { PageEntries, startCursor } from '../source/pages/page.js';
import type { Timeline } from '../timeline/timeline.js';
import type { TimelineInterest } from '../timeline/timeline-sink.js';
import type { TimelineView } from '../timeline/timeline-view.js';
import { type Anchor, oldestAnchor, wholeAnchor } from './anchors.js';
import { unpackExecs } from './exec-records.js';
import { Passing, type PassOver, type Sought } from './passing/passing.js';
import {
  CONTAINERS_SHAPE,
  HOLE_SHAPE,
  LOSS_SHAPE,
  NOTICE_SHAPE,
  ORIGIN_SHAPE,
  PATHS_SHAPE,
  QUERIES_SHAPE,
  SNAPSHOT_SHAPE,
  SWITCH_SHAPE,
} from './record-shape.js';
import {
  type Origin,
  type RecordedContainers,
  type RecordedHole,
  type RecordedLoss,
  type RecordedNotice,
  type RecordedPaths,
  type RecordedQueries,
  type RecordedSnapshot,
  type RecordedSwitch,
  RecordKind,
  readClock,
  readPage,
  readU64,
  unpackRecord,
} from './recording.js';

/** Kinds of records that hold events or losses themselves; the others only help to interpret them. */
const TELLING: ReadonlySet<number> = new Set([
  RecordKind.PAGE,
  RecordKind.EXEC,
  RecordKind.NOTICE,
  RecordKind.HOLE,
  RecordKind.LOSS,
]);
/**
 * Ordinal for a side record that is not in the log. A lower one could count as known to the checkpoint and be skipped,
 * so that its exec would wait for ever.
 */
const OF_NO_RECORD = Number.MAX_SAFE_INTEGER;
const EXEC_WAIT_NS = msToNs(EXEC_CONTEXT_WAIT_MS);

/** Told that at least `bytes` cannot be read again; their events lie in (from, to]. `to` undefined: its end is unknown. */
export type OnDamage = (bytes: number, from: Position, to: Position | undefined) => void;

/** The place from which a replay can interpret records. */
export interface ReplayStart {
  readonly position: Position;
  /** Wall clock. */
  readonly timeNs: bigint;
}

export class Replay {
  /** Undefined while records cannot be interpreted yet. */
  start: ReplayStart | undefined;
  /** Bytes that could not be read again, at least. */
  damagedBytes = 0;
  /** Whether records that were to be read have been evicted from the recorder. */
  evicted = false;
  /** All entries of the pages that were read, of every type. */
  entriesScanned = 0;
  #reader: LogReader;
  /** Entries of earlier pages are counted already. */
  #countFrom = 0;
  #entries = new PageEntries();
  /**
   * The next checkpoint has context that no record read before it tells: a hole was read, or records that waited at the
   * checkpoint before are gone.
   */
  #interrupted = false;
  /** Ordinal of the last checkpoint that was restored. */
  #seenAt = -1;
  /**
   * Whether records were skipped as unreadable; their events lie at or before #unsureToNs (undefined: the end is
   * unknown).
   */
  #unsure = false;
  /** How often records were skipped as unreadable. */
  passages = 0;
  #unsureToNs: bigint | undefined;
  /** Horizons read since records were last skipped. */
  #horizons = 0;
  /** Execs before this time were already overdue at the previous horizon. */
  #overdueNs = 0n;
  /** The horizon before. */
  #horizonNs = 0n;
  /** The oldest whole checkpoint: records can be interpreted from there at the latest. */
  #sight: Anchor | undefined;
  /** Undefined: every record is fed. */
  readonly #passing: Passing | undefined;
  /** Damage that is not reported yet, because the end of its stretch is unknown. */
  #damage: { bytes: number; readonly from: Position } | undefined;

  readonly #log: SegmentLog;
  readonly #timeline: Timeline;
  readonly #onDamage: OnDamage;

  /**
   * Feeds a new timeline, from a checkpoint or, where none is given, from the log's start. `sought`: the timeline's sink
   * is told everything that is, and of the rest nothing for certain.
   */
  constructor(
    log: SegmentLog,
    anchor: Anchor | undefined,
    timeline: Timeline,
    onDamage: OnDamage = () => undefined,
    sought?: Sought,
    where: PassOver = 'pays',
  ) {
    this.#log = log;
    this.#timeline = timeline;
    this.#onDamage = onDamage;
    this.#passing = sought && where !== 'never' ? new Passing(log, timeline, sought, where) : undefined;
    if (anchor) this.#see(anchor);
    else this.#sight = oldestAnchor(log);
    this.#reader = log.reader(anchor?.head.resumeOrdinal ?? log.firstOrdinal);
    this.#lookAround();
    if (anchor && !this.#interrupted) this.#passing?.at(anchor.ordinal, 0);
  }

  #see({ ordinal, head, checkpoint }: Anchor): void {
    this.#timeline.restore(head, checkpoint, ordinal);
    this.#seenAt = ordinal;
    this.#interrupted = head.resumeOrdinal < this.#log.firstOrdinal;
    const { position, clock, wallNs } = head;
    this.start ??= { position, timeNs: position.timeNs === 0n ? clock.wallNs : wallNs };
  }

  /** Restores the oldest checkpoint once reading reaches the first record that the checkpoint needs. */
  #lookAround(): void {
    if (this.start || !this.#sight || this.#reader.ordinal < this.#sight.head.resumeOrdinal) return;
    this.#see(this.#sight);
    this.#sight = undefined;
  }

  get timeline(): TimelineView {
    return this.#timeline;
  }

  /** Replaces the interest of the timeline. */
  ask(interest: TimelineInterest): void {
    this.#timeline.ask(interest);
  }

  /** The next record to be read. */
  get ordinal(): number {
    return this.#reader.ordinal;
  }

  /**
   * Feeds about `bytesMax` bytes of records, or stops once everything up to `upTo` is told; false at the log's present
   * end.
   */
  step(bytesMax: number, upTo?: Position): boolean {
    for (let bytes = 0; bytes < bytesMax; ) {
      if (upTo && comparePositions(this.#timeline.frontier, upTo) >= 0) return true;
      if (this.#passing?.looks) {
        bytes += this.#passing.step(bytesMax - bytes);
        this.#passOver();
        continue;
      }
      const item = this.#reader.next();
      if (item === undefined) return false;
      bytes += item.kind === 'record' ? item.payload.length + 64 : 64;
      this.#take(item);
      this.#lookAround();
    }
    return true;
  }

  /**
   * Called at the recording's present end, when its own timeline has told everything up to a position. Events that
   * still wait here wait for a record that cannot be read, so they are told without it.
   */
  finish({ epoch, timeNs }: Position): void {
    const timeline = this.#timeline;
    if (!this.#unsure || epoch !== timeline.origin.epoch) return;
    timeline.horizon(timeNs + 1n);
    while (this.#release(timeNs + 1n));
  }

  /** Lets the first event that waits go on without its side record, where it is of before `endNs`; false: none is. */
  #release(endNs: bigint): boolean {
    const timeline = this.#timeline;
    const { waitingExec: exec } = timeline;
    const container = exec ? undefined : timeline.waitingContainer;
    if (exec && exec.timeNs < endNs) timeline.execs([{ ...exec, missed: true }], OF_NO_RECORD);
    else if (container && container.timeNs < endNs)
      timeline.containers(
        { asked: true, containers: [{ id: container.id, unresolved: true }], gone: [] },
        OF_NO_RECORD,
      );
    else return false;
    return true;
  }

  /** Goes on at the checkpoint up to which nothing is sought. */
  #passOver(): void {
    const passed = this.#passing?.take();
    if (!passed) return;
    this.#timeline.forgetWaiting();
    this.#see(passed.anchor);
    this.#reader.close();
    this.#reader = this.#log.reader(passed.anchor.head.resumeOrdinal);
    this.entriesScanned += passed.entries;
    this.#countFrom = passed.anchor.ordinal;
  }

  close(): void {
    this.#passing?.close();
    this.#tellDamage(undefined);
    this.#reader.close();
  }

  /** Whether records that could not be read may have held events of this time or of an earlier one. */
  unsureAt(timeNs: bigint): boolean {
    return this.#unsure && (this.#unsureToNs === undefined || timeNs <= this.#unsureToNs);
  }

  #take(item: SegmentLogItem): void {
    if (item.kind === 'evicted') {
      this.evicted = true;
      this.#passedOver();
    } else if (item.kind === 'damage') {
      this.#damaged(item.lostBytes);
    } else {
      try {
        if (this.start) this.#record(item.recordKind, item.payload, item.ordinal);
        else this.#inTheDark(item);
        const isSure = this.start !== undefined && !this.#unsure && !this.#interrupted;
        if (item.anchor && isSure) this.#passing?.at(item.ordinal, item.ordinal);
      } catch (cause) {
        if (!(cause instanceof BackplaneError)) throw cause;
        this.#damaged(item.payload.length);
      }
    }
  }

  /** Takes a record before the origin, and with it the formats of the pages, is known. */
  #inTheDark({ recordKind, payload, ordinal, timeNs }: SegmentLogItem & { kind: 'record' }): void {
    if (recordKind === RecordKind.CLOCK) this.#timeline.setClock(readClock(payload), ordinal);
    if (recordKind !== RecordKind.ORIGIN) {
      if (TELLING.has(recordKind)) this.#damaged(payload.length);
      return;
    }
    const origin = unpackRecord<Origin>(payload, ORIGIN_SHAPE);
    this.#timeline.begin(origin, ordinal);
    this.start = { position: this.#timeline.frontier, timeNs };
    // A continued origin keeps the earlier process context, which only the checkpoint that follows has.
    this.#interrupted = origin.continued;
  }

  #damaged(bytes: number): void {
    this.damagedBytes += bytes;
    this.#damage ??= { bytes: 0, from: this.#timeline.frontier };
    this.#damage.bytes += bytes;
    // What cannot be read is told as damage, and not as taken by an agent that was killed.
    this.#timeline.taken.count = undefined;
    this.#passedOver();
  }

  #tellDamage(to: Position | undefined): void {
    const damage = this.#damage;
    this.#damage = undefined;
    if (damage) this.#onDamage(damage.bytes, damage.from, to);
  }

  #passedOver(): void {
    this.#timeline.passedOver();
    this.passages += 1;
    this.#unsure = true;
    this.#unsureToNs = undefined;
    this.#horizons = 0;
  }

  #record(kind: number, payload: Buffer, ordinal: number): void {
    const timeline = this.#timeline;
    if (kind === RecordKind.PAGE) this.#page(payload, ordinal);
    else if (kind === RecordKind.HORIZON) this.#horizon(readU64(payload, 0));
    else if (kind === RecordKind.CLOCK) timeline.setClock(readClock(payload), ordinal);
    else if (kind === RecordKind.EXEC) timeline.execs(unpackExecs(payload), ordinal);
    else if (kind === RecordKind.NOTICE) timeline.notice(unpackRecord<RecordedNotice>(payload, NOTICE_SHAPE), ordinal);
    else if (kind === RecordKind.SNAPSHOT)
      timeline.snapshot(unpackRecord<RecordedSnapshot>(payload, SNAPSHOT_SHAPE), ordinal);
    else if (kind === RecordKind.PATHS) timeline.paths(unpackRecord<RecordedPaths>(payload, PATHS_SHAPE));
    else if (kind === RecordKind.QUERIES) timeline.queries(unpackRecord<RecordedQueries>(payload, QUERIES_SHAPE));
    else if (kind === RecordKind.ORIGIN) timeline.begin(unpackRecord<Origin>(payload, ORIGIN_SHAPE), ordinal);
    else if (kind === RecordKind.HOLE) this.#hole(unpackRecord<RecordedHole>(payload, HOLE_SHAPE));
    else if (kind === RecordKind.LOSS) timeline.lose(unpackRecord<RecordedLoss>(payload, LOSS_SHAPE), ordinal);
    else if (kind === RecordKind.SWITCH)
      timeline.switchedOn(unpackRecord<RecordedSwitch>(payload, SWITCH_SHAPE), ordinal);
    else if (kind === RecordKind.CONTAINERS)
      timeline.containers(unpackRecord<RecordedContainers>(payload, CONTAINERS_SHAPE), ordinal);
    else if (kind !== RecordKind.CHECKPOINT) throw new BackplaneError('damaged', `record of an unknown kind ${kind}`);
    else if (this.#interrupted) this.#resume(ordinal);
  }

  /**
   * Advances to a horizon. After damage also releases overdue execs, as their side record may be unreadable; the
   * recorder lets no exec wait longer than until the horizon after the one at which it was overdue and read for longer
   * than one drain.
   */
  #horizon(horizonNs: bigint): void {
    const timeline = this.#timeline;
    timeline.horizon(horizonNs);
    if (!this.#unsure) return;
    // Pages may hold events past the first horizon that follows them but not past the second, so the second bounds the
    // damage.
    if (this.#unsureToNs === undefined && ++this.#horizons === 2) {
      this.#unsureToNs = horizonNs;
      this.#tellDamage({ epoch: timeline.origin.epoch, timeNs: horizonNs, lane: AGENT_LANE, tie: TIE_MAX });
    }
    while (this.#release(this.#overdueNs));
    const overdueNs = horizonNs - EXEC_WAIT_NS;
    this.#overdueNs = overdueNs < this.#horizonNs ? overdueNs : this.#horizonNs;
    this.#horizonNs = horizonNs;
  }

  #hole(hole: RecordedHole): void {
    this.#timeline.hole(hole);
    this.#interrupted = true;
  }

  /** Restores the checkpoint that alone has the context. */
  #resume(ordinal: number): void {
    const anchor = ordinal > this.#seenAt ? wholeAnchor(this.#log, ordinal) : undefined;
    if (anchor) this.#see(anchor);
  }

  #page(payload: Buffer, ordinal: number): void {
    const page = readPage(payload);
    this.#timeline.scan(page.bytes, startCursor(page.firstTie), this.#entries);
    if (ordinal >= this.#countFrom) this.entriesScanned += this.#entries.entries;
    if (this.#entries.malformed) this.#damaged(payload.length);
    this.#timeline.page(page, this.#entries, ordinal);
  }
}

/**
 * Answers one question about the past from the flight recorder: opens it at the
 * checkpoint before the window, reads on in steps, and sends matches as far as
 * it has credit. Runs beside the recording, within a share of one core.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  HISTORY_FRAME_BYTES,
  HISTORY_HELD_BYTES_FREE,
  HISTORY_HOLD_RETRY_MS,
  HISTORY_LAST_BYTES_MAX,
  HISTORY_LINGER_MS,
  HISTORY_PROGRESS_MS,
  HISTORY_SLICE_BYTES,
  HISTORY_STEP_MATCHED_BYTES,
  HISTORY_STEP_MS,
  MiB,
} from '../../limits.js';
import type { SegmentLog } from '../../storage/segment-log/segment-log.js';
import { MaskUnions } from '../../subscriptions/mask-unions.js';
import type { Predicate } from '../../subscriptions/predicate.js';
import { PredicateIndex } from '../../subscriptions/predicate-index.js';
import type { BusEvent } from '../../wire/event/event.js';
import type { HistoryFrame } from '../../wire/frame/history-frame.js';
import { emptyHistoryFrame } from '../../wire/frame/history-frame.js';
import { mergeLoss, type StatedLoss } from '../../wire/frame/loss.js';
import { AGENT_LANE, comparePositions, type Position, TIE_MAX } from '../../wire/position.js';
import { entryTest } from '../interest/entry-test.js';
import { USER_NAMES } from '../interest/user-names.js';
import { type Anchor, anchorAtPosition, anchorAtTime, stretches } from '../recorder/anchors.js';
import type { PassOver } from '../recorder/passing/passing.js';
import { Replay, type ReplayStart } from '../recorder/replay.js';
import { statedLoss } from '../timeline/open-losses.js';
import { Timeline } from '../timeline/timeline.js';
import type { Loss, TimelineInterest, TimelineSink } from '../timeline/timeline-sink.js';
import type { TimelineView } from '../timeline/timeline-view.js';
import { HistoryBuilder, NewestFrames, withoutFirst } from './history-builder.js';
import { HistoryTurns } from './history-turns.js';
import type { HistoryResult, HistoryWindow } from './history-window.js';
import { type HistoryOutlet, ReaderWait } from './reader-wait.js';
import { execTest, soughtBy } from './sought.js';

/** The part of a recorder that queries read. */
export interface Recording {
  readonly log: SegmentLog;
  /** Fed with everything that is recorded. */
  readonly timeline: TimelineView;
  /** Set while the disk takes nothing. */
  readonly hole: { readonly from: Position; readonly stated: StatedLoss } | undefined;
}

/** One of the predicates of a query. */
export interface AskedPredicate {
  /** By which frames name it. */
  readonly id: bigint;
  readonly predicate: Predicate;
}

interface Tally {
  lost: number;
  lostUnknown: boolean;
  losses: readonly StatedLoss[];
  late: number;
}

/** The end of a stretch whose end is unknown. */
const BEYOND_ALL: Position = { epoch: Number.MAX_SAFE_INTEGER, timeNs: 1n << 63n, lane: AGENT_LANE, tie: TIE_MAX };

export class HistoryQuery {
  #tally: Tally = { lost: 0, lostUnknown: false, losses: [], late: 0 };
  #damagedBytes = 0;
  #scanned = 0;
  /** Bytes of all matches so far. */
  #matchedBytes = 0;
  readonly #types = new Map<string, boolean>();
  readonly #interest: TimelineInterest;
  #evicted = false;
  /** A frame, or the end, says that what comes before it is no longer recorded. */
  #isEvictionTold = false;
  #stretch = 0;
  /** A frame could not be sent: the query cannot be answered. */
  #unsent: { readonly cause: unknown } | undefined;
  /** When a frame of this query was last sent, monotonic. */
  #saidMs = performance.now();

  readonly #recording: Recording;
  /** Each once, as equal ones are one object. */
  readonly #predicates: readonly Predicate[];
  /** By predicate, the ids by which the asker knows it. */
  readonly #ids = new Map<Predicate, bigint[]>();
  readonly #severalIds: boolean;
  readonly #unions = new MaskUnions();
  /** By event type, the predicates that may match. */
  readonly #byType = new Map<string, PredicateIndex>();
  readonly #window: HistoryWindow;
  readonly #outlet: HistoryOutlet;
  readonly #frameBytes = () => this.#outlet.frameBytes ?? HISTORY_FRAME_BYTES;
  readonly #reader: ReaderWait;
  readonly #turns: HistoryTurns;
  readonly #passOver: PassOver;

  constructor(
    recording: Recording,
    predicates: readonly AskedPredicate[],
    window: HistoryWindow,
    outlet: HistoryOutlet,
    signal: AbortSignal,
    turns = new HistoryTurns(),
    passOver: PassOver = 'pays',
  ) {
    this.#passOver = passOver;
    this.#recording = recording;
    for (const { id, predicate } of predicates) {
      const ids = this.#ids.get(predicate);
      if (ids === undefined) this.#ids.set(predicate, [id]);
      else if (!ids.includes(id)) ids.push(id);
    }
    this.#predicates = [...this.#ids.keys()];
    this.#severalIds = [...this.#ids.values()].flat().length > 1;
    this.#window = window;
    this.#outlet = outlet;
    this.#reader = new ReaderWait(outlet, signal);
    this.#turns = turns;
    this.#interest = {
      wants: (type) => this.#wants(type),
      entryTest: (format) => entryTest(format, (type) => this.#predicates.filter((each) => each.mayMatchType(type))),
      named: this.#predicates.some(({ namesMore }) => namesMore) ? USER_NAMES : undefined,
      wantsExec: execTest(this.#predicates),
    };
  }

  /** Throws `cancelled` when the signal fires, `resource_exhausted` when its place went to another query. */
  async run(): Promise<HistoryResult> {
    return this.#window.last > 0 ? await this.#newest() : await this.#forward();
  }

  async #forward(): Promise<HistoryResult> {
    const builder = new HistoryBuilder((frame) => this.#send(frame), this.#frameBytes);
    const { after, sinceNs, upTo } = this.#window;
    const replay = await this.#turn(() => {
      const { log } = this.#recording;
      const anchor = after ? anchorAtPosition(log, after) : anchorAtTime(log, sinceNs ?? 0n);
      return this.#replay(anchor, builder, () => upTo);
    });
    let flushedMs = performance.now();
    try {
      for (let more = true; more; ) {
        more = await this.#turn(() => {
          const readOn = this.#step(replay, upTo);
          // A timeline takes what is thrown as it tells an event for the loss of that one event, and a frame holds many.
          if (this.#unsent) throw this.#unsent.cause;
          const nowMs = performance.now();
          if (!readOn || nowMs - flushedMs > HISTORY_LINGER_MS) {
            builder.flush();
            flushedMs = nowMs;
          }
          return readOn;
        });
        await this.#reader.ready();
      }
    } finally {
      this.#close(replay, upTo);
    }
    if (this.#findsEvicted(replay)) builder.missing();
    return { ...this.#answer(replay, replay.start, true), incomplete: builder.lacksEnd };
  }

  /** Finds the last N matches by reading stretches between checkpoints, from the newest back. */
  async #newest(): Promise<HistoryResult> {
    const stretchesFound: NewestFrames[] = [];
    const wanted = this.#window.last;
    let { upTo } = this.#window;
    let found = 0;
    let bytes = 0;
    let newest: Replay | undefined;
    let start: ReplayStart | undefined;
    let leave: (() => void) | undefined;
    try {
      for (const anchor of stretches(this.#recording.log)) {
        const stretch = new NewestFrames(wanted);
        const builder = new HistoryBuilder((frame) => stretch.add(frame), this.#frameBytes);
        const replay = await this.#turn(() => this.#replay(anchor, builder, () => upTo));
        newest ??= replay;
        const from = replay.timeline.frontier;
        try {
          if (comparePositions(from, upTo) < 0) {
            for (let more = true; more; ) {
              more = await this.#turn(() => this.#step(replay, upTo));
              if (bytes + stretch.bytes > HISTORY_HELD_BYTES_FREE) leave ??= await this.#place();
            }
          }
        } finally {
          this.#close(replay, upTo);
        }
        builder.flush();
        start = replay.start ?? start;
        stretchesFound.unshift(stretch);
        found += stretch.count;
        bytes += stretch.bytes;
        if (found >= wanted || bytes > HISTORY_LAST_BYTES_MAX || this.#reaches(start)) break;
        if (comparePositions(from, upTo) < 0) upTo = from;
      }
      await this.#sendLast(
        stretchesFound.flatMap(({ frames }) => frames),
        found - wanted,
      );
    } finally {
      leave?.();
    }
    const full = found < wanted && bytes > HISTORY_LAST_BYTES_MAX && !this.#reaches(start);
    const most = `${found} events, which are more than ${HISTORY_LAST_BYTES_MAX / MiB} MiB`;
    const answer = this.#answer(newest, start, found < wanted && !full);
    return full ? { ...answer, message: `only the last ${most}: ask with since for more` } : answer;
  }

  /** Sends frames without their first `excess` events. */
  async #sendLast(frames: HistoryFrame[], excess: number): Promise<void> {
    let before = excess;
    // One by one, so that each is held only until it is sent.
    for (let frame = frames.shift(); frame; frame = frames.shift()) {
      const count = frame.eventSizes.length;
      if (before < count) {
        this.#send(withoutFirst(frame, before));
        await this.#reader.ready();
      }
      before -= count;
    }
  }

  /** Waits for one of the places of queries that hold much; the returned function leaves it. */
  async #place(): Promise<() => void> {
    for (;;) {
      const leave = this.#turns.enter(this.#reader);
      if (leave) return leave;
      await this.#turn(() => undefined);
      await sleep(HISTORY_HOLD_RETRY_MS);
    }
  }

  /** Whether a replay that starts there covers the window from its start. */
  #reaches(start: ReplayStart | undefined): boolean {
    const { sinceNs, after } = this.#window;
    if (!start) return false;
    return after ? comparePositions(start.position, after) <= 0 : sinceNs !== undefined && start.timeNs <= sinceNs;
  }

  #replay(anchor: Anchor | undefined, builder: HistoryBuilder, upTo: () => Position): Replay {
    const timeline: Timeline = new Timeline(
      this.#interest,
      this.#sink(
        builder,
        upTo,
        () => timeline,
        () => replay,
      ),
    );
    const onDamage = (bytes: number, from: Position, to: Position | undefined) => {
      if (!this.#touched(from, to ?? BEYOND_ALL, timeline, upTo())) return;
      this.#damagedBytes += bytes;
      builder.missing();
    };
    const { untilNs } = this.#window;
    const sought = soughtBy(this.#predicates, ({ position, wallNs }) => {
      return comparePositions(position, upTo()) <= 0 && (untilNs === undefined || wallNs < untilNs);
    });
    const replay: Replay = new Replay(this.#recording.log, anchor, timeline, onDamage, sought, this.#passOver);
    return replay;
  }

  /** Once: what comes behind `after`, or behind what was read, is no longer recorded. */
  #findsEvicted(replay: Replay): boolean {
    if (this.#isEvictionTold) return false;
    const begun = this.#window.after === undefined || this.#reaches(replay.start);
    this.#isEvictionTold = replay.evicted || !begun;
    return this.#isEvictionTold;
  }

  #wants(type: string): boolean {
    let wanted = this.#types.get(type);
    if (wanted === undefined) {
      wanted = this.#predicates.some((predicate) => predicate.mayMatchType(type));
      this.#types.set(type, wanted);
    }
    return wanted;
  }

  #sink(
    builder: HistoryBuilder,
    upTo: () => Position,
    timeline: () => TimelineView,
    replay: () => Replay,
  ): TimelineSink {
    return {
      event: (event: BusEvent) => {
        const { position } = event;
        if (!this.#inside(position, timeline(), upTo()) || !this.#withinStretch(position)) return;
        if (this.#findsEvicted(replay())) builder.missing();
        this.#match(event, builder);
      },
      loss: (loss: Loss, position: Position, from?: Position) => {
        if (!this.#touched(loss.stated?.from ?? from ?? position, position, timeline(), upTo())) return;
        if (loss.stated) {
          if (this.#lose(loss, position)) builder.missing();
          return;
        }
        builder.missing();
        this.#tally.lost += loss.count;
        this.#tally.lostUnknown ||= loss.unknown;
      },
      late: ({ position }: BusEvent) => {
        if (this.#inside(position, timeline(), upTo())) this.#tally.late += 1;
      },
    };
  }

  #match(event: BusEvent, builder: HistoryBuilder): void {
    if (!this.#severalIds) {
      const [only] = this.#predicates;
      if (only!.matches(event)) this.#matchedBytes += builder.add(event, only!.mask, []);
      return;
    }
    const matched = this.#candidates(event.type).match(event);
    if (matched.length === 0) return;
    const ids = matched.flatMap((predicate) => this.#ids.get(predicate)!);
    this.#matchedBytes += builder.add(event, this.#unions.of(matched), ids);
  }

  #candidates(type: string): PredicateIndex {
    let candidates = this.#byType.get(type);
    if (candidates === undefined) {
      candidates = new PredicateIndex(this.#predicates.filter((predicate) => predicate.mayMatchType(type)));
      this.#byType.set(type, candidates);
    }
    return candidates;
  }

  /** Returns false for a loss of types that are not asked for. */
  #lose(loss: Loss, position: Position): boolean {
    const { types } = loss.stated!;
    if (types && !types.some((type) => this.#wants(type))) return false;
    this.#tally.losses = mergeLoss(this.#tally.losses, statedLoss(loss, position)!);
    return true;
  }

  /** Events come in order, so stretches before this one are never needed again. */
  #withinStretch(position: Position): boolean {
    const { within } = this.#window;
    if (within === undefined) return true;
    while (this.#stretch < within.length && comparePositions(position, within[this.#stretch]!.to) > 0) this.#stretch++;
    const stretch = within[this.#stretch];
    return stretch !== undefined && comparePositions(position, stretch.from) > 0;
  }

  #inside(position: Position, timeline: TimelineView, upTo: Position): boolean {
    return this.#touched(position, position, timeline, upTo);
  }

  /** Whether any part of a stretch is inside the window. */
  #touched(from: Position, to: Position, timeline: TimelineView, upTo: Position): boolean {
    const { sinceNs, untilNs, after } = this.#window;
    if (sinceNs !== undefined && timeline.wallNs(to.timeNs) < sinceNs) return false;
    if (untilNs !== undefined && timeline.wallNs(from.timeNs) >= untilNs) return false;
    if (after && comparePositions(to, after) <= 0) return false;
    return comparePositions(from, upTo) <= 0;
  }

  /** One turn's reading: false when everything up to `upTo`, or to the window's end, has been read. */
  #step(replay: Replay, upTo: Position): boolean {
    const enoughBytes = this.#matchedBytes + HISTORY_STEP_MATCHED_BYTES;
    const endMs = performance.now() + HISTORY_STEP_MS;
    for (;;) {
      if (!this.#read(replay, upTo)) return false;
      if (this.#matchedBytes >= enoughBytes || performance.now() >= endMs) return true;
    }
  }

  #read(replay: Replay, upTo: Position): boolean {
    if (!replay.step(HISTORY_SLICE_BYTES)) {
      const { frontier } = this.#recording.timeline;
      replay.finish(comparePositions(upTo, frontier) < 0 ? upTo : frontier);
      return false;
    }
    const { timeline } = replay;
    if (comparePositions(timeline.frontier, upTo) >= 0) return false;
    // Behind what was read last the clock may yet be set back.
    return this.#window.untilNs === undefined || timeline.readWallNs() < this.#window.untilNs;
  }

  /** Does work in a turn of its own. Throws `cancelled` when the signal has fired. */
  #turn<T>(work: () => T): Promise<T> {
    // Without this empty frame, a long search that finds nothing would look like a node that has gone silent.
    if (performance.now() - this.#saidMs > HISTORY_PROGRESS_MS)
      this.#send(emptyHistoryFrame(this.#predicates[0]!.topics[0]!));
    return this.#turns.step(this.#reader.signal, work);
  }

  #send(frame: HistoryFrame): void {
    this.#saidMs = performance.now();
    try {
      this.#outlet.send(frame);
    } catch (cause) {
      this.#unsent = { cause };
      throw cause;
    }
  }

  #close(replay: Replay, upTo: Position): void {
    const { timeline } = replay;
    for (const loss of timeline.openLosses)
      if (this.#touched(loss.stated.from, timeline.frontier, timeline, upTo)) this.#lose(loss, timeline.frontier);
    this.#scanned += replay.entriesScanned;
    this.#evicted ||= replay.evicted;
    replay.close();
  }

  /** `replay` gives the wall time of the window's end; `start`: where reading began; `all`: nothing was left unread. */
  #answer(replay: Replay | undefined, start: ReplayStart | undefined, all: boolean): HistoryResult {
    const { after, sinceNs, untilNs, upTo, last } = this.#window;
    const { hole, log } = this.#recording;
    const end = hole && comparePositions(hole.from, upTo) < 0 ? hole.from : upTo;
    if (hole && replay && this.#touched(hole.from, upTo, replay.timeline, upTo)) {
      this.#tally.losses = mergeLoss(this.#tally.losses, hole.stated);
    }
    const endNs = replay?.timeline.wallNs(end.timeNs) ?? 0n;
    const coveredToNs = untilNs !== undefined && untilNs < endNs ? untilNs : endNs;
    const reaches = this.#reaches(start);
    // Without a start the window is "everything", of which eviction has left only a part.
    const short = last === 0 && !reaches && (log.firstOrdinal > 0 || after !== undefined);
    return {
      coveredFromNs: reaches && sinceNs !== undefined ? sinceNs : (start?.timeNs ?? coveredToNs),
      coveredToNs,
      evicted: this.#evicted || short,
      beginsLater: all && sinceNs !== undefined && start !== undefined && !reaches && !after && log.firstOrdinal === 0,
      ...this.#tally,
      damagedBytes: this.#damagedBytes,
      entriesScanned: this.#scanned,
      incomplete: false,
      message: '',
      reached: upTo,
    };
  }
}

/**
 * Answers one question about the past from the flight recorder: opens it at the
 * checkpoint before the window, reads on in steps, sends what matches as far as
 * it has credit. Runs beside the recording, within a share of one core.
 */
import { HISTORY_LAST_BYTES_MAX, HISTORY_LINGER_MS, HISTORY_PROGRESS_MS, HISTORY_STEP_BYTES } from '../limits.js';
import type { SegmentLog } from '../storage/segment-log.js';
import type { Predicate } from '../subscriptions/predicate.js';
import type { BusEvent } from '../wire/event.js';
import type { HistoryFrame } from '../wire/history-frame.js';
import { mergeLoss, type StatedLoss } from '../wire/loss.js';
import { comparePositions, type Position } from '../wire/position.js';
import { anchorAtPosition } from './anchors.js';
import { type EncodedEvent, emptyFrame, encodeEvent, HistoryBuilder } from './history-builder.js';
import { HistoryTurns } from './history-turns.js';
import { entryTest } from './match/entry-test.js';
import { statedLoss } from './open-losses.js';
import { Replay } from './replay.js';
import type { EventFormat } from './source/tracefs/format.js';
import type { Loss, Timeline } from './timeline.js';

/** What is asked: a recorder. */
export interface Recording {
  readonly log: SegmentLog;
  /** From where on nothing is recorded at this moment, if so. */
  readonly holeFrom: Position | undefined;
}

export interface HistoryWindow {
  /** Wall nanoseconds, inclusive. */
  readonly sinceNs: bigint | undefined;
  /** Wall nanoseconds, exclusive. */
  readonly untilNs: bigint | undefined;
  /** Exclusive. */
  readonly after: Position | undefined;
  /** Inclusive. */
  readonly upTo: Position;
  /** Only the last N matches; 0: all. */
  readonly last: number;
  /** Only what lies in (from, to] of one of these, which ascend; undefined: no such bound. */
  readonly within?: readonly Stretch[] | undefined;
}

export interface Stretch {
  readonly from: Position;
  readonly to: Position;
}

export interface HistoryAnswer {
  readonly coveredFromNs: bigint;
  readonly coveredToNs: bigint;
  readonly evicted: boolean;
  readonly lost: number;
  readonly lostUnknown: boolean;
  /** For another reason than the kernel's buffer. */
  readonly losses: readonly StatedLoss[];
  readonly late: number;
  readonly damagedBytes: number;
  readonly entriesScanned: number;
}

export interface HistoryOutlet {
  send(frame: HistoryFrame): void;
  /** Resolves when more may be sent. */
  ready(signal: AbortSignal): Promise<void>;
}

interface Tally {
  lost: number;
  lostUnknown: boolean;
  losses: readonly StatedLoss[];
  late: number;
}

export class HistoryQuery {
  #tally: Tally = { lost: 0, lostUnknown: false, losses: [], late: 0 };
  #damagedBytes = 0;
  #scanned = 0;
  readonly #types = new Map<string, boolean>();
  #evicted = false;
  #stretch = 0;
  /** When the broker last heard of it. */
  #saidMs = performance.now();

  constructor(
    private readonly recording: Recording,
    private readonly predicate: Predicate,
    private readonly window: HistoryWindow,
    private readonly outlet: HistoryOutlet,
    private readonly signal: AbortSignal,
    private readonly turns = new HistoryTurns(),
  ) {}

  /** Throws `cancelled` when the signal fires. */
  async run(): Promise<HistoryAnswer> {
    return this.window.last > 0 ? await this.#newest() : await this.#forward();
  }

  async #forward(): Promise<HistoryAnswer> {
    const builder = new HistoryBuilder((frame) => this.#send(frame));
    const opened = await this.#turn(() => this.#open((event) => builder.add(encodeEvent(event, this.predicate.mask))));
    let flushedMs = performance.now();
    try {
      for (let more = true; more; ) {
        more = await this.#turn(() => {
          const readOn = this.#step(opened.replay, this.window.upTo);
          const nowMs = performance.now();
          if (!readOn || nowMs - flushedMs > HISTORY_LINGER_MS) {
            builder.flush();
            flushedMs = nowMs;
          }
          return readOn;
        });
        await this.outlet.ready(this.signal);
      }
    } finally {
      this.#close(opened.replay, this.window.upTo);
    }
    return this.#answer(opened.replay, opened.fromNs);
  }

  /** The last N, by reading one stretch between checkpoints after the other from the newest back. */
  async #newest(): Promise<HistoryAnswer> {
    const blocks: EncodedEvent[][] = [];
    const wanted = this.window.last;
    let upTo = this.window.upTo;
    let found = 0;
    let bytes = 0;
    let newest: Replay | undefined;
    let fromNs = 0n;
    for (const { ordinal } of this.recording.log.anchors()) {
      const block: EncodedEvent[] = [];
      const sink = this.#sink(
        (event) => block.push(encodeEvent(event, this.predicate.mask)),
        () => upTo,
        () => replay,
      );
      const replay: Replay = await this.#turn(() => new Replay(this.recording.log, ordinal, sink));
      newest ??= replay;
      const start = replay.timeline.frontier;
      fromNs = this.#startNs(replay);
      try {
        if (comparePositions(start, upTo) < 0) {
          for (let more = true; more; ) {
            more = await this.#turn(() => this.#step(replay, upTo));
            for (; found + block.length > wanted && block.length > wanted; ) block.shift();
          }
        }
      } finally {
        this.#close(replay, upTo);
      }
      blocks.unshift(block);
      found += block.length;
      for (const event of block) bytes += event.run.length;
      if (found >= wanted || bytes > HISTORY_LAST_BYTES_MAX || this.#reached(start, fromNs)) break;
      if (comparePositions(start, upTo) < 0) upTo = start;
    }
    const builder = new HistoryBuilder((frame) => this.#send(frame));
    for (const event of blocks.flat().slice(-wanted)) builder.add(event);
    builder.flush();
    await this.outlet.ready(this.signal);
    return this.#answer(newest, fromNs);
  }

  #reached(start: Position, startNs: bigint): boolean {
    const { sinceNs, after } = this.window;
    return (
      (sinceNs !== undefined && startNs <= sinceNs) || (after !== undefined && comparePositions(start, after) <= 0)
    );
  }

  /** From when on a replay that was just opened knows what happened: at the latest when recording began. */
  #startNs(replay: Replay): bigint {
    const { timeline } = replay;
    const recordedNs = this.recording.log.segments()[0]?.firstTimeNs ?? 0n;
    const openedNs = timeline.wallNs(timeline.frontier.timeNs);
    return openedNs > recordedNs ? openedNs : recordedNs;
  }

  #open(take: (event: BusEvent) => void): { replay: Replay; fromNs: bigint } {
    const { after, sinceNs, upTo } = this.window;
    const { log } = this.recording;
    const anchor = after && anchorAtPosition(log, after);
    const sink = this.#sink(
      take,
      () => upTo,
      () => replay,
    );
    const replay: Replay = after
      ? new Replay(log, anchor?.ordinal, sink, anchor?.checkpoint)
      : new Replay(log, log.anchorBefore(sinceNs ?? 0n), sink);
    const { frontier } = replay.timeline;
    const startNs = this.#startNs(replay);
    const reaches = after ? comparePositions(frontier, after) <= 0 : sinceNs !== undefined && startNs <= sinceNs;
    // Without a start the window is "everything", of which eviction has left only this.
    this.#evicted = !reaches && (this.recording.log.firstOrdinal > 0 || after !== undefined);
    return { replay, fromNs: reaches && sinceNs !== undefined ? sinceNs : startNs };
  }

  #wants(type: string): boolean {
    let wanted = this.#types.get(type);
    if (wanted === undefined) {
      wanted = this.predicate.mayMatchType(type);
      this.#types.set(type, wanted);
    }
    return wanted;
  }

  #sink(take: (event: BusEvent) => void, upTo: () => Position, replay: () => Replay) {
    return {
      wants: (type: string) => this.#wants(type),
      entryTest: (format: EventFormat) => entryTest(format, (type) => (this.#wants(type) ? [this.predicate] : [])),
      event: (event: BusEvent) => {
        const { position } = event;
        if (!this.#inside(position, replay().timeline, upTo()) || !this.#withinStretch(position)) return;
        if (this.predicate.matches(event)) take(event);
      },
      loss: (loss: Loss, position: Position, from?: Position) => {
        if (!this.#touched(loss.stated?.from ?? from ?? position, position, replay().timeline, upTo())) return;
        if (loss.stated) {
          this.#lose(loss, position);
          return;
        }
        this.#tally.lost += loss.count;
        this.#tally.lostUnknown ||= loss.unknown;
      },
      late: ({ position }: BusEvent) => {
        if (this.#inside(position, replay().timeline, upTo())) this.#tally.late += 1;
      },
    };
  }

  #lose(loss: Loss, position: Position): void {
    const { types } = loss.stated!;
    if (types && !types.some((type) => this.#wants(type))) return;
    this.#tally.losses = mergeLoss(this.#tally.losses, statedLoss(loss, position)!);
  }

  /** Events come in order: stretches that lie behind are done with. */
  #withinStretch(position: Position): boolean {
    const { within } = this.window;
    if (within === undefined) return true;
    while (this.#stretch < within.length && comparePositions(position, within[this.#stretch]!.to) > 0) this.#stretch++;
    const stretch = within[this.#stretch];
    return stretch !== undefined && comparePositions(position, stretch.from) > 0;
  }

  #inside(position: Position, timeline: Timeline, upTo: Position): boolean {
    return this.#touched(position, position, timeline, upTo);
  }

  /** Whether some of a stretch is inside the window. */
  #touched(from: Position, to: Position, timeline: Timeline, upTo: Position): boolean {
    const { sinceNs, untilNs, after } = this.window;
    if (sinceNs !== undefined && timeline.wallNs(to.timeNs) < sinceNs) return false;
    if (untilNs !== undefined && timeline.wallNs(from.timeNs) >= untilNs) return false;
    if (after && comparePositions(to, after) <= 0) return false;
    return comparePositions(from, upTo) <= 0;
  }

  /** False when everything up to `upTo`, or to the window's end, has been read. */
  #step(replay: Replay, upTo: Position): boolean {
    if (!replay.step(HISTORY_STEP_BYTES)) return false;
    const { timeline } = replay;
    if (comparePositions(timeline.frontier, upTo) >= 0) return false;
    return this.window.untilNs === undefined || timeline.wallNs(timeline.frontier.timeNs) < this.window.untilNs;
  }

  /** Work in a turn of its own. Throws `cancelled` when the signal has fired. */
  #turn<T>(work: () => T): Promise<T> {
    // A long search that finds nothing must not pass for a node that has gone silent.
    if (performance.now() - this.#saidMs > HISTORY_PROGRESS_MS) this.#send(emptyFrame(this.predicate.spec.topics[0]!));
    return this.turns.step(this.signal, work);
  }

  #send(frame: HistoryFrame): void {
    this.#saidMs = performance.now();
    this.outlet.send(frame);
  }

  #close(replay: Replay, upTo: Position): void {
    const { timeline } = replay;
    for (const loss of timeline.losses.all)
      if (this.#touched(loss.stated.from, timeline.frontier, timeline, upTo)) this.#lose(loss, timeline.frontier);
    this.#damagedBytes += replay.damagedBytes;
    this.#scanned += replay.entriesScanned;
    this.#evicted ||= replay.evicted;
    replay.close();
  }

  #answer(replay: Replay | undefined, fromNs: bigint): HistoryAnswer {
    const { untilNs, upTo } = this.window;
    const { holeFrom } = this.recording;
    const end = holeFrom && comparePositions(holeFrom, upTo) < 0 ? holeFrom : upTo;
    const endNs = replay?.timeline.wallNs(end.timeNs) ?? 0n;
    return {
      coveredFromNs: fromNs,
      coveredToNs: untilNs !== undefined && untilNs < endNs ? untilNs : endNs,
      evicted: this.#evicted,
      ...this.#tally,
      damagedBytes: this.#damagedBytes,
      entriesScanned: this.#scanned,
    };
  }
}

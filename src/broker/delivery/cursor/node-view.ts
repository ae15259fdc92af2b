/** How far one subscription has got with one node. */
import { OWED_RANGES_MAX } from '../../../limits.js';
import type { CursorNode, HistoryPlace, OwedRange } from '../../../wire/cursor.js';
import { comparePositions, laterPosition, ORIGIN, type Position } from '../../../wire/position.js';

export type ViewState =
  /** Served from the log. */
  | 'live'
  /** Its history comes first; its frames in the log are passed over until that has met the tail. */
  | 'late';

/** What the subscriber did not get, and is to get later. Changed only by its view, as live delivery and refills meet in it. */
export interface Owed extends OwedRange {
  /** It was counted as shed or skipped by this subscription, not by one before it. */
  readonly counted: boolean;
  /** Events that were refilled of the stretch in which `after` lies; unset: nobody has counted them. */
  readonly taken?: number | undefined;
}

/** Matches that came as history, from behind the border between two frames. */
export interface Ahead {
  readonly from: Position;
  readonly events: number;
}

/** Tells whoever watches it of each change, so that cursors say what is true without anybody thinking of it. */
export class NodeView {
  #state: ViewState = 'live';
  #skip: Position | undefined;
  #onChange: () => void = () => undefined;
  /** By topic: events up to here were delivered, where that is further than `skip`. */
  readonly #floors = new Map<string, Position>();
  /** By topic: frames of the log were worked off up to here. */
  readonly #seen = new Map<string, Position>();
  /** By topic: where the next frame begins if it continues the one before; unset while that is not known. */
  readonly #chained = new Map<string, Position>();
  /** By topic, in order. */
  readonly #owed = new Map<string, readonly Owed[]>();
  /** Of its history, everything up to here in merged order was delivered. */
  afterKey: HistoryPlace | undefined;
  /** By topic, what came of the next frame of the log before it. Not known of a subscription that was resumed. */
  readonly ahead = new Map<string, Ahead>();
  /** By topic, wall nanoseconds. */
  readonly watermarksNs = new Map<string, bigint>();
  /** Told to the subscriber last. */
  toldWatermarkNs = 0n;
  /** Counts changes of `owed`. */
  owedVersion = 0;

  constructor(readonly node: string) {}

  get state(): ViewState {
    return this.#state;
  }

  /** Events of every topic up to here were delivered, or lie before the subscription. */
  get skip(): Position | undefined {
    return this.#skip;
  }

  get owed(): ReadonlyMap<string, readonly Owed[]> {
    return this.#owed;
  }

  /** @param onChange called after every change that a cursor has to say something of */
  watch(onChange: () => void): void {
    this.#onChange = onChange;
  }

  wentLate(): void {
    this.#state = 'late';
    this.#onChange();
  }

  /** @param from set where its history has met the log: all up to there was delivered */
  wentLive(from = this.#skip): void {
    this.#skip = from;
    this.#state = 'live';
    this.#onChange();
  }

  /** Every topic was delivered up to here. It never goes back. */
  reached(position: Position): void {
    this.#skip = laterPosition(position, this.#skip);
    this.#onChange();
  }

  /** The topic was delivered up to here. */
  reachedOf(topic: string, position: Position): void {
    this.#floors.set(topic, laterPosition(position, this.#floors.get(topic)));
    this.#onChange();
  }

  /** Frames of the log were worked off up to here. */
  workedOff(topic: string, coveredTo: Position): void {
    this.#seen.set(topic, coveredTo);
    this.#chained.set(topic, coveredTo);
    this.#onChange();
  }

  /** Where the topic's next frame begins if it continues the one before; undefined while that is not known. */
  chainedTo(topic: string): Position | undefined {
    return this.#chained.get(topic);
  }

  /** Frames were passed over of which nobody knows how far they reached: the next ones follow on nothing that is known. */
  unchain(): void {
    this.#chained.clear();
  }

  /** Frames of the log cannot be read: what the node recorded behind those that were comes from its recorder. */
  lostFrames(topics: readonly string[]): void {
    for (const each of topics) {
      const seen = this.#seen.get(each);
      const floor = this.floor(each);
      if (seen && (!floor || comparePositions(seen, floor) > 0)) this.#floors.set(each, seen);
    }
    this.unchain();
    this.wentLate();
  }

  /** Of too many ranges the oldest is given up: it stays shed. */
  owe(topic: string, owed: Owed): void {
    this.#setOwed(topic, [...(this.#owed.get(topic) ?? []), owed].slice(-OWED_RANGES_MAX));
  }

  /** In place: whoever else is at work on the range goes on with what it has become. */
  changeOwed(owed: Owed, change: Partial<Owed>): void {
    Object.assign(owed, change);
    this.owedVersion++;
    this.#onChange();
  }

  /** Nothing is left of it. */
  settleOwed(topic: string, settled: Owed): void {
    this.#setOwed(
      topic,
      (this.#owed.get(topic) ?? []).filter((owed) => owed !== settled),
    );
  }

  #setOwed(topic: string, ranges: readonly Owed[]): void {
    this.owedVersion++;
    if (ranges.length === 0) this.#owed.delete(topic);
    else this.#owed.set(topic, ranges);
    this.#onChange();
  }

  /** Events of the topic up to here are not delivered again. */
  floor(topic: string): Position | undefined {
    const floor = this.#floors.get(topic);
    if (floor === undefined || this.#skip === undefined) return floor ?? this.#skip;
    return comparePositions(floor, this.#skip) > 0 ? floor : this.#skip;
  }

  /** Whether offsets of the log do not say all: a cursor must name this node. */
  apart(topics: readonly string[]): boolean {
    if (this.#state === 'late' || this.#owed.size > 0) return true;
    const { skip } = this;
    if (skip === undefined) return false;
    return !topics.every((topic) => {
      const seen = this.#seen.get(topic);
      return seen !== undefined && comparePositions(seen, skip) >= 0;
    });
  }

  /** What a cursor must say of it where it stands apart. */
  toCursor(): CursorNode {
    const { node, state, skip: position, owed } = this;
    if (state === 'live' && position === undefined && owed.size > 0) return { node, standing: 'log', owed };
    if (state === 'live') return { node, standing: 'beyond', position: position ?? ORIGIN, owed };
    // Nothing of the log counts for it: what the offsets would have told must be said.
    const further = [...this.#floors].filter(([, floor]) => !position || comparePositions(floor, position) > 0);
    const known = position !== undefined || further.length > 0;
    return {
      node,
      standing: 'late',
      position,
      floors: new Map(further),
      history: known ? undefined : this.afterKey,
      owed,
    };
  }

  /** The least over all topics; 0n while one has stated none. */
  watermarkNs(topics: readonly string[]): bigint {
    let least: bigint | undefined;
    for (const topic of topics) {
      const watermark = this.watermarksNs.get(topic) ?? 0n;
      if (least === undefined || watermark < least) least = watermark;
    }
    return least ?? 0n;
  }
}

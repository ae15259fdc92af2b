/** How far one subscription has delivered one node. */
import { OWED_RANGES_MAX } from '../../../limits.js';
import type { CursorNode, HistoryPlace, OwedRange } from '../../../wire/cursor.js';
import { comparePositions, laterPosition, ORIGIN, type Position } from '../../../wire/position.js';
import type { Tally } from '../selectors/tally.js';

export type ViewState =
  /** Served from the log. */
  | 'live'
  /** Served from its recorder first. Its frames in the log are passed over until history has reached their end. */
  | 'late';

/**
 * A range of the log whose events the subscriber did not get and will get later. Only NodeView may change it, because
 * live delivery and refills both work on it.
 */
export interface Owed extends OwedRange {
  /** Whether this subscription counted the events as shed or skipped, not one that it resumes. */
  readonly counted: boolean;
  /** The events refilled of the stretch in which `after` lies; undefined if unknown. */
  readonly taken?: Tally | undefined;
}

/** The matches that came as history from after `from`, where the next frame begins. */
export interface Ahead {
  readonly from: Position;
  readonly tally: Tally;
}

/** Reports each change to its watcher, so that cursors are always up to date. */
export class NodeView {
  #state: ViewState = 'live';
  #skip: Position | undefined;
  #onChange: () => void = () => undefined;
  /** By topic, the position up to which events were delivered; it counts where it is further than `skip`. */
  readonly #floors = new Map<string, Position>();
  /** By topic, the position up to which frames of the log were processed. */
  readonly #seen = new Map<string, Position>();
  /** By topic, where the next frame must begin if it continues the one before; unset if unknown. */
  readonly #chained = new Map<string, Position>();
  /** By topic, in log order. */
  readonly #owed = new Map<string, readonly Owed[]>();
  /** Place in merged order up to which the node's history was delivered. */
  afterKey: HistoryPlace | undefined;
  /** By topic, what history delivered of the log's next frame. Unknown for what came before a resumption. */
  readonly ahead = new Map<string, Ahead>();
  /** By topic, the watermark in wall nanoseconds. */
  readonly watermarksNs = new Map<string, bigint>();
  /** The last watermark that was sent to the subscriber. */
  toldWatermarkNs = 0n;
  /** Incremented at every change of `owed`. */
  owedVersion = 0;

  constructor(readonly node: string) {}

  get state(): ViewState {
    return this.#state;
  }

  /** Position up to which events of every topic were delivered, or lie before the subscription. */
  get skip(): Position | undefined {
    return this.#skip;
  }

  get owed(): ReadonlyMap<string, readonly Owed[]> {
    return this.#owed;
  }

  /** @param onChange called after every change that affects cursors */
  watch(onChange: () => void): void {
    this.#onChange = onChange;
  }

  wentLate(): void {
    this.#state = 'late';
    this.#onChange();
  }

  /** @param from position where history meets the log: everything up to it was delivered */
  wentLive(from = this.#skip): void {
    this.#skip = from;
    this.#state = 'live';
    this.#onChange();
  }

  /** Every topic was delivered up to `position`. An earlier position than before changes nothing. */
  reached(position: Position): void {
    this.#skip = laterPosition(position, this.#skip);
    this.#onChange();
  }

  /** One topic was delivered up to `position`. */
  reachedOf(topic: string, position: Position): void {
    this.#floors.set(topic, laterPosition(position, this.#floors.get(topic)));
    this.#onChange();
  }

  /** Frames of the log were processed up to `coveredTo`. */
  workedOff(topic: string, coveredTo: Position): void {
    this.#chained.set(topic, coveredTo);
    this.seenTo(topic, coveredTo);
  }

  /** Nothing before `coveredTo` is wanted of the log. Frames before it may still be read: they do not follow it. */
  seenTo(topic: string, coveredTo: Position): void {
    this.#seen.set(topic, coveredTo);
    this.#onChange();
  }

  /** Where the topic's next frame must begin if it continues the one before; undefined if unknown. */
  chainedTo(topic: string): Position | undefined {
    return this.#chained.get(topic);
  }

  /** Call this when frames of unknown extent were passed over: the next ones must not be checked for a hole. */
  unchain(): void {
    this.#chained.clear();
  }

  /** Call this when frames of the log cannot be read: all after the processed frames then comes from the recorder. */
  lostFrames(topics: readonly string[]): void {
    for (const each of topics) {
      const seen = this.#seen.get(each);
      const floor = this.floor(each);
      if (seen && (!floor || comparePositions(seen, floor) > 0)) this.#floors.set(each, seen);
    }
    this.unchain();
    this.wentLate();
  }

  /** Adds a range. Above OWED_RANGES_MAX the oldest range is dropped, and its events are never refilled. */
  owe(topic: string, owed: Owed): void {
    this.#setOwed(topic, [...(this.#owed.get(topic) ?? []), owed].slice(-OWED_RANGES_MAX));
  }

  /** Changes the range in place, because live delivery and a refill may both hold a reference to it. */
  changeOwed(owed: Owed, change: Partial<Owed>): void {
    Object.assign(owed, change);
    this.owedVersion++;
    this.#onChange();
  }

  /** Removes a range of which nothing is left to deliver. */
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

  /** Position up to which events of the topic must not be delivered again. */
  floor(topic: string): Position | undefined {
    const floor = this.#floors.get(topic);
    if (floor === undefined || this.#skip === undefined) return floor ?? this.#skip;
    return comparePositions(floor, this.#skip) > 0 ? floor : this.#skip;
  }

  /** Whether a cursor must name this node, because offsets of the log do not say how far it was delivered. */
  apart(topics: readonly string[]): boolean {
    if (this.#state === 'late' || this.#owed.size > 0) return true;
    const { skip } = this;
    if (skip === undefined) return false;
    return !topics.every((topic) => {
      const seen = this.#seen.get(topic);
      return seen !== undefined && comparePositions(seen, skip) >= 0;
    });
  }

  /** What a cursor says of this node when it must name it. */
  toCursor(): CursorNode {
    const { node, state, skip: position, owed } = this;
    if (state === 'live' && position === undefined && owed.size > 0) return { node, standing: 'log', owed };
    if (state === 'live') return { node, standing: 'beyond', position: position ?? ORIGIN, owed };
    // Offsets say nothing of a late node, so the cursor must state the floors itself.
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

  /** The lowest watermark over the topics; 0n while one of them has none. */
  watermarkNs(topics: readonly string[]): bigint {
    let least: bigint | undefined;
    for (const topic of topics) {
      const watermark = this.watermarksNs.get(topic) ?? 0n;
      if (least === undefined || watermark < least) least = watermark;
    }
    return least ?? 0n;
  }
}

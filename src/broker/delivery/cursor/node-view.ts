/** How far one subscription has got with one node. */
import { OWED_RANGES_MAX } from '../../../limits.js';
import type { CursorNode, HistoryPlace, OwedRange } from '../../../wire/cursor.js';
import { comparePositions, ORIGIN, type Position } from '../../../wire/position.js';

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

export class NodeView {
  state: ViewState = 'live';
  /** Events up to here were delivered, or lie before the subscription. */
  skip: Position | undefined;
  /** Per topic, the same. */
  readonly floors = new Map<string, Position>();
  /** Of its history, everything up to here in merged order was delivered. */
  afterKey: HistoryPlace | undefined;
  /** Per topic, what came of the next frame of the log before it. Not known of a subscription that was resumed. */
  readonly ahead = new Map<string, Ahead>();
  /** Per topic, up to where frames of the log were worked off. */
  readonly seen = new Map<string, Position>();
  /** Per topic, where the next frame begins if it continues the one before; unset while that is not known. */
  readonly chained = new Map<string, Position>();
  /** Per topic, wall nanoseconds. */
  readonly watermarksNs = new Map<string, bigint>();
  /** Told to the subscriber last. */
  toldWatermarkNs = 0n;
  /** Per topic, in order. */
  readonly owed = new Map<string, readonly Owed[]>();
  /** Changes of `owed`. */
  owedVersion = 0;

  constructor(readonly node: string) {}

  /** Frames of the log cannot be read: what the node recorded behind those that were comes from its recorder. */
  lostFrames(topics: readonly string[]): void {
    for (const each of topics) {
      const seen = this.seen.get(each);
      const floor = this.floor(each);
      if (seen && (!floor || comparePositions(seen, floor) > 0)) this.floors.set(each, seen);
    }
    this.chained.clear();
    this.state = 'late';
  }

  /** Of too many ranges the oldest is given up: it stays shed. */
  owe(topic: string, owed: Owed): void {
    this.setOwed(topic, [...(this.owed.get(topic) ?? []), owed].slice(-OWED_RANGES_MAX));
  }

  /** In place: whoever else is at work on the range goes on with what it has become. */
  changeOwed(owed: Owed, change: Partial<Owed>): void {
    Object.assign(owed, change);
    this.owedVersion++;
  }

  /** Nothing is left of it. */
  settleOwed(topic: string, settled: Owed): void {
    this.setOwed(
      topic,
      (this.owed.get(topic) ?? []).filter((owed) => owed !== settled),
    );
  }

  private setOwed(topic: string, ranges: readonly Owed[]): void {
    this.owedVersion++;
    if (ranges.length === 0) this.owed.delete(topic);
    else this.owed.set(topic, ranges);
  }

  /** Events of the topic up to here are not delivered again. */
  floor(topic: string): Position | undefined {
    const floor = this.floors.get(topic);
    if (floor === undefined || this.skip === undefined) return floor ?? this.skip;
    return comparePositions(floor, this.skip) > 0 ? floor : this.skip;
  }

  /** Whether offsets of the log do not say all: a cursor must name this node. */
  apart(topics: readonly string[]): boolean {
    if (this.state === 'late' || this.owed.size > 0) return true;
    const { skip } = this;
    if (skip === undefined) return false;
    return !topics.every((topic) => {
      const seen = this.seen.get(topic);
      return seen !== undefined && comparePositions(seen, skip) >= 0;
    });
  }

  /** What a cursor must say of it where it stands apart. */
  toCursor(): CursorNode {
    const { node, state, skip: position, owed } = this;
    if (state === 'live' && position === undefined && owed.size > 0) return { node, standing: 'log', owed };
    if (state === 'live') return { node, standing: 'beyond', position: position ?? ORIGIN, owed };
    // Nothing of the log counts for it: what the offsets would have told must be said.
    const further = [...this.floors].filter(([, floor]) => !position || comparePositions(floor, position) > 0);
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

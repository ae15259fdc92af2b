/** How far one subscription has delivered one node. */
import { OWED_RANGES_MAX } from '../../../limits.js';
import type { CursorNode, HistoryPlace, OwedRange } from '../../../wire/cursor.js';
import { comparePositions, laterPosition, ORIGIN, type Position } from '../../../wire/position.js';
import type { TopicEnd } from '../../log/topic-ends.js';
import { type OwedTally, owedTogether, owedWithout } from '../selectors/owed-tally.js';
import type { Tally } from '../selectors/tally.js';

/** What a subscriber was told of a node. */
export interface NodeTold {
  readonly connected: boolean;
  readonly degraded: string;
}

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
  /** Where the first frame from `offsetFrom` on begins if it continues the one before; undefined if unknown. */
  readonly chained?: Position | undefined;
  /** What this subscription counted, and neither refilled nor told as lost since; undefined if unknown. */
  readonly due?: OwedTally | undefined;
}

/** The matches that came as history from after `from`, where the next frame begins. */
export interface Ahead {
  readonly from: Position;
  readonly tally: Tally;
}

/** How far one topic of the node was delivered. */
class TopicView {
  /** Position up to which events were delivered; it counts where it is further than the node's `skip`. */
  floor: Position | undefined;
  /** Position up to which frames of the log were processed. */
  seen: Position | undefined;
  /** Where the next frame must begin if it continues the one before; unset if unknown. */
  chained: Position | undefined;
  /** Wall nanoseconds. */
  watermarkNs = 0n;

  constructor(readonly topic: string) {}
}

/** Most views owe nothing. */
const NOTHING_OWED: ReadonlyMap<string, readonly Owed[]> = new Map();

/** What most views never have. */
class RareView {
  /** By topic, in log order. */
  owed: Map<string, readonly Owed[]> | undefined;
  owedVersion = 0;
  /** More was delivered than the log has, which lost its end. */
  isAhead = false;
  afterKey: HistoryPlace | undefined;
  /** Frames of unknown extent were passed over. */
  isUnchained = false;
  /** By topic, what history delivered of the log's next frame. Unknown for what came before a resumption. */
  ahead: Map<string, Ahead> | undefined;
}

/**
 * Reports each change to its watcher, so that cursors are always up to date. There is one for each node of each
 * subscription, and most are of idle nodes: what few of them need is made where it is first needed, and how far a topic
 * reaches whose frames are passed over is one object for all subscriptions (TopicEnd).
 */
export class NodeView {
  #state: ViewState = 'live';
  #skip: Position | undefined;
  #onChange: (view: NodeView) => void = ignoreChange;
  /** Topics of which something is known: mostly one. */
  #topic: TopicView | TopicEnd | undefined;
  #others: (TopicView | TopicEnd)[] | undefined;
  #rare: RareView | undefined;
  /** The last watermark that was sent to the subscriber. */
  toldWatermarkNs = 0n;
  /** What the subscriber was told of the node last; undefined: nothing since it has a view. */
  told: NodeTold | undefined;

  constructor(readonly node: string) {}

  get state(): ViewState {
    return this.#state;
  }

  /** Position up to which events of every topic were delivered, or lie before the subscription. */
  get skip(): Position | undefined {
    return this.#skip;
  }

  get owed(): ReadonlyMap<string, readonly Owed[]> {
    return this.#rare?.owed ?? NOTHING_OWED;
  }

  /** Incremented at every change of `owed`, and where more was delivered than the log has, and no more. */
  get owedVersion(): number {
    return this.#rare?.owedVersion ?? 0;
  }

  /** Place in merged order up to which the node's history was delivered. */
  get afterKey(): HistoryPlace | undefined {
    return this.#rare?.afterKey;
  }

  set afterKey(key: HistoryPlace | undefined) {
    if (key !== this.afterKey) this.#ofRare().afterKey = key;
  }

  /** @param onChange called with this view after every change that affects cursors */
  watch(onChange: (view: NodeView) => void): void {
    this.#onChange = onChange;
  }

  /** What history delivered of the topic's next frame; undefined if unknown. */
  ahead(topic: string): Ahead | undefined {
    return this.#rare?.ahead?.get(topic);
  }

  /** @param ahead undefined: it is not known any more */
  setAhead(topic: string, ahead: Ahead | undefined): void {
    if (ahead === undefined) {
      this.#rare?.ahead?.delete(topic);
      return;
    }
    const rare = this.#ofRare();
    rare.ahead ??= new Map();
    rare.ahead.set(topic, ahead);
  }

  forgetAhead(): void {
    if (this.#rare !== undefined) this.#rare.ahead = undefined;
  }

  wentLate(): void {
    this.#state = 'late';
    this.#onChange(this);
  }

  /** @param from position where history meets the log: everything up to it was delivered, and maybe more by a replay before */
  wentLive(from = this.#skip): void {
    this.#skip = laterPosition(this.#skip, from);
    this.#state = 'live';
    if (this.#rare !== undefined) this.#rare.isUnchained = false;
    if (this.#reachesBeyondLog()) this.#ofRare().isAhead = true;
    this.#onChange(this);
  }

  /** Every topic was delivered up to `position`. An earlier position than before changes nothing. */
  reached(position: Position): void {
    this.#skip = laterPosition(position, this.#skip);
    this.#onChange(this);
  }

  /** One topic was delivered up to `position`. */
  reachedOf(topic: string, position: Position): void {
    const of = this.#of(topic);
    of.floor = laterPosition(position, of.floor);
    this.#onChange(this);
  }

  /** Frames of the log were processed up to `coveredTo`. */
  workedOff(topic: string, coveredTo: Position): void {
    this.#of(topic).chained = coveredTo;
    this.seenTo(topic, coveredTo);
  }

  /** Frames of the log up to there were passed over, as they do not concern the subscription. */
  passed(end: TopicEnd): void {
    const known = this.#known(end.topic);
    if (known === end) return;
    if (known === undefined) this.#add(end);
    // What others have, too, is kept in place of the view's own, where that says no more.
    else if (floorOf(known) === undefined && known.watermarkNs <= end.watermarkNs) this.#put(known, end);
    else {
      const own = this.#of(end.topic);
      own.chained = end.to;
      own.seen = end.to;
      this.reachedTime(end.topic, end.watermarkNs);
    }
    this.#onChange(this);
  }

  /** Nothing before `coveredTo` is wanted of the log. Frames before it may still be read: they do not follow it. */
  seenTo(topic: string, coveredTo: Position): void {
    this.#of(topic).seen = coveredTo;
    this.#onChange(this);
  }

  /** Where the topic's next frame must begin if it continues the one before; undefined if unknown. */
  chainedTo(topic: string): Position | undefined {
    const known = this.#known(topic);
    return known && (isEnd(known) ? known.to : known.chained);
  }

  /** Where the topic's next frame must begin, or before, if nothing is missing in front of it; undefined if unknown. */
  dueFrom(topic: string): Position | undefined {
    const chained = this.chainedTo(topic);
    if (chained === undefined && this.#rare?.isUnchained) return undefined;
    return laterPosition(chained, this.reachedIn(topic));
  }

  /** Position up to which events of the topic were delivered, or processed in the log. */
  reachedIn(topic: string): Position | undefined {
    return laterPosition(this.floor(topic), this.#seen(topic));
  }

  /** Call this when frames of unknown extent were passed over: the next ones must not be checked for a hole. */
  unchain(): void {
    this.#ofRare().isUnchained = true;
    for (const { topic } of this.#topics) this.#of(topic).chained = undefined;
  }

  /**
   * Call this when frames of the log cannot be read: all after the processed frames then comes from the recorder.
   * @param offset of the first frame that was not processed
   */
  lostFrames(topics: readonly string[], offset: number): void {
    this.#closeOwed(offset);
    for (const each of topics) {
      const seen = this.#seen(each);
      const floor = this.floor(each);
      if (seen && (!floor || comparePositions(seen, floor) > 0)) this.#of(each).floor = seen;
    }
    this.unchain();
    this.wentLate();
  }

  /** Adds a range. Above OWED_RANGES_MAX the oldest one is given up and returned: its events are never refilled. */
  owe(topic: string, owed: Owed): Owed | undefined {
    const ranges = [...(this.owed.get(topic) ?? []), owed];
    const givenUp = ranges.length > OWED_RANGES_MAX ? ranges.shift() : undefined;
    this.#setOwed(topic, ranges);
    return givenUp;
  }

  /** More is owed of a range. No cursor says how much, so none is out of date. */
  owesMore(owed: Owed, due: OwedTally | undefined): void {
    Object.assign(owed, { due: owedTogether(owed.due, due) });
  }

  /** @param done what was refilled or told as lost; undefined if unknown */
  owesLess(owed: Owed, done: OwedTally | undefined): void {
    Object.assign(owed, { due: owedWithout(owed.due, done) });
  }

  /** The node's frames from an offset of the log on come as history: nothing that they say is owed. */
  #closeOwed(offset: number): void {
    for (const owed of [...this.owed.values()].flat()) {
      if (owed.offsetTo === undefined || owed.offsetTo > offset) this.changeOwed(owed, { offsetTo: offset });
    }
  }

  /** Changes the range in place, because live delivery and a refill may both hold a reference to it. */
  changeOwed(owed: Owed, change: Partial<Owed>): void {
    Object.assign(owed, change);
    this.#ofRare().owedVersion++;
    this.#onChange(this);
  }

  /** Removes a range of which nothing is left to deliver. */
  settleOwed(topic: string, settled: Owed): void {
    this.#setOwed(
      topic,
      (this.owed.get(topic) ?? []).filter((owed) => owed !== settled),
    );
  }

  /** Frames from an offset on are gone that said what is owed. Returns the topics of which something is given up. */
  giveUpOwed(offset: number): string[] {
    const given = new Set<string>();
    for (const [topic, ranges] of [...this.owed]) {
      for (const owed of ranges) {
        if (owed.offsetTo !== undefined && owed.offsetTo <= offset) continue;
        given.add(topic);
        if (owed.offsetFrom >= offset) this.settleOwed(topic, owed);
        // That is told without a count, so how many of them are before the offset is not known.
        else this.changeOwed(owed, { offsetTo: offset, due: undefined });
      }
    }
    return [...given];
  }

  /**
   * The log has lost frames that were processed: others come, of which what was delivered must not be delivered again.
   * @param isRead whether what was seen of the log was delivered, too: not while history comes before it
   */
  rewound(isRead = true): void {
    for (const { topic } of [...this.#topics]) {
      const own = this.#of(topic);
      if (isRead && own.seen && this.#state === 'live') own.floor = laterPosition(own.seen, own.floor);
      own.seen = undefined;
    }
    const rare = this.#ofRare();
    rare.isAhead = true;
    rare.owedVersion++;
    this.#onChange(this);
  }

  /** Until the log has been read as far again, cursors must say how far the node was delivered. */
  #isAhead(): boolean {
    if (!this.#rare?.isAhead) return false;
    if (this.#reachesBeyondLog()) return true;
    this.#rare.isAhead = false;
    this.#rare.owedVersion++;
    return false;
  }

  /** Whether a topic was delivered further than the node is, and than the log was read. */
  #reachesBeyondLog(): boolean {
    return [...this.#topics].some(({ topic }) => {
      const floor = this.#floor(topic);
      return [this.#seen(topic), this.#skip].every((to) => floor && (!to || comparePositions(to, floor) < 0));
    });
  }

  #setOwed(topic: string, ranges: readonly Owed[]): void {
    const rare = this.#ofRare();
    rare.owed ??= new Map();
    if (ranges.length === 0) rare.owed.delete(topic);
    else rare.owed.set(topic, ranges);
    rare.owedVersion++;
    this.#onChange(this);
  }

  /** Position up to which events of the topic must not be delivered again. */
  floor(topic: string): Position | undefined {
    const floor = this.#floor(topic);
    if (floor === undefined || this.#skip === undefined) return floor ?? this.#skip;
    return comparePositions(floor, this.#skip) > 0 ? floor : this.#skip;
  }

  /** Whether a cursor must name this node, because offsets of the log do not say how far it was delivered. */
  apart(topics: readonly string[]): boolean {
    if (this.#state === 'late' || this.owed.size > 0 || this.#isAhead()) return true;
    const { skip } = this;
    if (skip === undefined) return false;
    return !topics.every((topic) => {
      const seen = this.#seen(topic);
      return seen !== undefined && comparePositions(seen, skip) >= 0;
    });
  }

  /** What a cursor says of this node when it must name it. */
  toCursor(): CursorNode {
    const { node, skip: position, owed } = this;
    // Its recorder has what the log has lost.
    const state = this.#isAhead() ? 'late' : this.#state;
    if (state === 'live' && position === undefined && owed.size > 0) return { node, standing: 'log', owed };
    if (state === 'live') return { node, standing: 'beyond', position: position ?? ORIGIN, owed };
    // Offsets say nothing of a late node, so the cursor must state the floors itself.
    const further = [...this.#topics].flatMap(({ topic }): [string, Position][] => {
      const floor = this.#floor(topic);
      return floor !== undefined && (!position || comparePositions(floor, position) > 0) ? [[topic, floor]] : [];
    });
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

  /** How far the node was delivered, by positions alone: as a cursor says it that needs nothing of the log. */
  toPlace(): CursorNode {
    const { node, skip: position } = this;
    const floors = new Map<string, Position>();
    for (const { topic } of this.#topics) {
      const floor = this.#floor(topic);
      const to = this.#state === 'live' ? laterPosition(floor, this.#seen(topic)) : floor;
      if (to !== undefined && (!position || comparePositions(to, position) > 0)) floors.set(topic, to);
    }
    const known = position !== undefined || floors.size > 0;
    return { node, standing: 'late', position, floors, history: known ? undefined : this.afterKey };
  }

  /** No older event of the topic follows. An earlier time than before changes nothing. */
  reachedTime(topic: string, watermarkNs: bigint): void {
    const of = this.#of(topic);
    if (watermarkNs > of.watermarkNs) of.watermarkNs = watermarkNs;
  }

  /** The lowest watermark over the topics; 0n while one of them has none. */
  watermarkNs(topics: readonly string[]): bigint {
    let least: bigint | undefined;
    for (const topic of topics) {
      const watermark = this.#known(topic)?.watermarkNs ?? 0n;
      if (least === undefined || watermark < least) least = watermark;
    }
    return least ?? 0n;
  }

  #floor(topic: string): Position | undefined {
    const known = this.#known(topic);
    return known && floorOf(known);
  }

  #seen(topic: string): Position | undefined {
    const known = this.#known(topic);
    return known && (isEnd(known) ? known.to : known.seen);
  }

  get #topics(): Iterable<TopicView | TopicEnd> {
    return this.#topic === undefined ? [] : [this.#topic, ...(this.#others ?? [])];
  }

  #known(topic: string): TopicView | TopicEnd | undefined {
    if (this.#topic?.topic === topic) return this.#topic;
    return this.#others?.find((known) => known.topic === topic);
  }

  /** As this view alone has it, so that it can be changed. */
  #of(topic: string): TopicView {
    const known = this.#known(topic);
    if (known !== undefined && !isEnd(known)) return known;
    const own = new TopicView(topic);
    if (known === undefined) this.#add(own);
    else {
      own.seen = known.to;
      own.chained = known.to;
      own.watermarkNs = known.watermarkNs;
      this.#put(known, own);
    }
    return own;
  }

  #add(topic: TopicView | TopicEnd): void {
    if (this.#topic === undefined) this.#topic = topic;
    else if (this.#others === undefined) this.#others = [topic];
    else this.#others.push(topic);
  }

  #put(known: TopicView | TopicEnd, topic: TopicView | TopicEnd): void {
    if (this.#topic === known) this.#topic = topic;
    else this.#others![this.#others!.indexOf(known)] = topic;
  }

  #ofRare(): RareView {
    this.#rare ??= new RareView();
    return this.#rare;
  }
}

function isEnd(topic: TopicView | TopicEnd): topic is TopicEnd {
  return 'to' in topic;
}

function floorOf(topic: TopicView | TopicEnd): Position | undefined {
  return isEnd(topic) ? undefined : topic.floor;
}

function ignoreChange(): void {}

/**
 * Delivers frames of the partition logs to one subscription: selects the events
 * of each frame, and notes for the subscriber what is missing between them.
 */
import type { Turns } from '../../../flow/turns.js';
import { wallNowNs } from '../../../nanoseconds.js';
import type { Frame } from '../../../wire/frame/frame.js';
import { positionAt } from '../../../wire/frame/frame-columns.js';
import type { Selection } from '../../../wire/frame/splice.js';
import { comparePositions, ORIGIN, type Position } from '../../../wire/position.js';
import { follows } from '../../log/chain.js';
import type { CoveredPositions } from '../../log/covered-positions.js';
import type { LogPlace } from '../../log/fan-out.js';
import { type LogEntry, type PartitionLog, partitionOf } from '../../log/partition-log.js';
import type { NodeView } from '../cursor/node-view.js';
import type { PlannedSubscription } from '../planned-subscription.js';
import { type OwedTally, owedOf, owedTogether } from '../selectors/owed-tally.js';
import { NONE } from '../selectors/tally.js';
import type { Approached } from './late-nodes.js';
import { behind, hadOf, selectLive, shedOf } from './live-frame.js';
import type { NodeWatch } from './node-watch.js';
import type { Notices } from './notices.js';
import { isUnavailable, PlaceReads } from './place-reads.js';

/** A node's frames of one moment, a frame a topic, are mostly delivered in one turn. */
const ITEMS_PER_TURN = 8;

export class LogDelivery {
  /** By place, the offset before which frames are skipped. */
  readonly #skipTo = new Map<LogPlace, number>();
  /** Of the node that joins the log: the offset from which its frames are read here. */
  #joinsFrom = 0;
  /** The place that is read next: a turn may be over before all were, and another one begins behind those that were. */
  #next = 0;

  readonly #subscription: PlannedSubscription;
  readonly #watch: NodeWatch;
  readonly #notices: Notices;
  readonly #reads: PlaceReads;

  /**
   * @param watch is told of nodes whose recorders must be read, from after what was delivered
   * @param notices are told what is missing
   */
  constructor(subscription: PlannedSubscription, watch: NodeWatch, notices: Notices) {
    this.#subscription = subscription;
    this.#watch = watch;
    this.#notices = notices;
    this.#reads = new PlaceReads(() => subscription.wake.notify());
  }

  /** Reads some items of each partition, until the limit is reached or the turn is over. Returns true when there was none. */
  async readRound(turns: Turns): Promise<boolean> {
    const { position, outlet } = this.#subscription;
    const { places } = position;
    let idle = true;
    for (let read = 0; read < places.length; read++) {
      const place = places[this.#next++ % places.length]!;
      for (let items = 0; items < ITEMS_PER_TURN && this.#hasMore(place); items++) {
        if (await this.#advance(place)) break;
        idle = false;
        if (outlet.left <= 0 || turns.over) return false;
      }
      if (!this.#reads.holds(place)) place.follow();
      if (this.#hasMore(place) && !this.#reads.waits(place)) idle = false;
    }
    return idle;
  }

  /** Whether a place cannot be read at this moment, or something of it was read that was not delivered. */
  get isHeldUp(): boolean {
    const { places } = this.#subscription.position;
    return places.some((place) => this.#reads.holds(place) || (place.lag > 0 && this.#reads.waits(place)));
  }

  #hasMore(place: LogPlace): boolean {
    return place.lag > 0 || this.#reads.holds(place);
  }

  /** Reads one item. Returns true when there was none. */
  async #advance(place: LogPlace): Promise<boolean> {
    const { position } = this.#subscription;
    const item = await this.#reads.next(place);
    // Unknown where even that is forgotten meanwhile.
    const covered =
      item?.kind === 'evicted' ? await place.log.coveredBefore(item.offsetTo).catch(() => undefined) : undefined;
    await position.makeNotes();
    // What was read ahead of this is not delivered: it is another read's.
    if (item === undefined && this.#reads.holds(place)) return true;
    // No await from here to the write: otherwise a cursor could pass this frame before it was written.
    place.deliveredAll();
    if (item === undefined) return true;
    position.readAgain(place);
    if (item.kind === 'frame') await this.#frame(place, item);
    else if (item.kind === 'damage') this.#damaged(place, item.offsetFrom);
    else if (this.#subscription.checked.slice !== undefined) this.#fellBehind(place.log, item.offsetFrom);
    else this.#evicted(place, covered);
    return false;
  }

  /**
   * Frames are gone. Those lack something whose frames reach further than what was read of them.
   * @param covered how far they reach before the frames that are left; undefined where that is not known
   */
  #evicted({ log }: LogPlace, covered: CoveredPositions | undefined): void {
    const { position, checked } = this.#subscription;
    if (covered === undefined) {
      for (const topic of position.topics) this.#notices.partition(topic, 'expired');
    } else {
      for (const node of covered.nodes()) {
        if (!checked.nodes.matches(node)) continue;
        const view = position.views.get(node);
        // Late nodes are served from their recorders.
        if (view?.state === 'late') continue;
        for (const topic of position.topics) {
          const to = covered.to(node, topic);
          const from = view?.reachedIn(topic);
          if (to && !(from && comparePositions(to, from) <= 0)) this.#notices.expired(node, topic, from, to);
        }
      }
    }
    for (const view of this.#viewsIn(log)) view.unchain();
  }

  /** A group misses nothing for being slow: recorders have what the log forgot, and their coverage says what they lack. */
  #fellBehind(log: PartitionLog, offset: number): void {
    for (const view of this.#viewsIn(log)) {
      if (view.state !== 'live') continue;
      view.lostFrames(this.#subscription.position.topics, offset);
      this.#watch.changed(view.node);
    }
  }

  #viewsIn({ partition }: PartitionLog): NodeView[] {
    return [...this.#subscription.position.views.values()].filter(({ node }) => partitionOf(node) === partition);
  }

  /** It is unknown whose frames were damaged, so every node of the partition is asked for all after its last frame. */
  #damaged({ log }: LogPlace, offset: number): void {
    const { topics } = this.#subscription.position;
    const nodes = this.#viewsIn(log);
    if (nodes.length === 0) for (const topic of topics) this.#notices.partition(topic, 'damaged');
    for (const view of nodes) {
      // A late node is served from its recorder anyway.
      if (view.state === 'live') this.#missing(view, topics, offset, (topic) => log.coveredTo(view.node, topic));
    }
  }

  /** Asks the recorder for frames from an offset on that cannot be read and may reach up to `coveredTo`. */
  #missing(
    view: NodeView,
    topics: readonly string[],
    offset: number,
    coveredTo: (topic: string) => Position | undefined,
  ): void {
    view.lostFrames(this.#subscription.position.topics, offset);
    for (const topic of topics) {
      const coveredFrom = view.floor(topic) ?? ORIGIN;
      const to = coveredTo(topic) ?? coveredFrom;
      if (comparePositions(to, coveredFrom) > 0) this.#notices.unread(view.node, topic, { coveredFrom, coveredTo: to });
    }
    this.#watch.changed(view.node);
  }

  async #frame(place: LogPlace, entry: LogEntry): Promise<void> {
    const { planner, position, outlet } = this.#subscription;
    const { offset, node, frame } = entry;
    const view = position.views.get(node);
    const { topic } = frame;
    if (view?.state !== 'live') return planner.passOver(node, frame);
    if (outlet.left <= 0) {
      // History delivered in parallel has reached the limit, so cursors must resume at this frame.
      position.partlyDelivered(place, { offset, index: 0 });
      return;
    }
    const chained = view.chainedTo(topic);
    const followed = follows(frame, chained);
    if (followed === 'duplicate') return;
    if (followed === 'hole') {
      this.#missing(view, [topic], offset, () => frame.coveredFrom);
      return;
    }
    if (followed === 'next' && beginsAnew(frame, view.dueFrom(topic))) {
      // The node was asked anew, as brokers forgot that it was asked all along: its recorder has what it did not send.
      view.lostFrames(position.topics, offset);
      this.#watch.changed(node);
      return;
    }
    if (followed === 'overlap') view.reachedOf(topic, chained!);
    const taken = this.#take(place, entry, view, this.#skips(place, entry));
    if (taken === undefined) return;
    if (taken.count === outlet.left) {
      // The limit may fall within the frame, so cursors must resume with its rest.
      position.partlyDelivered(place, { offset, index: taken.next });
    }
    await outlet.batch({ node, topic, history: false, cursor: position.cursor() }, taken);
    this.#delivered(node, frame);
  }

  #delivered(node: string, { watermarkNs }: Frame): void {
    const { registry, delays } = this.#subscription.broker;
    const atNs = watermarkNs - (registry.record(node)?.clockOffsetNs ?? 0n);
    delays.delivered(Number(wallNowNs() - atNs) / 1e9);
  }

  /**
   * Delivers the node's frames that the log got during its last round of history, from `offset` to where this loop
   * stands. After that the node is live. Returns false when the log cannot be read there, or the limit is reached: the
   * node's recorder is then asked again for what is left.
   */
  async join({ view, offset, rewinds }: Approached): Promise<boolean> {
    const { position } = this.#subscription;
    const place = position.places[partitionOf(view.node)]!;
    if (this.#reads.waits(place)) return false;
    const reader = place.log.reader(offset, new Set(position.topics));
    this.#joinsFrom = offset;
    try {
      // What was read beyond is delivered by the loop, as a live node's.
      while (reader.offset < place.delivered && view.state === 'late') {
        const before = reader.offset;
        const item = await reader.next();
        if (item === undefined && reader.offset === before) return false;
        if (item === undefined || (item.kind === 'frame' && item.offset >= place.delivered)) break;
        if (item.kind !== 'frame') return false;
        if (item.node === view.node && !(await this.#lateFrame(place, item, view))) return false;
      }
    } catch (cause) {
      if (isUnavailable(cause)) return false;
      throw cause;
    } finally {
      reader.close();
    }
    // Where the log went back, what came meanwhile is not what was read.
    if (place.rewinds !== rewinds) return false;
    view.wentLive();
    return true;
  }

  /**
   * Delivers a frame of a late node. Cursors name the node until it is live, because the offsets are further than what
   * was delivered of it. Returns false when the limit is reached within the frame or before it.
   */
  async #lateFrame(place: LogPlace, entry: LogEntry, view: NodeView): Promise<boolean> {
    const { position, outlet } = this.#subscription;
    const { node, frame } = entry;
    const { topic } = frame;
    await position.makeNotes();
    if (outlet.left <= 0 || beginsAnew(frame, view.floor(topic))) return false;
    const taken = this.#take(place, entry, view, false);
    const last = taken?.count === outlet.left ? taken.next : frame.count;
    const reached = last < frame.count ? positionAt(frame.coveredTo.epoch, frame, last - 1) : frame.coveredTo;
    view.reachedOf(topic, reached);
    if (taken === undefined) return true;
    await outlet.batch({ node, topic, history: false, cursor: position.cursor() }, taken);
    return last === frame.count;
  }

  /** Selects the events of a frame, and notes all that must be told and counted. Undefined when there is no event. */
  #take(place: LogPlace, entry: LogEntry, view: NodeView, skips: boolean): Selection | undefined {
    const { selectors, planner, outlet } = this.#subscription;
    const { node, frame } = entry;
    const { topic } = frame;
    const floor = view.floor(topic);
    const window = { floor, untilNs: planner.untilNs(node) };
    const stretch = behind(frame, floor);
    view.workedOff(topic, frame.coveredTo);
    view.reachedTime(topic, frame.watermarkNs);
    // Losses in a stretch that came as history were reported by the coverage of that history.
    if (floor === undefined || comparePositions(frame.coveredTo, floor) > 0) this.#notices.frame(node, frame);
    const shed = shedOf(frame, selectors, window, view.ahead(topic));
    if (shed !== undefined) {
      this.#notices.shed(node, stretch, shed);
      outlet.count('shed', topic, shed.tally);
    }
    if (frame.refused && !(floor && comparePositions(frame.coveredTo, floor) <= 0)) {
      this.#notices.refused(node, stretch);
      this.#owe(view, entry, floor, undefined, undefined);
    }
    const due = shed?.unknown ? undefined : owedOf('shed', shed?.tally ?? NONE);
    if (skips) {
      const selection = selectLive(frame, selectors, { ...window, countMax: Number.MAX_SAFE_INTEGER });
      const skipped = selection ? selectors.taken(selection) : NONE;
      if (skipped.events > 0) this.#notices.skipped(node, stretch, skipped);
      outlet.count('skipped', topic, skipped);
      const all = owedTogether(due, owedOf('skipped', skipped));
      if (skipped.events > 0 || shed !== undefined) this.#owe(view, entry, floor, this.#skipTo.get(place), all);
      return undefined;
    }
    if (shed !== undefined) this.#owe(view, entry, floor, undefined, due);
    const admit = outlet.admit(node, topic);
    const selection = selectLive(frame, selectors, { ...window, countMax: outlet.left, admit });
    if (selection === undefined) return undefined;
    outlet.count('throttled', topic, selectors.refused(selection));
    return selection.count === 0 ? undefined : selection;
  }

  /** Whether the frame is skipped because the subscriber is too far behind; then all up to the log's end is skipped. */
  #skips(place: LogPlace, { offset, appendedMs }: LogEntry): boolean {
    const { lagMaxMs } = this.#subscription.checked;
    if (offset < (this.#skipTo.get(place) ?? 0)) return true;
    if (lagMaxMs === undefined || Date.now() - appendedMs <= lagMaxMs) return false;
    this.#skipTo.set(place, place.log.deliverableOffset);
    return true;
  }

  /**
   * Notes what is owed from this frame on: with `skipTo`, the frames that are skipped up to that offset; without, what
   * nodes shed, with an open end, or of a late node up to this frame.
   * @param due what is owed of this frame; undefined if unknown
   */
  #owe(
    view: NodeView,
    { offset, frame }: LogEntry,
    floor: Position | undefined,
    skipTo: number | undefined,
    due: OwedTally | undefined,
  ): void {
    if (!this.#subscription.checked.refill) return;
    const { topic, coveredFrom } = frame;
    const skipped = skipTo !== undefined;
    const ranges = (view.owed.get(topic) ?? []).filter((owed) => owed.counted);
    const shedding = ranges.find((owed) => owed.offsetTo === undefined);
    // What follows a late node's frame may yet come as history, also to who resumes from here: it is not owed.
    const late = view.state === 'late';
    const offsetTo = late ? offset + 1 : skipTo;
    const same = ranges.find((owed) =>
      late ? (owed.offsetTo ?? 0) > this.#joinsFrom : owed.skipped === skipped && owed.offsetTo === skipTo,
    );
    if (same) {
      view.owesMore(same, due);
      if (same.offsetTo !== offsetTo) view.changeOwed(same, { offsetTo });
      return;
    }
    // The open range ends where the new one begins, so that no frame is owed twice.
    if (shedding) view.changeOwed(shedding, { offsetTo: offset });
    const after = floor && comparePositions(floor, coveredFrom) > 0 ? floor : undefined;
    const taken = after && hadOf(frame, view.ahead(topic));
    const range = { offsetFrom: offset, offsetTo, after, skipped, counted: true, taken };
    const givenUp = view.owe(topic, { ...range, chained: coveredFrom, due });
    if (givenUp) this.#notices.givenUp(view.node, topic, givenUp);
  }
}

/** Whether a frame that follows none leaves something out behind a position. */
function beginsAnew({ coveredFrom }: Frame, reached: Position | undefined): boolean {
  return reached !== undefined && comparePositions(coveredFrom, reached) > 0;
}

/**
 * The live part of one subscription: reads the partition logs, selects the
 * events of each frame, and sends notices in between.
 */

import type { Signal } from '../../../flow/signal.js';
import { NOTICE_INTERVAL_MS, UNTIL_GRACE_MS } from '../../../limits.js';
import { msToNs, wallNowNs } from '../../../nanoseconds.js';
import { positionAt } from '../../../wire/frame/frame-columns.js';
import type { Selection } from '../../../wire/frame/splice.js';
import { comparePositions, ORIGIN, type Position } from '../../../wire/position.js';
import { follows } from '../../log/chain.js';
import type { LogPlace } from '../../log/fan-out.js';
import { type LogEntry, type PartitionLog, partitionOf } from '../../log/partition-log.js';
import type { NodeRegistry } from '../../nodes/node-registry.js';
import type { NodeRoute } from '../../nodes/node-route.js';
import type { NodeView } from '../cursor/node-view.js';
import type { SubscriptionPosition } from '../cursor/subscription-position.js';
import type { Refill } from '../history/refill.js';
import type { Outlet } from '../outlet.js';
import type { Approached } from './late-nodes.js';
import { hadOf, selectLive, shedOf } from './live-frame.js';
import { Notices } from './notices.js';

export interface LiveOptions {
  readonly predicateId: bigint;
  /** Wall nanoseconds by the broker's clock, exclusive. */
  readonly untilNs: bigint | undefined;
  readonly signal: AbortSignal;
  /** Called between two rounds over the partitions, to handle nodes that connected, disconnected or caught up. */
  readonly betweenRounds: () => Promise<void>;
  /** Called for a node without a view whose frame is passed over: adds what cursors must not forget of it. */
  readonly unserved: (node: string) => void;
  /** Called when the node's recorder must be read, from after what was delivered. */
  readonly askAgain: (node: string) => void;
  /** A subscription further behind the log than this skips to the log's end; undefined to never skip. */
  readonly lagMaxMs: number | undefined;
  /** Delivers later what was shed or skipped; undefined when refills were not asked for. */
  readonly refill: Refill | undefined;
}

export class Live {
  readonly #notices = new Notices();
  #noticedMs = Date.now();
  /** By place, the offset before which frames are skipped. */
  readonly #skipTo = new Map<LogPlace, number>();

  readonly #registry: NodeRegistry;
  readonly #route: NodeRoute;
  readonly #outlet: Outlet;
  readonly #standing: SubscriptionPosition;
  readonly #wake: Signal;
  readonly #options: LiveOptions;

  constructor(
    registry: NodeRegistry,
    route: NodeRoute,
    outlet: Outlet,
    standing: SubscriptionPosition,
    wake: Signal,
    options: LiveOptions,
  ) {
    this.#registry = registry;
    this.#route = route;
    this.#outlet = outlet;
    this.#standing = standing;
    this.#wake = wake;
    this.#options = options;
  }

  /** Returns when the limit or the end of the window is reached, or the signal fires. */
  async run(): Promise<void> {
    const { signal, betweenRounds } = this.#options;
    const { places } = this.#standing;
    this.#outlet.precededBy(() => this.#notices.takeGaps());
    while (!signal.aborted) {
      await betweenRounds();
      if (this.#outlet.left <= 0) return this.#notify();
      let idle = true;
      for (const place of places) {
        if (place.lag === 0) continue;
        idle = (await this.#advance(place)) && idle;
        if (this.#outlet.left <= 0) return this.#notify();
      }
      if (Date.now() - this.#noticedMs >= NOTICE_INTERVAL_MS) await this.#notify();
      if (this.#ended()) return this.#notify();
      if (idle) await this.#wake.wait(signal, NOTICE_INTERVAL_MS);
    }
  }

  /** Reads one item. Returns true when there was none. */
  async #advance(place: LogPlace): Promise<boolean> {
    const item = await place.next();
    await this.#standing.makeNotes();
    // No await from here to the write: otherwise a cursor could pass this frame before it was written.
    place.delivered = place.offset;
    if (item === undefined) return true;
    this.#standing.partials.delete(place);
    if (item.kind === 'frame') await this.#frame(place, item);
    else if (item.kind === 'damage') this.#damaged(place);
    else this.#evicted(place);
    return false;
  }

  #evicted({ log }: LogPlace): void {
    for (const topic of this.#standing.topics) this.#notices.partition(topic, 'expired');
    for (const view of this.#viewsIn(log)) view.unchain();
  }

  #viewsIn({ partition }: PartitionLog): NodeView[] {
    return [...this.#standing.views.values()].filter(({ node }) => partitionOf(node) === partition);
  }

  /** It is unknown whose frames were damaged, so every node of the partition is asked for all after its last frame. */
  #damaged({ log }: LogPlace): void {
    const { topics } = this.#standing;
    const nodes = this.#viewsIn(log);
    if (nodes.length === 0) for (const topic of topics) this.#notices.partition(topic, 'damaged');
    for (const view of nodes) {
      // A late node is served from its recorder anyway.
      if (view.state === 'live') this.#missing(view, topics, (topic) => log.coveredTo(view.node, topic));
    }
  }

  /** Asks the recorder for frames of these topics that cannot be read and that may reach up to `coveredTo`. */
  #missing(view: NodeView, topics: readonly string[], coveredTo: (topic: string) => Position | undefined): void {
    view.lostFrames(this.#standing.topics);
    for (const topic of topics) {
      const coveredFrom = view.floor(topic) ?? ORIGIN;
      const to = coveredTo(topic) ?? coveredFrom;
      if (comparePositions(to, coveredFrom) > 0) this.#notices.unread(view.node, topic, { coveredFrom, coveredTo: to });
    }
    this.#options.askAgain(view.node);
  }

  async #frame(place: LogPlace, entry: LogEntry): Promise<void> {
    const { offset, node, frame } = entry;
    const view = this.#standing.views.get(node);
    const { topic } = frame;
    if (view === undefined) this.#options.unserved(node);
    if (view?.state !== 'live') return;
    if (this.#outlet.left <= 0) {
      // History delivered in parallel has reached the limit, so cursors must resume at this frame.
      this.#standing.partials.set(place, { offset, index: 0 });
      return;
    }
    if (follows(frame, view.chainedTo(topic)) === 'hole') {
      this.#missing(view, [topic], () => frame.coveredFrom);
      return;
    }
    const taken = this.#take(place, entry, view, this.#skips(place, entry));
    if (taken === undefined) return;
    if (taken.count === this.#outlet.left) {
      // The limit may fall within the frame, so cursors must resume with its rest.
      this.#standing.partials.set(place, { offset, index: taken.next });
    }
    const cursor = this.#standing.cursor();
    await this.#outlet.batch({ node, topic, history: false, cursor }, taken);
  }

  /**
   * Delivers the node's frames that the log got during its last round of history, from `offset` to where this loop
   * stands. After that the node is live. Returns false when the log cannot be read there, or the limit is reached: the
   * node's recorder is then asked again for what is left.
   */
  async join({ view, offset }: Approached): Promise<boolean> {
    const place = this.#standing.places[partitionOf(view.node)]!;
    const reader = place.log.reader(offset, new Set(this.#standing.topics));
    try {
      while (reader.offset < place.offset && view.state === 'late') {
        const item = await reader.next();
        if (item === undefined || (item.kind === 'frame' && item.offset >= place.offset)) break;
        if (item.kind !== 'frame') return false;
        if (item.node === view.node && !(await this.#lateFrame(place, item, view))) return false;
      }
    } finally {
      reader.close();
    }
    view.wentLive();
    return true;
  }

  /**
   * Delivers a frame of a late node. Cursors name the node until it is live, because the offsets are further than what
   * was delivered of it. Returns false when the limit is reached within the frame or before it.
   */
  async #lateFrame(place: LogPlace, entry: LogEntry, view: NodeView): Promise<boolean> {
    const { node, frame } = entry;
    const { topic } = frame;
    await this.#standing.makeNotes();
    if (this.#outlet.left <= 0) return false;
    const taken = this.#take(place, entry, view, false);
    const last = taken?.count === this.#outlet.left ? taken.next : frame.count;
    const reached = last < frame.count ? positionAt(frame.coveredTo.epoch, frame, last - 1) : frame.coveredTo;
    view.reachedOf(topic, reached);
    if (taken === undefined) return true;
    await this.#outlet.batch({ node, topic, history: false, cursor: this.#standing.cursor() }, taken);
    return last === frame.count;
  }

  /** Selects the events of a frame, and notes all that must be told and counted. Undefined when there is no event. */
  #take(place: LogPlace, entry: LogEntry, view: NodeView, skips: boolean): Selection | undefined {
    const { node, frame } = entry;
    const { topic } = frame;
    const floor = view.floor(topic);
    const { predicateId } = this.#options;
    const window = { floor, untilNs: this.#untilFor(node) };
    view.workedOff(topic, frame.coveredTo);
    if (frame.watermarkNs > (view.watermarksNs.get(topic) ?? 0n)) view.watermarksNs.set(topic, frame.watermarkNs);
    // Losses in a stretch that came as history were reported by the coverage of that history.
    if (floor === undefined || comparePositions(frame.coveredTo, floor) > 0) this.#notices.frame(node, frame);
    const shed = shedOf(frame, predicateId, window, view.ahead.get(topic));
    if (shed !== undefined) {
      this.#notices.shed(node, frame, shed);
      this.#outlet.count({ shed: shed.events });
    }
    if (frame.refused && !(floor && comparePositions(frame.coveredTo, floor) <= 0)) {
      this.#notices.refused(node, frame);
      this.#owe(view, entry, floor, undefined);
    }
    if (skips) {
      const skipped = selectLive(frame, predicateId, { ...window, countMax: Number.MAX_SAFE_INTEGER })?.count ?? 0;
      if (skipped > 0) this.#notices.skipped(node, frame, skipped);
      this.#outlet.count({ skipped });
      if (skipped > 0 || shed !== undefined) this.#owe(view, entry, floor, this.#skipTo.get(place));
      return undefined;
    }
    if (shed !== undefined) this.#owe(view, entry, floor, undefined);
    const admit = this.#outlet.admit(node, topic);
    const selection = selectLive(frame, predicateId, { ...window, countMax: this.#outlet.left, admit });
    if (selection === undefined) return undefined;
    this.#outlet.count({ throttled: selection.refused });
    return selection.count === 0 ? undefined : selection;
  }

  /** Whether the frame is skipped because the subscriber is too far behind; then all up to the log's end is skipped. */
  #skips(place: LogPlace, { offset, appendedMs }: LogEntry): boolean {
    const { lagMaxMs } = this.#options;
    if (offset < (this.#skipTo.get(place) ?? 0)) return true;
    if (lagMaxMs === undefined || Date.now() - appendedMs <= lagMaxMs) return false;
    this.#skipTo.set(place, place.log.deliverableOffset);
    return true;
  }

  /**
   * Notes what is owed from this frame on: with `skipTo`, the frames that are skipped up to that offset; without, what
   * nodes shed, with an open end.
   */
  #owe(view: NodeView, { offset, frame }: LogEntry, floor: Position | undefined, skipTo: number | undefined) {
    if (this.#options.refill === undefined) return;
    const { topic } = frame;
    const skipped = skipTo !== undefined;
    const ranges = (view.owed.get(topic) ?? []).filter((owed) => owed.counted);
    const shedding = ranges.find((owed) => owed.offsetTo === undefined);
    if (skipped ? ranges.some((owed) => owed.skipped && owed.offsetTo === skipTo) : shedding) return;
    // The open range ends where the new one begins, so that no frame is owed twice.
    if (shedding) view.changeOwed(shedding, { offsetTo: offset });
    const after = floor && comparePositions(floor, frame.coveredFrom) > 0 ? floor : undefined;
    const taken = after && hadOf(frame, view.ahead.get(topic));
    view.owe(topic, { offsetFrom: offset, offsetTo: skipTo, after, skipped, counted: true, taken });
  }

  #untilFor(node: string): bigint | undefined {
    const { untilNs } = this.#options;
    return untilNs === undefined ? undefined : untilNs + (this.#registry.record(node)?.clock.windowOffsetNs ?? 0n);
  }

  async #notify(): Promise<void> {
    this.#noticedMs = Date.now();
    await this.#outlet.gaps();
    const views = [...this.#standing.views.values()];
    await this.#standing.makeNotes();
    const cursor = this.#standing.cursor();
    for (const watermark of this.#notices.takeWatermarks(views, this.#standing.topics, cursor)) {
      await this.#outlet.message(watermark);
    }
    if (this.#outlet.gapsOpen) await this.#outlet.message({ watermark: { node: '', cursor: this.#standing.cursor() } });
  }

  /**
   * Whether the window has ended: every connected node has reached its end, or UNTIL_GRACE_MS have passed since, and
   * nothing is left to refill.
   */
  #ended(): boolean {
    const { untilNs } = this.#options;
    if (untilNs === undefined) return false;
    const nowNs = wallNowNs();
    if (nowNs < untilNs) return false;
    const { refill } = this.#options;
    const overdue = nowNs > untilNs + msToNs(UNTIL_GRACE_MS);
    return [...this.#standing.views.values()].every((view) => (overdue || this.#past(view)) && !refill?.owes(view));
  }

  #past(view: NodeView): boolean {
    const { node } = view;
    // A node that is not connected or has no hold cannot deliver, so it is not waited for.
    if (!this.#route.reaches(node) || !this.#registry.hold(node, this.#options.predicateId)) return true;
    return view.state === 'live' && view.watermarkNs(this.#standing.topics) >= this.#untilFor(view.node)!;
  }
}

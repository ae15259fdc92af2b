/**
 * Notices to a subscriber: gaps and watermarks. They are merged to bound their
 * number: one gap per node and reason before each cursor, and one watermark per
 * node and interval.
 */
import { WATERMARKS_PER_INTERVAL_MAX } from '../../../limits.js';
import type { Frame, StatedLoss } from '../../../wire/frame/frame.js';
import { nsToTimestamp, positionToMessage, type SubscribeResponse } from '../../../wire/messages.js';
import { comparePositions, laterPosition, type Position } from '../../../wire/position.js';
import type { NodeView, Owed } from '../cursor/node-view.js';
import { totalOwed } from '../selectors/owed-tally.js';
import type { SelectorSet } from '../selectors/selector-set.js';
import { NONE, type Tally } from '../selectors/tally.js';
import type { ShedPart, Stretch } from './live-frame.js';

/** Reasons that the broker gives. Losses that nodes state come with reasons of their own. */
type GapReason = 'kernel_overrun' | 'late' | 'shed' | 'skipped' | 'refused' | 'damaged' | 'expired' | 'evicted';

/** Missing events of one topic. */
interface TopicGap {
  from: Position | undefined;
  to: Position | undefined;
  events: number;
  unknown: boolean;
}

/** Missing events of one selector, of all topics. */
interface SelectorGap {
  events: number;
  eventsUnknown: boolean;
}

interface PendingGap {
  readonly node: string;
  readonly reason: string;
  message: string;
  readonly topics: Map<string, TopicGap>;
  /** By selector, where it is known which are concerned. */
  readonly selectors: Map<number, SelectorGap>;
}

const MESSAGES: Record<GapReason, string> = {
  kernel_overrun:
    'events were lost before they were recorded, or with the recording; whether they would have matched is unknown',
  late: 'events came after their turn; they are in the recorder of the node',
  shed: 'the node was over its budget; the events are in its recorder',
  skipped: 'the subscription was further behind than it allows; the events are in the recorder of the node',
  refused: 'what the node made of the events is no sound frame; the events are in its recorder',
  damaged: 'stored frames cannot be read again',
  expired: 'the log no longer holds these frames: the subscription was too slow',
  evicted: 'too many stretches were shed and skipped apart before any could be refilled: the oldest is given up',
};

const UNREAD = `${MESSAGES.damaged}; what the node's recorder has of the stretch comes next`;

/** The message of that name, without its cursor. */
interface Watermark {
  readonly node: string;
  readonly time: ReturnType<typeof nsToTimestamp> | null;
}

/** Losses stated in the frames of one node. Every topic's frames state each loss once, so it is counted by topic. */
interface LossCount {
  readonly byTopic: Map<string, number>;
  told: number;
  /** End of the last frame for which a loss of unknown size was told. */
  unknownTo: Position | undefined;
  /** Stated losses that were told, by reason and start; true when the loss had ended. The oldest are dropped first. */
  readonly stated: Map<string, boolean>;
}

/** Stated losses remembered per node. One that is stated again after this many others is told again. */
const STATED_MAX = 64;

export class Notices {
  /** Ids of the selectors; none are named where there are none. */
  readonly #selectors: readonly string[];
  #gaps = new Map<string, PendingGap>();
  readonly #losses = new Map<string, LossCount>();
  #watermarkTurn = 0;
  /** The last watermark of all nodes that was told, in wall nanoseconds. */
  #commonNs = 0n;

  constructor({ named, ids }: Pick<SelectorSet, 'named' | 'ids'>) {
    this.#selectors = named ? ids : [];
  }

  /** Notes the losses and the late events that a live frame states. */
  frame(node: string, frame: Frame): void {
    if (frame.lost > 0 || frame.lostUnknown) {
      const count = this.#lossOf(node);
      const lost = newlyLost(count, frame);
      const unknown = frame.lostUnknown && newlyUnknown(count, frame);
      if (lost > 0 || unknown) this.#gap(node, '', 'kernel_overrun', frame, lost, unknown);
    }
    for (const loss of frame.losses) this.#stated(node, loss);
    if (frame.late > 0) this.#gap(node, frame.topic, 'late', frame, frame.late, false);
  }

  /** Tells a loss once when it begins and once when it has ended. */
  #stated(node: string, loss: StatedLoss): void {
    const { stated } = this.#lossOf(node);
    const { epoch, timeNs, lane, tie } = loss.from;
    const key = `${loss.reason} ${epoch} ${timeNs} ${lane} ${tie}`;
    const over = loss.to !== undefined;
    const told = stated.get(key);
    if (told === true || told === over) return;
    stated.set(key, over);
    if (stated.size > STATED_MAX) stated.delete(stated.keys().next().value!);
    const stretch = { coveredFrom: loss.from, coveredTo: loss.to };
    this.#gap(node, '', loss.reason, stretch, loss.events, loss.unknown, loss.message);
  }

  shed(node: string, stretch: Stretch, { tally, unknown, concerns }: ShedPart): void {
    const gap = this.#gap(node, stretch.topic, 'shed', stretch, tally.events, unknown);
    this.#concern(gap, tally, unknown, concerns);
  }

  skipped(node: string, stretch: Stretch, tally: Tally): void {
    const gap = this.#gap(node, stretch.topic, 'skipped', stretch, tally.events, false);
    this.#concern(gap, tally, false, (selector) => (tally.of[selector] ?? 0) > 0);
  }

  #concern(gap: PendingGap, { of }: Tally, unknown: boolean, concerns: (selector: number) => boolean): void {
    for (const selector of this.#selectors.keys()) {
      if (!concerns(selector)) continue;
      const own = gap.selectors.get(selector) ?? { events: 0, eventsUnknown: false };
      own.events += of[selector] ?? 0;
      own.eventsUnknown ||= unknown;
      gap.selectors.set(selector, own);
    }
  }

  refused(node: string, stretch: Stretch): void {
    this.#gap(node, stretch.topic, 'refused', stretch, 0, true);
  }

  /** Notes unreadable frames of the log that may be of this node; its recorder is asked for the whole stretch. */
  unread(node: string, topic: string, stretch: { readonly coveredFrom: Position; readonly coveredTo: Position }): void {
    this.#gap(node, topic, 'damaged', stretch, 0, true, UNREAD);
  }

  /** Notes that the log forgot what a node's topic had up to there. */
  expired(node: string, topic: string, coveredFrom: Position | undefined, coveredTo: Position): void {
    this.#gap(node, topic, 'expired', { coveredFrom, coveredTo }, 0, true);
  }

  /** Notes that what is owed of a range will not be refilled. */
  givenUp(node: string, topic: string, { after, chained, due }: Owed): void {
    const stretch = { coveredFrom: laterPosition(after, chained), coveredTo: undefined };
    const tally = due === undefined ? NONE : totalOwed(due);
    const gap = this.#gap(node, topic, 'evicted', stretch, tally.events, due === undefined);
    this.#concern(gap, tally, false, (selector) => (tally.of[selector] ?? 0) > 0);
  }

  /** Notes lost frames of a partition; it is unknown whose they were. */
  partition(topic: string, reason: 'damaged' | 'expired'): void {
    this.#gap('', topic, reason, undefined, 0, true);
  }

  /** Whether there are gaps that were not told yet. */
  get hasGaps(): boolean {
    return this.#gaps.size > 0;
  }

  /** Returns the gaps that were not told yet, merged since the last call, and clears them. */
  takeGaps(): SubscribeResponse[] {
    const gaps = [...this.#gaps.values()];
    this.#gaps = new Map();
    return gaps.map(({ node, reason, message, topics, selectors }) => {
      const concerned = [...selectors].sort(([a], [b]) => a - b);
      const told = {
        ...{ node, reason, message },
        ...(concerned.length === 0
          ? {}
          : { selectors: concerned.map(([index, own]) => ({ selector: this.#selectors[index]!, ...own })) }),
      };
      const parts = Array.from(topics, ([topic, gap]) => ({ topic, ...gapMessage(gap) }));
      if (parts.length === 1) return { gap: { ...told, ...parts[0]! } };
      return { gap: { ...told, ...gapMessage(union([...topics.values()])), topics: parts } };
    });
  }

  /** Returns watermarks of nodes that have advanced: a bounded number per call, taking turns. */
  takeWatermarks(views: readonly NodeView[], topics: readonly string[]): Watermark[] {
    const watermarks: Watermark[] = [];
    for (let i = 0; i < views.length && watermarks.length < WATERMARKS_PER_INTERVAL_MAX; i++) {
      this.#watermarkTurn = (this.#watermarkTurn + 1) % views.length;
      const view = views[this.#watermarkTurn]!;
      const timeNs = view.state === 'live' ? view.watermarkNs(topics) : 0n;
      if (timeNs <= view.toldWatermarkNs) continue;
      view.toldWatermarkNs = timeNs;
      watermarks.push({ node: view.node, time: nsToTimestamp(timeNs) });
    }
    return watermarks;
  }

  /** One for all nodes, which says a time only where that holds for all of them and has advanced. */
  takeCommonWatermark(views: readonly NodeView[], topics: readonly string[]): Watermark[] {
    if (views.length === 0) return [];
    const times = views.map((view) => (view.state === 'live' ? view.watermarkNs(topics) : 0n));
    const timeNs = times.reduce((least, each) => (each < least ? each : least));
    const advanced = timeNs > this.#commonNs;
    if (advanced) this.#commonNs = timeNs;
    return [{ node: '', time: advanced ? nsToTimestamp(timeNs) : null }];
  }

  #lossOf(node: string): LossCount {
    let count = this.#losses.get(node);
    if (count === undefined) {
      count = { byTopic: new Map(), told: 0, unknownTo: undefined, stated: new Map() };
      this.#losses.set(node, count);
    }
    return count;
  }

  #gap(
    node: string,
    topic: string,
    reason: string,
    stretch: { readonly coveredFrom: Position | undefined; readonly coveredTo: Position | undefined } | undefined,
    events: number,
    unknown: boolean,
    message = MESSAGES[reason as GapReason] ?? '',
  ): PendingGap {
    const key = `${node}|${reason}`;
    let merged = this.#gaps.get(key);
    if (merged === undefined) {
      merged = { node, reason, message, topics: new Map(), selectors: new Map() };
      this.#gaps.set(key, merged);
    }
    let gap = merged.topics.get(topic);
    if (gap === undefined) {
      gap = { from: stretch?.coveredFrom, to: stretch?.coveredTo, events: 0, unknown: false };
      merged.topics.set(topic, gap);
    }
    gap.to = stretch === undefined ? gap.to : stretch.coveredTo;
    merged.message = message;
    gap.events += events;
    gap.unknown ||= unknown;
    return merged;
  }
}

function gapMessage({ from, to, events, unknown }: TopicGap) {
  return {
    from: from ? positionToMessage(from) : null,
    to: to ? positionToMessage(to) : null,
    events,
    eventsUnknown: unknown,
  };
}

function union(gaps: readonly TopicGap[]): TopicGap {
  const from = gaps.flatMap((gap) => gap.from ?? []).sort(comparePositions);
  const to = gaps.flatMap((gap) => gap.to ?? []).sort(comparePositions);
  const events = gaps.reduce((sum, gap) => sum + gap.events, 0);
  return { from: from[0], to: to.at(-1), events, unknown: gaps.some(({ unknown }) => unknown) };
}

function newlyLost(count: LossCount, { topic, lost }: Frame): number {
  const sum = (count.byTopic.get(topic) ?? 0) + lost;
  count.byTopic.set(topic, sum);
  const fresh = Math.max(0, sum - count.told);
  count.told += fresh;
  return fresh;
}

/**
 * False when the frame starts before the end of the last one told, as it can state the same loss for another topic. A
 * loss after that end is not missed: the next frame of the topic that was told states it too.
 */
function newlyUnknown(count: LossCount, { coveredFrom, coveredTo }: Frame): boolean {
  if (count.unknownTo && comparePositions(coveredFrom, count.unknownTo) < 0) return false;
  count.unknownTo = coveredTo;
  return true;
}

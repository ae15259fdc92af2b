/**
 * Delivers later, from the nodes' recorders, what nodes shed and what was
 * skipped: in parallel to the live stream, within the nodes' history budgets,
 * marked as refill, each event once. What is owed is kept as ranges of the log,
 * whose frames say which stretches of the recording to ask for.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { asBackplaneError } from '../../../errors.js';
import { Signal } from '../../../flow/signal.js';
import { Turns } from '../../../flow/turns.js';
import {
  REFILL_APART_NS_MAX,
  REFILL_FRAMES_MAX,
  REFILL_INTERVAL_MS,
  REFILL_NODES_MAX,
  REFILL_STRETCHES_MAX,
  REFILL_TRIES_MAX,
  SILENCE_INTERVAL_MS_MAX,
} from '../../../limits.js';
import type { Frame } from '../../../wire/frame/frame.js';
import { type HistoryEnd__Output, positionToMessage } from '../../../wire/messages.js';
import { comparePositions, laterPosition, type Position } from '../../../wire/position.js';
import type { LogPlace } from '../../log/fan-out.js';
import { type PartitionReader, partitionOf } from '../../log/partition-log.js';
import type { HistoryOutcome } from '../../nodes/history/history-answer.js';
import type { NodeView, Owed } from '../cursor/node-view.js';
import type { PlannedSubscription } from '../planned-subscription.js';
import { onlyOwed, owedOf, totalOwed } from '../selectors/owed-tally.js';
import type { SelectorSet } from '../selectors/selector-set.js';
import { isSame, least, NONE, plus, type Tally, without } from '../selectors/tally.js';
import { readInTime } from './history-delivery.js';
import { type LogGap, type LostStretch, lostStretch } from './lost-stretch.js';
import { type OwedStretch, owedStretch } from './owed-stretch.js';
import { type ReplayedRun, replay } from './replay.js';

/** The stretches that one query asks for. */
interface Found {
  /** All of the same kind. */
  readonly stretches: readonly OwedStretch[];
  /** Those to which the stretches are owed. */
  readonly selectors: SelectorSet;
  /** Number of events in the stretches; undefined if unknown. */
  readonly due: Tally | undefined;
  /** Offset up to which the log has been read. */
  readonly offsetTo: number;
  /** True when a bound ended the query, so that there may be more. */
  readonly full: boolean;
  /** Where the next frame begins if it continues the last one that was read; undefined if unknown. */
  readonly chained: Position | undefined;
  /** What the log cannot tell of, up to `offsetTo`; then there are no stretches. */
  readonly lost?: LostStretch | undefined;
}

/** What a node's recorder answered. */
interface Answered {
  /** Undefined where it failed, and then is to be asked again, or where nothing is owed any more. */
  readonly end: HistoryEnd__Output | undefined;
  /** All that it ever recorded of what was asked came. */
  readonly whole: boolean;
}

export class Refill {
  /** Number of failures in a row, for connected nodes. */
  readonly #failures = new Map<NodeView, number>();
  readonly #signal: AbortSignal;
  readonly #stirred = new Signal();
  readonly #over = new AbortController();

  readonly #subscription: PlannedSubscription;

  constructor(subscription: PlannedSubscription) {
    this.#subscription = subscription;
    this.#signal = AbortSignal.any([subscription.signal, this.#over.signal]);
  }

  /** Refills until `live` has ended, and resolves or rejects as `live` does once nothing is written any more. */
  async during(live: () => Promise<void>): Promise<void> {
    const refilled = this.#run();
    try {
      await live();
    } finally {
      this.#over.abort();
      await refilled;
    }
  }

  async #run(): Promise<void> {
    const { position } = this.#subscription;
    while (!this.#signal.aborted) {
      const views = [...position.views.values()].filter((view) => this.owes(view));
      const next = views.values();
      await Promise.all(Array.from({ length: REFILL_NODES_MAX }, () => this.#settleAll(next)));
      // Nothing is owed before something happens.
      if (views.length === 0) await this.#stirred.wait(this.#signal, SILENCE_INTERVAL_MS_MAX);
      // What is shed gathers for the next query.
      await sleep(REFILL_INTERVAL_MS, undefined, { signal: this.#signal }).catch(() => undefined);
    }
  }

  /** Call this when events came, or a node changed: something may be owed, or can be had again. */
  stir(): void {
    this.#stirred.notify();
  }

  /** Whether the node owes something that can be refilled now. */
  owes(view: NodeView): boolean {
    return view.owed.size > 0 && view.state === 'live' && this.#subscription.broker.route.reaches(view.node);
  }

  async #settleAll(views: Iterator<NodeView>): Promise<void> {
    for (let next = views.next(); !next.done && !this.#signal.aborted; next = views.next()) {
      const view = next.value;
      for (const topic of [...view.owed.keys()]) {
        try {
          while (this.owes(view) && !this.#signal.aborted && (await this.#settle(view, topic)));
        } catch {
          // The subscriber went, does not read, or reached the limit: the subscription's own loop reports that.
        }
      }
      this.#subscription.wake.notify();
    }
  }

  /** Works on the first range that is owed; returns true when more can be done at once. */
  async #settle(view: NodeView, topic: string): Promise<boolean> {
    const owed = view.owed.get(topic)?.[0];
    const place = this.#subscription.position.places[partitionOf(view.node)];
    if (owed === undefined || place === undefined) return false;
    const found = await this.#find(view, topic, place, owed);
    if (!isOwed(view, topic, owed)) return true;
    if (found.stretches.length > 0 && !(await this.#deliver(view, topic, owed, found))) return false;
    if (found.lost && !(await this.#settleLost(view, topic, owed, found, found.lost))) return false;
    const settled = found.offsetTo >= (owed.offsetTo ?? place.delivered);
    if (settled) view.settleOwed(topic, owed);
    // Where nothing was read, what was refilled of the first stretch still counts.
    else if (found.offsetTo > owed.offsetFrom) {
      const { offsetTo: offsetFrom, chained } = found;
      view.changeOwed(owed, { offsetFrom, chained, after: undefined, taken: undefined });
    }
    // Otherwise the log's end was reached. Returning false lets newly shed stretches gather before the next query.
    return found.full || settled;
  }

  /** Reads the log to find the stretches that are owed. */
  async #find(view: NodeView, topic: string, place: LogPlace, owed: Owed): Promise<Found> {
    const { selectors: all, planner } = this.#subscription;
    const { node } = view;
    const selectors = all.within(owed.selectors, topic);
    // All of one moment: what is skipped is owed once live delivery has come by.
    const { delivered } = place;
    const { due, chained, offsetTo = delivered } = owed;
    const end = Math.min(offsetTo, delivered);
    const reached = view.chainedTo(topic);
    const none = { stretches: [], selectors, due: NONE, full: false, chained };
    // Those to which it was owed are gone, or ask for other topics.
    if (selectors.predicates.length === 0) return { ...none, offsetTo: end };
    const reader = place.log.reader(owed.offsetFrom, new Set([topic]));
    const owedOf = (frame: Frame, range: Parameters<typeof owedStretch>[2]) =>
      owedStretch(frame, selectors, range, planner.untilNs(node));
    try {
      const found = await this.#gather(reader, node, end, chained, (frame) => owedOf(frame, owed));
      if (found.gap === undefined) return { ...found, selectors };
      const from = laterPosition(found.chained, owed.after);
      const behind = { skipped: owed.skipped };
      const range = { node, from, due, end, delivered, reached, owedOf: (frame: Frame) => owedOf(frame, behind) };
      const lost = await lostStretch(reader, found.gap, range);
      if (lost === undefined) return { ...none, offsetTo: owed.offsetFrom };
      return { ...none, offsetTo: lost.offsetTo, full: true, chained: lost.to, lost };
    } finally {
      reader.close();
    }
  }

  /** Reads up to what a query may ask for, or to a gap of the log, with which it resolves if that comes first. */
  async #gather(
    reader: PartitionReader,
    node: string,
    end: number,
    chainedAtStart: Position | undefined,
    owedOf: (frame: Frame) => OwedStretch | undefined,
  ): Promise<Omit<Found, 'selectors'> & { readonly gap?: LogGap }> {
    const stretches: OwedStretch[] = [];
    let due: Tally | undefined = NONE;
    let chained = chainedAtStart;
    const found = (offsetTo: number, full: boolean) => ({ stretches, due, offsetTo, full, chained });
    const turns = new Turns();
    for (let frames = 0; ; frames++) {
      if (turns.over) await turns.give();
      const item = await reader.next();
      // A log that goes back, or a replica that lags, has nothing at this moment.
      if (item === undefined) return found(Math.min(end, reader.offset), false);
      if (item.kind !== 'frame') {
        if (item.offsetFrom >= end) break;
        // Its stretch is looked for behind what was found before it.
        return stretches.length > 0 ? found(item.offsetFrom, true) : { ...found(item.offsetFrom, true), gap: item };
      }
      if (item.offset >= end) break;
      if (frames >= REFILL_FRAMES_MAX) return found(item.offset, true);
      if (item.node !== node) continue;
      const stretch = owedOf(item.frame);
      if (stretch !== undefined) {
        const last = stretches.at(-1);
        const apart = last !== undefined && stretch.from.timeNs - last.to.timeNs > REFILL_APART_NS_MAX;
        // A stretch without a count is asked for alone, so that the counts of the others stay exact.
        const uncounted = due === undefined || stretch.due === undefined;
        const alone = last !== undefined && (uncounted || stretch.kind !== last.kind);
        if (apart || alone || stretches.length >= REFILL_STRETCHES_MAX) return found(item.offset, true);
        stretches.push(stretch);
        due = stretch.due && plus(due!, stretch.due);
      }
      chained = laterPosition(item.frame.coveredTo, chained);
    }
    return found(end, false);
  }

  /**
   * Refills what was owed by frames that the log has lost, where it is certain that nothing else of their stretch was
   * delivered: the recorder has as many matches in it as are owed. Else the subscriber is told that it will not come.
   * Returns false as #deliver does.
   */
  async #settleLost(view: NodeView, topic: string, owed: Owed, found: Found, lost: LostStretch): Promise<boolean> {
    const { from, to, due: of } = lost;
    const due = of && totalOwed(of);
    if (due?.events === 0) return true;
    const kind = of && onlyOwed(of);
    if (from && to && due && kind) {
      const stretch = { from, to, due, taken: NONE, kind };
      const asked = { ...found, stretches: [stretch], due };
      let count = NONE;
      const answered = await this.#ask(view, topic, owed, asked, async (run) => {
        count = plus(count, run.countBehind(from));
      });
      if (answered.end === undefined) return false;
      if (answered.whole && isSame(count, due)) return this.#deliver(view, topic, owed, asked);
    }
    await this.#tellGone(view.node, topic, found.selectors, due, { from, to }, LOST[lost.why]);
    view.owesLess(owed, of);
    return true;
  }

  /** Queries and delivers the stretches; `owed` keeps the progress. Returns false when the node failed, or the range was given up. */
  async #deliver(view: NodeView, topic: string, owed: Owed, found: Found): Promise<boolean> {
    const { stretches, selectors, due } = found;
    let count = NONE;
    let within: OwedStretch | undefined;
    const { end, whole } = await this.#ask(view, topic, owed, found, async (run) => {
      const stretch = stretches.find(({ to }) => comparePositions(run.end.position, to) <= 0)!;
      if (stretch !== within) view.changeOwed(owed, { taken: stretch.taken });
      within = stretch;
      count = plus(count, await this.#take(run, selectors, view, owed, stretch));
    });
    if (end === undefined) return false;
    const missing = due && without(due, count);
    if (missing === undefined ? whole : missing.events === 0) return true;
    await this.#tellGone(view.node, topic, selectors, missing, { from: stretches[0]!.from, to: stretches.at(-1)!.to });
    view.owesLess(owed, missing && owedOf(stretches[0]!.kind, missing));
    return true;
  }

  /** Asks the node's recorder for the stretches. */
  async #ask(
    view: NodeView,
    topic: string,
    owed: Owed,
    { stretches, selectors }: Found,
    onRun: (run: ReplayedRun) => Promise<void>,
  ): Promise<Answered> {
    const [first] = stretches;
    const { broker, planner, outlet } = this.#subscription;
    const request = {
      predicates: selectors.predicates.map(({ spec }) => ({ ...spec, topics: [topic] })),
      untilNs: planner.untilNs(view.node),
      after: first!.from,
      upTo: stretches.at(-1)!.to,
      within: stretches,
    };
    const query = { node: view.node, request, floors: new Map([[topic, first!.from]]), afterKey: undefined };
    let unsound = false;
    const noted = {
      client: outlet.client,
      last: 0,
      signal: this.#signal,
      onFailed: () => undefined,
      onEnded: () => undefined,
      onUnsound: async () => {
        unsound = true;
      },
      // Counted: what does not come is told as gone.
      onMissing: async () => undefined,
    };
    const outcomes = await replay(broker, [query], selectors, noted, onRun);
    if (!isOwed(view, topic, owed)) return { end: undefined, whole: false };
    const outcome = outcomes.get(view.node);
    if (outcome?.kind !== 'end') {
      this.#failed(view, topic, owed, selectors, outcome);
      return { end: undefined, whole: false };
    }
    this.#failures.delete(view);
    const { end } = outcome;
    const whole = !unsound && !end.evicted && !end.lostUnknown && end.losses.length === 0 && end.damagedBytes === '0';
    return { end, whole };
  }

  /** Delivers a run of one stretch and moves the owed range after it. Returns the number of matches in it. */
  async #take(
    run: ReplayedRun,
    selectors: SelectorSet,
    view: NodeView,
    owed: Owed,
    stretch: OwedStretch,
  ): Promise<Tally> {
    const { broker, position, outlet } = this.#subscription;
    const { node, topic } = run;
    await position.makeNotes();
    if (outlet.left <= 0) throw this.#limitReached();
    if (!isOwed(view, topic, owed)) throw new Error('what is left of the range is told as lost');
    const { selection, end } = run.take(outlet.left, outlet.admit(node, topic));
    const refused = selectors.refused(selection);
    const matches = plus(selectors.taken(selection), refused);
    outlet.count('throttled', topic, refused);
    outlet.count('refilled', topic, matches);
    const { taken } = owed;
    // A range that an earlier subscription counted is not in these totals, so nothing is subtracted for it.
    if (owed.counted && taken !== undefined && stretch.due !== undefined) {
      const due = least(matches, without(plus(stretch.due, stretch.taken!), taken));
      outlet.count(stretch.kind, topic, due, -1);
      view.owesLess(owed, owedOf(stretch.kind, due));
    }
    view.changeOwed(owed, { after: end.position, taken: taken && plus(taken, matches) });
    if (selection.count > 0) {
      const header = { node, topic, history: true, refill: true, cursor: position.cursor() };
      await readInTime(outlet.batch(header, selection), broker.historyPool);
    }
    if (outlet.left <= 0) throw this.#limitReached();
    return matches;
  }

  #limitReached(): Error {
    this.#over.abort();
    this.#subscription.wake.notify();
    return new Error('the limit is reached');
  }

  /**
   * Tells the subscriber of owed events that will not come; they stay counted as shed or skipped.
   * @param missing undefined if unknown
   */
  async #tellGone(
    node: string,
    topic: string,
    selectors: SelectorSet,
    missing: Tally | undefined,
    { from, to }: { readonly from?: Position | undefined; readonly to?: Position | undefined },
    message = 'the recorder of the node no longer has them: they are not refilled',
  ): Promise<void> {
    await this.#subscription.outlet.message({
      gap: {
        node,
        topic,
        from: from ? positionToMessage(from) : null,
        to: to ? positionToMessage(to) : null,
        events: missing?.events ?? 0,
        eventsUnknown: missing === undefined,
        selectors: missing ? concerned(selectors, missing) : unknownOf(selectors),
        reason: 'evicted',
        message,
      },
    });
  }

  #failed(
    view: NodeView,
    topic: string,
    owed: Owed,
    selectors: SelectorSet,
    outcome: HistoryOutcome | undefined,
  ): void {
    // Only failures of connected nodes count: one that is away, or on its way to another broker, can answer when it is back.
    const away = outcome?.kind === 'failed' && outcome.away === true;
    if (away || !this.#subscription.broker.route.reaches(view.node) || this.#signal.aborted) return;
    const failures = (this.#failures.get(view) ?? 0) + 1;
    this.#failures.set(view, failures);
    if (failures < REFILL_TRIES_MAX) return;
    this.#failures.delete(view);
    view.settleOwed(topic, owed);
    const reason = outcome?.kind === 'failed' ? outcome.message : 'no answer';
    const { after: from, due } = owed;
    void this.#tellGone(view.node, topic, selectors, due && totalOwed(due), { from }, `not refilled: ${reason}`).catch(
      (cause) => void asBackplaneError(cause),
    );
  }
}

const LOST: Record<LostStretch['why'], string> = {
  evicted:
    'the log no longer has the frames that say which events were left out: they are not refilled. A replay of the stretch ' +
    'gets what the recorder of the node has of it, with what was delivered',
  damage:
    'frames of the log that say which events were left out cannot be read: they are not refilled. A replay of the stretch ' +
    'gets what the recorder of the node has of it, with what was delivered',
};

/** False once the range was given up: the log went back meanwhile, or there were too many. The subscriber is told so. */
function isOwed(view: NodeView, topic: string, owed: Owed): boolean {
  return view.owed.get(topic)?.includes(owed) === true;
}

function concerned({ ids }: SelectorSet, { of }: Tally) {
  return of.flatMap((events, index) => (events > 0 ? [{ selector: ids[index]!, events, eventsUnknown: false }] : []));
}

export function unknownOf({ ids, members = [] }: SelectorSet) {
  return members.map((index) => ({ selector: ids[index]!, events: 0, eventsUnknown: true }));
}

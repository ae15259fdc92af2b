/**
 * One subscription from its request to its end: it registers interest, delivers
 * the past, joins it to the log without a gap, and delivers live events.
 */
import { randomUUID } from 'node:crypto';
import type { BytePool } from '../../flow/byte-pool.js';
import { Signal } from '../../flow/signal.js';
import { INTEREST_DEADLINE_MS } from '../../limits.js';
import { msToNs } from '../../nanoseconds.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import { nsToTimestamp, type TimestampFields } from '../../wire/messages.js';
import type { Position } from '../../wire/position.js';
import type { FanOut, LogPlace } from '../log/fan-out.js';
import type { LogStore } from '../log/log-store.js';
import { partitionOf } from '../log/partition-log.js';
import type { InterestBook } from '../nodes/interest-book.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import type { NodeRoute } from '../nodes/node-route.js';
import { CursorNotes } from './cursor/cursor-notes.js';
import type { NodeView } from './cursor/node-view.js';
import { ResumedCursor, readCursor } from './cursor/resumed-cursor.js';
import { SubscriptionPosition } from './cursor/subscription-position.js';
import { explain } from './explanation.js';
import { goneNodes, windowFromNs } from './gone-nodes.js';
import { CoverageSum } from './history/coverage.js';
import { HistoryDelivery, keyAtTime } from './history/history-delivery.js';
import { compareKeys } from './history/history-merge.js';
import { Refill } from './history/refill.js';
import { LateNodes } from './live/late-nodes.js';
import { Live } from './live/live.js';
import { NodeStatuses } from './live/notices.js';
import { type DeliveryTotals, Outlet, type Sink } from './outlet.js';
import { type NodePlan, Planner } from './plan.js';
import { checkProfiles } from './profiles.js';
import { Throttle } from './throttle.js';

/** Parts of the broker that all subscriptions share. */
export interface DeliveryContext {
  readonly store: LogStore;
  readonly fanOut: FanOut;
  readonly registry: NodeRegistry;
  readonly route: NodeRoute;
  readonly book: InterestBook;
  readonly historyPool: BytePool;
  readonly totals: DeliveryTotals;
}

export class Subscription {
  readonly id = randomUUID();
  readonly startedMs = Date.now();
  phase: 'history' | 'live' = 'history';
  readonly outlet: Outlet;
  #standing: SubscriptionPosition | undefined;
  readonly #wake = new Signal();
  /** Nodes whose state has changed and that must be reviewed before the next round. */
  readonly #changed = new Set<string>();
  readonly #statuses = new NodeStatuses();
  readonly #cleanUp: (() => void)[] = [];

  readonly #context: DeliveryContext;
  readonly #signal: AbortSignal;

  constructor(
    readonly checked: CheckedSubscription,
    context: DeliveryContext,
    sink: Sink,
    signal: AbortSignal,
  ) {
    this.#context = context;
    this.#signal = signal;
    const throttle = checked.throttle && new Throttle(checked.throttle);
    this.outlet = new Outlet(sink, checked.limit, checked.predicate.mask, context.totals, throttle);
  }

  /** Number of frames that this subscription is behind the log's end, over all partitions. */
  get lag(): number {
    let lag = 0;
    for (const place of this.#standing?.places ?? []) lag += place.lag;
    return lag;
  }

  /** Cursor to resume with; empty before the subscription has a position. */
  get cursor(): string {
    return this.#standing?.cursor() ?? '';
  }

  /** Delivers until the end of the window, the limit, or the signal. Throws BackplaneError. */
  async run(): Promise<void> {
    try {
      checkProfiles(this.checked, this.#context.registry);
      const resumption = await this.#resume();
      if (this.checked.window.follow) await this.#follow(resumption);
      else await this.#replayOnly(resumption);
    } finally {
      for (const undo of this.#cleanUp) undo();
    }
  }

  async #resume(): Promise<ResumedCursor | undefined> {
    const { cursor, predicate, topics } = this.checked;
    if (cursor === '') return undefined;
    const { store } = this.#context;
    return ResumedCursor.open(readCursor(cursor, predicate.spec, store.identity), topics, store);
  }

  #sinceNs(resumption: ResumedCursor | undefined): bigint | undefined {
    if (resumption) {
      const { history, sinceNs } = resumption.state;
      // A replay that was cut short continues with the past, even if nodes that join later are served live only.
      return history ? (sinceNs ?? 0n) : sinceNs;
    }
    const { window } = this.checked;
    return window.history ? (window.sinceNs ?? 0n) : undefined;
  }

  #joinSinceNs(resumption: ResumedCursor | undefined): bigint | undefined {
    if (resumption) return resumption.state.sinceNs;
    // The last N events were chosen once, at the start, so a node that joins later is served live only.
    return this.checked.window.last > 0 ? undefined : this.#sinceNs(undefined);
  }

  async #replayOnly(resumption: ResumedCursor | undefined): Promise<void> {
    const { registry, store } = this.#context;
    const { nodes, window } = this.checked;
    const planner = new Planner(this.checked, registry, store, resumption, this.#sinceNs(resumption));
    // After live delivery the nodes stand at different times. Only positions can say where, not the merged order.
    const offsets = resumption !== undefined && resumption.state.history === undefined;
    const places = offsets ? this.#places(resumption) : [];
    const standing = this.#stand(resumption, places);
    if (!offsets) standing.history = resumption?.state.history ?? keyAtTime(0n);
    const later = this.#recordedLater();
    const connected = registry.connected(nodes.matches).filter((node) => !later.has(node));
    const plans = connected.map((node) => planner.past(node)).filter((plan) => plan !== undefined);
    for (const { view } of plans) standing.add(view);
    for (const node of resumption?.named ?? []) this.#wait(node, planner, standing);
    await this.#accept(connected, []);
    const coverage = new CoverageSum();
    const gone = goneNodes(registry, this.checked);
    for (const [node, from] of later) coverage.recordedLater(node, from);
    await this.#past(plans, coverage);
    if (this.outlet.left <= 0) return;
    coverage.gone(gone, windowFromNs(this.checked, resumption, this.outlet.ledger.events, coverage));
    const end = keyAtTime(window.untilNs ?? msToNs(this.startedMs));
    if (standing.history && compareKeys(standing.history, end) < 0) standing.history = end;
    await this.#tellCoverage(coverage, standing);
  }

  /** Connected nodes whose recording starts after the window, with its start. They are not asked. */
  #recordedLater(): Map<string, TimestampFields> {
    const { registry } = this.#context;
    const { nodes, window } = this.checked;
    const later = new Map<string, TimestampFields>();
    if (window.untilNs === undefined) return later;
    for (const node of registry.connected(nodes.matches)) {
      const record = registry.record(node);
      const from = record?.report?.recordedFrom;
      if (from && record?.recordedAfter(window.untilNs)) later.set(node, from);
    }
    return later;
  }

  async #follow(resumption: ResumedCursor | undefined): Promise<void> {
    const { registry, store, book } = this.#context;
    const { nodes, predicate } = this.checked;
    this.#cleanUp.push(registry.listen((node) => this.#nodeChanged(node)));
    this.#cleanUp.push(await book.claim(predicate.spec, nodes.globs, nodes.matches));
    const missing = await this.#acknowledgements();
    // No await until the end of planning: places, positions and holds must all be of the same moment.
    const planner = new Planner(this.checked, registry, store, resumption, this.#sinceNs(resumption));
    const places = this.#places(resumption);
    const standing = this.#stand(resumption, places);
    if (resumption?.state.history) standing.history = resumption.state.history;
    else if (!resumption && this.checked.window.history) standing.history = keyAtTime(0n);
    const plans: NodePlan[] = [];
    for (const { name } of registry.all()) {
      const plan = nodes.matches(name) ? planner.follow(name) : undefined;
      if (plan) plans.push(plan);
    }
    for (const { view } of plans) {
      this.#statuses.named(view.node, registry.record(view.node)?.connection !== undefined);
      standing.add(view);
    }
    for (const node of missing) this.#statuses.named(node, true);
    for (const node of this.#known(resumption)) this.#wait(node, planner, standing);
    await standing.settled();
    await this.#accept(
      plans.map(({ view }) => view.node).filter((node) => !missing.includes(node)),
      missing,
    );
    await this.#pastThenLive(planner, standing, plans, resumption);
  }

  #stand(resumption: ResumedCursor | undefined, places: readonly LogPlace[]): SubscriptionPosition {
    const { store } = this.#context;
    const { predicate, topics } = this.checked;
    const notes = new CursorNotes(store.of(this.id));
    const standing = new SubscriptionPosition(
      store.identity,
      predicate.id,
      topics,
      this.#joinSinceNs(resumption),
      places,
      notes,
    );
    // Until a partly delivered frame has been read again, cursors must also point into it.
    for (const [partition, { index }] of (resumption?.state.places ?? []).entries()) {
      const place = places[partition];
      if (place && index !== undefined) standing.partials.set(place, { offset: place.offset, index });
    }
    this.#standing = standing;
    return standing;
  }

  async #pastThenLive(
    planner: Planner,
    standing: SubscriptionPosition,
    plans: readonly NodePlan[],
    resumption: ResumedCursor | undefined,
  ): Promise<void> {
    const coverage = new CoverageSum();
    const asked = plans.filter((plan) => plan.query !== undefined);
    const gone = goneNodes(this.#context.registry, this.checked);
    const failed = await this.#past(asked, coverage);
    if (this.outlet.left <= 0) return;
    for (const { view, skipAfter } of asked) {
      if (!failed.has(view.node)) view.wentLive(skipAfter);
    }
    standing.history = undefined;
    if (asked.length > 0 || this.checked.window.history) {
      coverage.gone(gone, windowFromNs(this.checked, resumption, this.outlet.ledger.events, coverage));
      await this.#tellCoverage(coverage, standing);
    }
    this.phase = 'live';
    await this.#live(planner, standing, failed);
  }

  async #tellCoverage(coverage: CoverageSum, standing: SubscriptionPosition): Promise<void> {
    await standing.makeNotes();
    await this.outlet.message(coverage.message(standing.cursor(), this.outlet.ledger));
  }

  #past(plans: readonly NodePlan[], coverage: CoverageSum): Promise<ReadonlySet<string>> {
    const { registry, route, historyPool } = this.#context;
    const past = new HistoryDelivery(registry, route, historyPool, this.outlet, this.#standing!, this.checked.refill);
    const queries = plans.flatMap(({ query }) => query ?? []);
    const leading = this.#standing!.history !== undefined;
    return past.deliver({ queries, last: this.checked.window.last, leading, signal: this.#signal }, coverage);
  }

  async #live(planner: Planner, standing: SubscriptionPosition, failed: ReadonlySet<string>): Promise<void> {
    const { registry, route } = this.#context;
    const late = new LateNodes({
      meeting: (view) => this.#meeting(planner, view),
      round: (view, to, signal) => this.#lateRound(planner, standing, view, to, signal),
      offset: ({ node }) => standing.places[partitionOf(node)]!.offset,
      notify: () => this.#wake.notify(),
      signal: this.#signal,
    });
    for (const node of failed) this.#nodeChanged(node);
    for (const { name } of registry.all()) this.#nodeChanged(name);
    const { predicate, window, lagMaxMs } = this.checked;
    const refill = this.#refill(standing);
    const live: Live = new Live(registry, route, this.outlet, standing, this.#wake, {
      predicateId: predicate.id,
      untilNs: window.untilNs,
      signal: this.#signal,
      betweenRounds: async () => {
        for (const node of this.#changed) await this.#review(node, planner, standing, late);
        const approached = late.take();
        if (approached) late.joined(approached.view, await live.join(approached));
      },
      unserved: (node) => this.#wait(node, planner, standing),
      askAgain: (node) => this.#nodeChanged(node),
      lagMaxMs,
      refill,
    });
    const refilled = refill?.run();
    try {
      await live.run();
    } finally {
      refill?.close();
      await refilled;
    }
  }

  #refill(standing: SubscriptionPosition): Refill | undefined {
    const { registry, route, historyPool } = this.#context;
    const { predicate, window, refill } = this.checked;
    if (!refill) return undefined;
    const { untilNs } = window;
    return new Refill(registry, route, historyPool, this.outlet, standing, {
      predicate: predicate.spec,
      untilNs: (node) => untilNs && untilNs + (registry.record(node)?.clock.windowOffsetNs ?? 0n),
      signal: this.#signal,
      notify: () => this.#wake.notify(),
    });
  }

  /** Names of all nodes that the registry, the cursor or the log knows. */
  #known(resumption: ResumedCursor | undefined): Set<string> {
    const names = new Set(resumption?.named);
    for (const { name } of this.#context.registry.all()) names.add(name);
    for (const log of this.#context.store.all()) {
      for (const node of log.nodes())
        if (this.checked.topics.some((topic) => log.coveredTo(node, topic))) names.add(node);
    }
    return names;
  }

  /** Adds a view for a node that cannot be served yet, so that cursors keep what must not be forgotten of it. */
  #wait(node: string, planner: Planner, standing: SubscriptionPosition): void {
    if (!this.checked.nodes.matches(node) || standing.views.has(node)) return;
    const view = planner.waiting(node, standing.joinSinceNs);
    if (view) standing.add(view);
  }

  /** Reacts to a node that connected, disconnected or acknowledged: tells its status, and starts to serve it. */
  async #review(node: string, planner: Planner, standing: SubscriptionPosition, late: LateNodes): Promise<void> {
    this.#changed.delete(node);
    const { registry } = this.#context;
    const status = this.#statuses.take(node, registry.record(node));
    if (status) await this.outlet.message(status);
    let view = standing.views.get(node);
    if (view === undefined) {
      const plan = planner.join(node, standing.joinSinceNs);
      if (plan === undefined) return;
      view = plan.view;
      if (plan.query) view.wentLate();
      standing.add(view);
    }
    if (view.state === 'late' && this.#context.route.reaches(node) && this.#meeting(planner, view)) late.add(view);
  }

  async #lateRound(
    planner: Planner,
    standing: SubscriptionPosition,
    view: NodeView,
    to: Position,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { registry, route, historyPool } = this.#context;
    const coverage = new CoverageSum();
    const queries = [planner.query(view, to, standing.joinSinceNs)];
    const past = new HistoryDelivery(registry, route, historyPool, this.outlet, standing, this.checked.refill);
    const failed = await past.deliver({ queries, last: 0, leading: false, signal }, coverage);
    if (failed.size > 0) return false;
    // Everything up to `to` was asked for, even if nothing matched, so the next round begins there.
    view.reached(to);
    await this.#tellCoverage(coverage, standing);
    return true;
  }

  #meeting(planner: Planner, view: NodeView): Position | undefined {
    const hold = this.#context.registry.hold(view.node, this.checked.predicate.id);
    return hold && planner.meeting(view.node, hold);
  }

  /** Waits until every matching connected node has acknowledged; returns those that have not by the deadline. */
  async #acknowledgements(): Promise<string[]> {
    const { registry } = this.#context;
    const { nodes, predicate } = this.checked;
    const deadlineMs = Date.now() + INTEREST_DEADLINE_MS;
    for (;;) {
      const missing = registry
        .connected(nodes.matches)
        .filter((node) => registry.hold(node, predicate.id) === undefined);
      const leftMs = deadlineMs - Date.now();
      if (missing.length === 0 || leftMs <= 0 || this.#signal.aborted) return missing;
      // A node that answered with an error will not acknowledge later, so it is not waited for.
      if (missing.every((node) => registry.record(node)?.errors.has(predicate.id))) return missing;
      await this.#wake.wait(this.#signal, leftMs);
    }
  }

  #places(resumption: ResumedCursor | undefined): LogPlace[] {
    const { store, fanOut } = this.#context;
    const topics = new Set(this.checked.topics);
    store.checkPlace();
    return store.all().map((log) => {
      const offset = resumption?.state.places[log.partition]?.offset ?? log.deliverableOffset;
      const place = fanOut.place(log, offset, topics, () => this.#wake.notify());
      this.#cleanUp.push(() => place.close());
      return place;
    });
  }

  async #accept(answered: string[], missing: string[]): Promise<void> {
    const { window, nodes } = this.checked;
    await this.outlet.message({
      accepted: {
        subscriptionId: this.id,
        plan: explain(this.checked, this.#context.registry),
        nodes: answered,
        nodesMissing: missing.filter(nodes.matches),
        since: window.sinceNs === undefined ? null : nsToTimestamp(window.sinceNs),
        until: window.untilNs === undefined ? null : nsToTimestamp(window.untilNs),
      },
    });
  }

  #nodeChanged(node: string): void {
    if (!this.checked.nodes.matches(node)) return;
    this.#changed.add(node);
    this.#wake.notify();
  }
}

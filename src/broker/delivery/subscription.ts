/**
 * One subscription from its request to its end, as a list of stages: it claims
 * interest, plans how each node is served, delivers the past (history/), joins
 * it to the log without a gap, and delivers live events (live/).
 */
import { randomUUID } from 'node:crypto';
import { BackplaneError } from '../../errors.js';
import { everyOne } from '../../flow/every-step.js';
import { Signal } from '../../flow/signal.js';
import { INTEREST_DEADLINE_MS } from '../../limits.js';
import { msToNs } from '../../nanoseconds.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import type { CursorNode } from '../../wire/cursor.js';
import { nsToTimestamp } from '../../wire/messages.js';
import type { Follower, LogPlace } from '../log/fan-out.js';
import { CursorNotes } from './cursor/cursor-notes.js';
import { SubscriptionPosition } from './cursor/subscription-position.js';
import { DocumentDelivery } from './documents/document-delivery.js';
import { explain } from './explanation.js';
import type { LaterRecording } from './history/coverage.js';
import { FlooredRoute } from './history/floored-route.js';
import { HistoryDelivery } from './history/history-delivery.js';
import { keyAtTime } from './history/history-merge.js';
import { unknownOf } from './history/refill.js';
import { LiveDelivery } from './live/live-delivery.js';
import { NodeWatch } from './live/node-watch.js';
import { Outlet, type Sink } from './outlet.js';
import { type NodePlan, Planner } from './plan.js';
import type { DeliveryContext, PlannedSubscription } from './planned-subscription.js';
import { checkProfiles } from './profiles.js';
import { SelectorSet } from './selectors/selector-set.js';
import { SubscriptionStart } from './start.js';
import { Throttle } from './throttle.js';

/** Before the plan nothing was delivered, so there is no position that a cursor could state. */
type Stage =
  | { readonly kind: 'planning' }
  | { readonly kind: 'history' | 'live'; readonly position: SubscriptionPosition };

let begun = 0;

export class Subscription {
  readonly id = randomUUID();
  /** Of those that this process has begun: lists are in this order. */
  readonly number = ++begun;
  readonly startedMs = Date.now();
  readonly outlet: Outlet;
  readonly selectors: SelectorSet;
  #stage: Stage = { kind: 'planning' };
  readonly #wake = new Signal();
  /** Gives back what the stages took hold of; run at the end, however the subscription ends. */
  readonly #cleanUp: (() => void)[] = [];

  readonly #context: DeliveryContext;
  readonly #signal: AbortSignal;

  constructor(
    readonly checked: CheckedSubscription,
    context: DeliveryContext,
    sink: Sink,
    signal: AbortSignal,
  ) {
    const floorNs = checked.scope?.floorNs ?? checked.slice?.floorNs;
    this.#context = floorNs === undefined ? context : { ...context, route: new FlooredRoute(context, floorNs) };
    this.#signal = signal;
    const throttle = checked.throttle && new Throttle(checked.throttle);
    this.selectors = new SelectorSet(checked.selectors);
    this.outlet = new Outlet(sink, checked.limit, this.selectors, context.totals, throttle);
  }

  get phase(): 'history' | 'live' {
    return this.#stage.kind === 'live' ? 'live' : 'history';
  }

  /** Number of frames that this subscription is behind the log's end, over all partitions. */
  get lag(): number {
    return this.#stage.kind === 'planning' ? 0 : this.#stage.position.lag;
  }

  /** Cursor to resume with; empty before the subscription has a position. */
  get cursor(): string {
    return this.#stage.kind === 'planning' ? '' : this.#stage.position.cursor();
  }

  /** See SubscriptionPosition. */
  takeMoved(): readonly CursorNode[] | undefined {
    return this.#stage.kind === 'planning' ? undefined : this.#stage.position.takeMoved();
  }

  /** Delivers until the end of the window, the limit, or the signal. Throws BackplaneError. */
  async run(): Promise<void> {
    try {
      // Of a slice's few nodes all may lack a profile that others of the group have.
      if (this.checked.slice === undefined) checkProfiles(this.checked, this.#context.registry);
      const start = await SubscriptionStart.open(this.checked, this.selectors, this.#context);
      if (this.checked.window.follow) await this.#follow(start);
      else await this.#replayOnly(start);
    } finally {
      for (const undo of this.#cleanUp) undo();
    }
  }

  /** Claim, plan, replay, seam, live. */
  async #follow(start: SubscriptionStart): Promise<void> {
    const watch = this.#watchNodes();
    const live = await this.#untilLive(start, watch);
    if (live !== undefined) await new LiveDelivery(live.planned, watch).run(live.failed);
  }

  /** Resolves with the nodes that failed to answer; with undefined where nothing is left to deliver. */
  async #untilLive(
    start: SubscriptionStart,
    watch: NodeWatch,
  ): Promise<{ readonly planned: PlannedSubscription; readonly failed: ReadonlySet<string> } | undefined> {
    const missing = await this.#claim();
    const planned = this.#plan(start);
    // No await since the plan began: places, positions and holds must all be of the same moment.
    const plans = this.#planNodes(planned, watch, missing);
    const unlisten = this.#nameArrivals(planned);
    const answered = plans.map(({ view }) => view.node).filter((node) => !missing.includes(node));
    await planned.position.settled();
    await this.#accept(start, answered, missing);
    const asked = plans.filter((plan) => plan.query !== undefined);
    const history = new HistoryDelivery(planned);
    const failed = await history.deliverWindow(asked.flatMap(({ query }) => query ?? []));
    if (this.outlet.left <= 0) return undefined;
    this.#joinLog(planned, asked, failed);
    if (asked.length > 0 || this.checked.window.history) await history.tellCoverage();
    unlisten();
    this.#stage = { kind: 'live', position: planned.position };
    return { planned, failed };
  }

  /** Plan, replay, end. */
  async #replayOnly(start: SubscriptionStart): Promise<void> {
    const planned = this.#plan(start);
    const { planner, position } = planned;
    const later = this.#recordedAfter(this.checked.window.untilNs);
    const connected = this.#context.registry.connected(this.checked.nodes.matches).filter((node) => !later.has(node));
    const queries = connected.flatMap((node) => planner.past(node) ?? []);
    // Of those that are away, too, cursors say that nothing was delivered.
    const named = new Set(start.resumed?.named);
    for (const node of planner.known()) if (!later.has(node) || named.has(node)) planner.wait(node);
    this.#nameArrivals(planned);
    const history = new HistoryDelivery(planned);
    // Nodes are asked before the subscriber is told, which may wait for the disk.
    await everyOne([this.#accept(start, connected, []), history.deliverWindow(queries, later)]);
    if (this.outlet.left <= 0) return;
    position.replayedTo(keyAtTime(this.checked.window.untilNs ?? msToNs(this.startedMs)));
    await history.tellCoverage();
  }

  #watchNodes(): NodeWatch {
    const { predicateIds } = this.selectors;
    const { registry } = this.#context;
    const viewOf = (node: string) => {
      return this.#stage.kind === 'planning' ? undefined : this.#stage.position.views.get(node);
    };
    const watch = new NodeWatch(registry, this.checked.nodes.matches, predicateIds, this.#wake, viewOf);
    this.#cleanUp.push(() => watch.close());
    return watch;
  }

  /** Claims interest, and returns the connected nodes that have not acknowledged it by the deadline. */
  async #claim(): Promise<readonly string[]> {
    const { book, lingers } = this.#context;
    const { nodes, topics, latencyMs, slice } = this.checked;
    // Documents are in the broker: no node is asked for them.
    if (topics.length === 0) return [];
    if (latencyMs !== undefined) this.#cleanUp.push(lingers.ask(latencyMs, nodes.matches));
    const asked = slice?.groupNodes ?? nodes;
    // Together, so that nodes are told once.
    const claims = this.selectors.predicates.map(({ spec }) => book.claim(spec, asked.globs, asked.matches));
    const claimed = await Promise.allSettled(claims);
    for (const claim of claimed) if (claim.status === 'fulfilled') this.#cleanUp.push(claim.value);
    for (const claim of claimed) if (claim.status === 'rejected') throw claim.reason;
    return this.#acknowledgements();
  }

  /** Waits until every matching connected node has acknowledged; returns those that have not by the deadline. */
  async #acknowledgements(): Promise<readonly string[]> {
    const { registry } = this.#context;
    const { nodes } = this.checked;
    const { predicateIds } = this.selectors;
    const deadlineMs = Date.now() + INTEREST_DEADLINE_MS;
    const lacks = (node: string) =>
      registry.record(node)?.connection !== undefined && registry.hold(node, predicateIds) === undefined;
    let missing = registry.connected(nodes.matches);
    for (;;) {
      // Of thousands that answer one by one all are looked at again only when none seems to be missing.
      missing = missing.filter(lacks);
      if (missing.length === 0) missing = registry.connected(nodes.matches).filter(lacks);
      const leftMs = deadlineMs - Date.now();
      if (missing.length === 0 || leftMs <= 0 || this.#signal.aborted) return missing;
      // A node that answered with an error will not acknowledge later, so it is not waited for.
      if (missing.every((node) => predicateIds.some((id) => registry.record(node)?.errors.has(id)))) return missing;
      await this.#wake.wait(this.#signal, leftMs);
    }
  }

  /** Nodes that connect for the first time while the past is delivered. Returns how to end that. */
  #nameArrivals({ planner }: PlannedSubscription): () => void {
    const unlisten = this.#context.registry.listen((node) => planner.arrived(node));
    this.#cleanUp.push(unlisten);
    return unlisten;
  }

  /** From here on the subscription has a position, at its start. */
  #plan(start: SubscriptionStart): PlannedSubscription {
    const { store, registry } = this.#context;
    const { topics, window, slice } = this.checked;
    // Nobody told this subscription, which did not follow the log yet.
    if (start.resumed?.isThere(store, slice?.partition) === false)
      throw new BackplaneError('unavailable', 'the log lost its end while the subscription began: resume it again');
    const documents = this.#openDocuments(start);
    const position = new SubscriptionPosition({
      clusterId: store.identity,
      asked: this.selectors.inCursor(topics),
      topics,
      joinSinceNs: start.joinSinceNs,
      replayFrom: start.replayFrom,
      // A replay without live events needs offsets only when its cursor came from live delivery.
      places: window.follow || start.replayFrom === undefined ? this.#openPlaces(start) : [],
      notes: new CursorNotes(store.all(), store.of(this.id).partition),
      documents,
    });
    for (const place of position.places) {
      const index = start.resumed?.indexAt(place.log.partition);
      if (index !== undefined) position.partlyDelivered(place, { offset: place.offset, index });
    }
    this.#stage = { kind: 'history', position };
    return {
      broker: this.#context,
      checked: this.checked,
      selectors: this.selectors,
      start,
      planner: new Planner(this.checked, this.selectors, registry, store, start, position),
      position,
      documents,
      outlet: this.outlet,
      wake: this.#wake,
      signal: this.#signal,
    };
  }

  #openDocuments(start: SubscriptionStart): DocumentDelivery | undefined {
    // Cursors of selectors name places in the logs of documents, too, and those of groups, which may get another filter.
    const { documents: wanted, slice } = this.checked;
    if (wanted === undefined && !this.selectors.named && slice === undefined) return undefined;
    const { documents: logs } = this.#context;
    const documents = new DocumentDelivery(this.checked, this.selectors, start, logs, this.#wake);
    this.#cleanUp.push(() => documents.close());
    return documents;
  }

  #openPlaces(start: SubscriptionStart): readonly LogPlace[] {
    const { store, fanOut } = this.#context;
    const topics = new Set(this.checked.topics);
    if (topics.size === 0) return [];
    store.checkPlace();
    const { slice } = this.checked;
    const follower: Follower = {
      topics,
      predicateIds: this.selectors.predicateIds,
      notify: () => this.#wake.notify(),
      passed: (end) => {
        if (this.#stage.kind !== 'planning') this.#stage.position.passed(end);
      },
      rewound: (partition, offset) => this.#rewound(partition, offset),
    };
    const { places, close } = fanOut.join(follower, (log) => {
      if (slice !== undefined && log.partition !== slice.partition) return undefined;
      return start.resumed?.state.places[log.partition]?.offset ?? log.deliverableOffset;
    });
    this.#cleanUp.push(close);
    return places;
  }

  /** What was owed by frames that the log has lost stays shed: it is not known what it was. */
  #rewound(partition: number, offset: number): void {
    if (this.#stage.kind === 'planning') return;
    for (const owed of this.#stage.position.rewound(partition, offset, this.#stage.kind === 'live')) {
      const message = 'the log lost which events they were: they are not refilled';
      const gap = { ...owed, events: 0, eventsUnknown: true, selectors: unknownOf(this.selectors), message };
      // The subscriber went: the loop reports that.
      this.outlet.message({ gap: { ...gap, reason: 'evicted' } }).catch(() => undefined);
    }
  }

  /** Plans how each node is served. Nodes that cannot be served yet keep what cursors must not forget of them. */
  #planNodes({ planner }: PlannedSubscription, watch: NodeWatch, missing: readonly string[]): NodePlan[] {
    const { registry } = this.#context;
    const plans: NodePlan[] = [];
    for (const { name } of registry.all()) {
      const plan = this.checked.nodes.matches(name) ? planner.follow(name) : undefined;
      if (plan) plans.push(plan);
    }
    for (const { view } of plans) watch.named(view.node, registry.record(view.node)?.connection !== undefined);
    for (const node of missing) watch.named(node, true);
    for (const node of planner.known()) planner.wait(node);
    return plans;
  }

  /**
   * The seam: a node's history was asked up to exactly the position after which its frames in the log count. A node
   * that failed stays late, and its history is asked again beside live delivery.
   */
  #joinLog({ position }: PlannedSubscription, asked: readonly NodePlan[], failed: ReadonlySet<string>): void {
    for (const { view, skipAfter } of asked) {
      if (!failed.has(view.node)) view.wentLive(skipAfter);
    }
    position.replayEnded();
  }

  /** Connected nodes whose recording is all later than a time, as far as they have reported; none where there is no time. */
  #recordedAfter(timeNs: bigint | undefined): Map<string, LaterRecording> {
    const { registry } = this.#context;
    const later = new Map<string, LaterRecording>();
    if (timeNs === undefined) return later;
    for (const node of registry.connected(this.checked.nodes.matches)) {
      const record = registry.record(node);
      if (record?.recorded !== undefined && record.recordedAfter(timeNs)) later.set(node, record.recorded);
    }
    return later;
  }

  async #accept(start: SubscriptionStart, answered: readonly string[], missing: readonly string[]): Promise<void> {
    const { window, nodes } = this.checked;
    const { registry } = this.#context;
    await this.outlet.message({
      accepted: {
        subscriptionId: this.id,
        plan: explain(this.checked, registry),
        nodes: [...answered],
        nodesMissing: missing.filter(nodes.matches),
        since: window.sinceNs === undefined ? null : nsToTimestamp(window.sinceNs),
        until: window.untilNs === undefined ? null : nsToTimestamp(window.untilNs),
        beginsLater: [...this.#recordedAfter(window.sinceNs ?? window.untilNs).keys()].sort().map((node) => ({
          node,
          from: nsToTimestamp(registry.record(node)!.recordedFromNs!),
        })),
        selectors: this.#selectorStarts(start),
      },
    });
  }
  #selectorStarts(start: SubscriptionStart): { selector: string; start: string }[] {
    const { named, ids } = this.selectors;
    if (!named) return [];
    return start.selectorStarts(this.selectors).map((how, index) => ({ selector: ids[index]!, start: how }));
  }
}

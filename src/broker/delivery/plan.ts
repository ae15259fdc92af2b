/**
 * Plans how a subscription is served by each node: what its recorder is asked
 * for, and from which position its frames in the log count. History runs up to
 * exactly the position after which the log is complete, so that nothing is
 * missing and nothing comes twice.
 */
import { NODES_MAX } from '../../limits.js';
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import type { HistoryPlace } from '../../wire/cursor.js';
import { type Frame, predicatesOf } from '../../wire/frame/frame.js';
import { comparePositions, laterPosition, ORIGIN, type Position } from '../../wire/position.js';
import type { LogStore } from '../log/log-store.js';
import { partitionOf } from '../log/partition-log.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import { NodeView } from './cursor/node-view.js';
import type { SubscriptionPosition } from './cursor/subscription-position.js';
import type { NodeQuery } from './history/clipped-answer.js';
import type { SelectorSet } from './selectors/selector-set.js';
import { NONE } from './selectors/tally.js';
import type { SubscriptionStart } from './start.js';

export interface NodePlan {
  readonly view: NodeView;
  /** Query to the recorder that comes first; undefined when the log has everything. */
  readonly query: NodeQuery | undefined;
  /** Position up to which events count as delivered once the query is done. */
  readonly skipAfter: Position | undefined;
}

/** Gives each node that it plans for a view in the subscription's position. */
export class Planner {
  readonly #checked: CheckedSubscription;
  readonly #registry: NodeRegistry;
  readonly #store: LogStore;
  readonly #start: SubscriptionStart;
  readonly #position: SubscriptionPosition;
  readonly #selectors: SelectorSet;
  /** Views of nodes whose frames were passed over, and whose recorders were not asked yet. */
  readonly #passed = new Set<NodeView>();

  constructor(
    checked: CheckedSubscription,
    selectors: SelectorSet,
    registry: NodeRegistry,
    store: LogStore,
    start: SubscriptionStart,
    position: SubscriptionPosition,
  ) {
    this.#checked = checked;
    this.#selectors = selectors;
    this.#registry = registry;
    this.#store = store;
    this.#start = start;
    this.#position = position;
  }

  /** Position from which the node's frames are complete for every selector; undefined while they are not for one. */
  hold(node: string): Position | undefined {
    return this.#registry.hold(node, this.#selectors.predicateIds);
  }

  /** For a node at the subscription's start. Undefined when the node has no hold (yet). */
  follow(node: string): NodePlan | undefined {
    const hold = this.hold(node);
    if (hold === undefined) return undefined;
    const plan = this.#planFrom(node, hold);
    this.#position.add(plan.view);
    return plan;
  }

  #planFrom(node: string, hold: Position): NodePlan {
    const view = this.#restoredView(node);
    const meeting = this.#meetingAt(node, hold);
    if (view !== undefined) {
      if (view.state === 'live' && this.#reachesBack(view, hold))
        return { view, query: undefined, skipAfter: view.skip };
      return { view, query: this.#query(view, meeting, this.#start.sinceNs), skipAfter: meeting };
    }
    const fresh = this.#freshView(node);
    // The node came after the cursor was given, so all its frames lie after the cursor's offsets and are to be read.
    const fromCursor = this.#start.resumed !== undefined && this.#start.replayFrom === undefined;
    if (!fromCursor) this.#markSeen(fresh);
    if (this.#start.sinceNs === undefined) {
      // Each topic starts at the end of its last frame. The furthest of these ends could lie within a coming frame.
      fresh.reached(this.#begin(node, fromCursor ? this.#heldFrom(node, hold) : hold));
      if (!this.#reachesBack(fresh, hold)) {
        return { view: fresh, query: this.#query(fresh, meeting, undefined), skipAfter: meeting };
      }
      return { view: fresh, query: undefined, skipAfter: fresh.skip };
    }
    return { view: fresh, query: this.#query(fresh, meeting, this.#start.sinceNs), skipAfter: meeting };
  }

  /**
   * Where a node begins of which nothing is known, and of which no past is wanted. Selectors that are resumed miss nothing
   * from where they hold on, so that others that hold only later have the recorder asked for what lies in between.
   */
  #begin(node: string, hold: Position): Position {
    const unchanged = this.#start.resumed?.unchanged;
    return (unchanged && this.#registry.firstHold(node, unchanged.predicateIds)) ?? hold;
  }

  /**
   * Of a node that came later nothing may be missing from where its frames are complete. That position may not be known any
   * more, only that it lies between this one and `hold`: then the recorder is asked for what lies between.
   */
  #heldFrom(node: string, hold: Position): Position {
    return this.#registry.heldFrom(node, this.#selectors.predicateIds) ?? hold;
  }

  /**
   * For a node that cannot be served yet. Its view keeps cursors from forgetting what was delivered of the node, or
   * that its past is still to come. Nothing is added for a node with a view, or when there is nothing to remember.
   */
  wait(node: string): void {
    if (!this.#isUnknown(node)) return;
    const { joinSinceNs, resumed } = this.#start;
    const owed = joinSinceNs !== undefined || resumed?.state.history !== undefined;
    const view = this.#restoredView(node) ?? (owed ? this.#freshView(node) : undefined);
    if (view !== undefined) this.#addLate(view);
  }

  /**
   * For a node of which nobody had heard when the replay was planned: cursors name it, or they would say that it was
   * delivered as far as the others.
   */
  arrived(node: string): void {
    if (!this.#isUnknown(node) || this.#start.joinSinceNs === undefined) return;
    this.#addLate(this.#restoredView(node) ?? new NodeView(node));
  }

  /** Whether it is asked for and has no view yet. */
  #isUnknown(node: string): boolean {
    return this.#checked.nodes.matches(node) && !this.#position.views.has(node);
  }

  /** Adds the view of a node that is to be served from its recorder. */
  #addLate(view: NodeView): void {
    view.wentLate();
    this.#position.add(view);
  }

  /**
   * A frame of a node without a view is passed over: it was read before it is known here from where the node's frames are
   * complete. What matches in it, and in those behind it, is had of the recorder, when that is known.
   */
  passOver(node: string, frame: Frame): void {
    this.wait(node);
    let view = this.#position.views.get(node);
    // Others' recorders are asked for all that is passed over.
    if (view !== undefined && !this.#passed.has(view)) return;
    const concerned = predicatesOf(frame);
    const isAsked = this.#selectors.predicateIds.some((id) => concerned.has(id));
    if (!this.#checked.nodes.matches(node) || !isAsked) return;
    const { topic, coveredFrom } = frame;
    if (view === undefined) {
      view = new NodeView(node);
      this.#passed.add(view);
      this.#addLate(view);
    }
    // How far the log reaches says nothing of what was read of it: other topics begin where their first frame here does.
    if (view.floor(topic) === undefined) view.reachedOf(topic, coveredFrom);
  }

  /** For a node that joins later, at the present end of the log. Undefined when it has no hold (yet). */
  join(node: string): NodeView | undefined {
    const hold = this.hold(node);
    if (hold === undefined) return undefined;
    const restored = this.#restoredView(node);
    const view = restored ?? new NodeView(node);
    // Without a past to ask for, the node is served from the log at once.
    const fresh = restored === undefined && this.#start.joinSinceNs === undefined;
    if (fresh) view.reached(this.#begin(node, this.#heldFrom(node, hold)));
    if (!fresh || !this.#reachesBack(view, hold)) view.wentLate();
    // Of a live node what is in the log and was not read is still to come, and may begin wherever this subscription began.
    if (view.state === 'live' && this.#hasUnread(node)) view.unchain();
    else for (const [topic, to] of this.#inLog(node)) view.seenTo(topic, to);
    this.#position.add(view);
    return view;
  }

  #hasUnread(node: string): boolean {
    const place = this.#position.places[partitionOf(node)];
    return place !== undefined && place.delivered < place.log.deliverableOffset;
  }

  /** For a replay without live events: what is recorded now, after what was delivered. Undefined for nothing. */
  past(node: string): NodeQuery | undefined {
    const restored = this.#restoredView(node);
    if (restored === undefined && this.#start.sinceNs === undefined) return undefined;
    const view = restored ?? this.#freshView(node);
    const query = this.#query(view, undefined, this.#start.sinceNs);
    this.#position.add(view);
    return query;
  }

  /** For a node that is served from its recorder while others are live: what comes after its delivered events. */
  late(view: NodeView, upTo: Position): NodeQuery {
    this.#passed.delete(view);
    return this.#query(view, upTo, this.#start.joinSinceNs ?? this.#start.sinceNs);
  }

  /** Names of all nodes that the registry, the log or, as far as there is room, the cursor knows. */
  known(): ReadonlySet<string> {
    const names = new Set<string>();
    for (const { name } of this.#registry.all()) names.add(name);
    for (const log of this.#store.all()) {
      for (const node of log.nodes())
        if (this.#checked.topics.some((topic) => log.coveredTo(node, topic))) names.add(node);
    }
    // Else who resumes for ever would have cursors name all nodes that there ever were.
    for (const name of this.#start.resumed?.named ?? []) if (names.size < NODES_MAX) names.add(name);
    return names;
  }

  /** End of the window by the node's clock, wall nanoseconds, exclusive; undefined if it has no end. */
  untilNs(node: string): bigint | undefined {
    const { untilNs } = this.#checked.window;
    return untilNs === undefined ? undefined : untilNs + this.#offsetNs(node);
  }

  #offsetNs(node: string): bigint {
    return this.#registry.record(node)?.clockOffsetNs ?? 0n;
  }

  /**
   * Position up to which history is needed at this moment: frames after the log's present end have everything after it.
   * Undefined when the node has no hold, so that it cannot be asked, and while its log goes back.
   */
  meeting(node: string): Position | undefined {
    const hold = this.hold(node);
    // Once that log was read again nodes connect again, and are served then.
    if (this.#store.partition(partitionOf(node)).isGoingBack) return undefined;
    return hold && this.#meetingAt(node, hold);
  }

  #meetingAt(node: string, hold: Position): Position {
    return laterPosition(hold, this.#registry.coveredTo(node, this.#checked.topics));
  }

  /** The query to the recorder for what comes after the delivered events. */
  #query(view: NodeView, upTo: Position | undefined, sinceNs: bigint | undefined): NodeQuery {
    const { node } = view;
    const { topics } = this.#checked;
    const floors = new Map<string, Position>();
    for (const topic of topics) {
      const floor = view.floor(topic);
      if (floor) floors.set(topic, floor);
    }
    // One query covers all topics, so it starts at the earliest floor; what the others had is clipped by their floors.
    const after = earliest(floors.values());
    const afterKey = after === undefined ? view.afterKey : undefined;
    this.#markAhead(view);
    const fromNs = afterKey?.wallNs ?? (sinceNs === undefined ? 0n : sinceNs + this.#offsetNs(node));
    return {
      node,
      floors,
      afterKey,
      request: {
        predicates: this.#selectors.predicates.map(({ spec }) => spec),
        sinceNs: after !== undefined || fromNs <= 0n ? undefined : fromNs,
        untilNs: this.untilNs(node),
        after,
        // What a replay delivered may be further than what the log has: only the recorder can tell how far that is.
        upTo: afterKey === undefined ? upTo : undefined,
      },
    };
  }

  /**
   * Notes where the next frame of each topic begins. Events that history brings from after that position belong to a
   * frame that is still to come, and must be subtracted from its counts.
   */
  #markAhead(view: NodeView): void {
    const hold = this.hold(view.node);
    for (const topic of hold === undefined ? [] : this.#checked.topics) {
      const from = laterPosition(hold!, this.#registry.coveredTo(view.node, [topic]));
      const floor = view.floor(topic);
      const before = view.ahead(topic);
      if (floor === undefined || comparePositions(from, floor) >= 0) view.setAhead(topic, { from, tally: NONE });
      else if (!before || comparePositions(before.from, from) !== 0) view.setAhead(topic, undefined);
    }
  }

  /** Marks what the log has of this node at this moment as already read. */
  #markSeen(view: NodeView): void {
    for (const [topic, to] of this.#inLog(view.node)) view.workedOff(topic, to);
  }

  /** By topic, the position up to which the log has this node at this moment. */
  *#inLog(node: string): Generator<[topic: string, to: Position]> {
    for (const topic of this.#checked.topics) {
      const to = this.#store.coveredTo(node, topic);
      if (to) yield [topic, to];
    }
  }

  /** In a resumed replay, the cursor's place in merged order says what was delivered of this node. */
  #freshView(node: string): NodeView {
    const view = new NodeView(node);
    deliveredTo(view, this.#start.resumed?.state.history);
    return view;
  }

  /** The view that the cursor describes; undefined when the cursor says nothing of the node. */
  #restoredView(node: string): NodeView | undefined {
    const { resumed } = this.#start;
    const delivered = resumed?.of(node);
    if (resumed === undefined || delivered === undefined) return undefined;
    const view = new NodeView(node);
    if (delivered.standing?.position) view.reached(delivered.standing.position);
    deliveredTo(view, delivered.standing?.history);
    // Frames in the log are passed over until the recorder has delivered what comes before them.
    if (delivered.standing?.standing === 'late') view.wentLate();
    for (const [topic, floor] of delivered.floors) view.reachedOf(topic, floor);
    // Offsets do not say where topics begin that nobody asked for before, so cursors must.
    if (resumed.asksMoreTopics && this.#checked.topics.every((topic) => delivered.floors.has(topic))) {
      view.reached(earliest(delivered.floors.values())!);
    }
    this.#restoreOwed(view);
    for (const topic of this.#checked.topics) {
      const seen = resumed.seen(node, topic);
      if (seen) view.workedOff(topic, seen);
    }
    if (resumed.lostEndOf(node)) view.rewound();
    return view;
  }

  /** Frames from the cursor's place on are read again and owe anew, so the restored ranges end there at the latest. */
  #restoreOwed(view: NodeView): void {
    const { resumed } = this.#start;
    for (const [topic, ranges] of resumed?.of(view.node)?.standing?.owed ?? []) {
      const end = resumed?.state.places[partitionOf(view.node)]?.offset;
      if (end === undefined || !this.#checked.topics.includes(topic)) continue;
      for (const range of ranges) {
        const offsetTo = Math.min(end, range.offsetTo ?? end);
        const selectors = resumed?.owedTo(range);
        if (range.offsetFrom >= offsetTo || selectors?.length === 0) continue;
        view.owe(topic, { ...range, offsetTo, selectors, counted: false });
      }
    }
  }

  #reachesBack(view: NodeView, hold: Position): boolean {
    return this.#checked.topics.every((topic) => comparePositions(hold, view.floor(topic) ?? ORIGIN) <= 0);
  }
}

/** Of the node whose event is that place its position is known, whatever clocks say. */
function deliveredTo(view: NodeView, place: HistoryPlace | undefined): void {
  if (place?.node === view.node) view.reached(place.position);
  else view.afterKey = place;
}

function earliest(positions: Iterable<Position>): Position | undefined {
  let first: Position | undefined;
  for (const position of positions) if (!first || comparePositions(position, first) < 0) first = position;
  return first;
}

/**
 * Plans how a subscription is served by each node: what its recorder is asked
 * for, and from which position its frames in the log count. History runs up to
 * exactly the position after which the log is complete, so that nothing is
 * missing and nothing comes twice.
 */
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import { comparePositions, laterPosition, ORIGIN, type Position } from '../../wire/position.js';
import type { LogStore } from '../log/log-store.js';
import { partitionOf } from '../log/partition-log.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import { NodeView } from './cursor/node-view.js';
import type { ResumedCursor } from './cursor/resumed-cursor.js';
import type { NodeQuery } from './history/clipped-answer.js';

export interface NodePlan {
  readonly view: NodeView;
  /** Query to the recorder that comes first; undefined when the log has everything. */
  readonly query: NodeQuery | undefined;
  /** Position up to which events count as delivered once the query is done. */
  readonly skipAfter: Position | undefined;
}

export class Planner {
  readonly #checked: CheckedSubscription;
  readonly #registry: NodeRegistry;
  readonly #store: LogStore;
  readonly #resumption: ResumedCursor | undefined;
  /** Start of the past that is wanted of a node without delivered events; undefined for none, 0n for all. */
  readonly #sinceNs: bigint | undefined;

  constructor(
    checked: CheckedSubscription,
    registry: NodeRegistry,
    store: LogStore,
    resumption: ResumedCursor | undefined,
    sinceNs: bigint | undefined,
  ) {
    this.#checked = checked;
    this.#registry = registry;
    this.#store = store;
    this.#resumption = resumption;
    this.#sinceNs = sinceNs;
  }

  /** For a node at the subscription's start. Undefined when the node has no hold for the predicate (yet). */
  follow(node: string): NodePlan | undefined {
    const hold = this.#registry.hold(node, this.#checked.predicate.id);
    if (hold === undefined) return undefined;
    const view = this.#restoredView(node);
    const meeting = this.meeting(node, hold);
    if (view !== undefined) {
      if (view.state === 'live' && this.#reachesBack(view, hold))
        return { view, query: undefined, skipAfter: view.skip };
      return { view, query: this.query(view, meeting), skipAfter: meeting };
    }
    const fresh = this.#freshView(node);
    // The node came after the cursor was given, so all its frames lie after the cursor's offsets and are to be read.
    const fromCursor = this.#resumption !== undefined && this.#resumption.state.history === undefined;
    if (!fromCursor) this.markSeen(fresh);
    if (this.#sinceNs === undefined) {
      // Each topic starts at the end of its last frame. The furthest of these ends could lie within a coming frame.
      fresh.reached(hold);
      return { view: fresh, query: undefined, skipAfter: fresh.skip };
    }
    return { view: fresh, query: this.query(fresh, meeting), skipAfter: meeting };
  }

  /**
   * For a node that cannot be served yet. The view keeps cursors from forgetting what was delivered of the node, or
   * that its past is still to come. Undefined when there is nothing to remember.
   */
  waiting(node: string, joinSinceNs: bigint | undefined): NodeView | undefined {
    const owed = joinSinceNs !== undefined || this.#resumption?.state.history !== undefined;
    const view = this.#restoredView(node) ?? (owed ? this.#freshView(node) : undefined);
    view?.wentLate();
    return view;
  }

  /** For a node that joins later, at the present end of the log. Undefined when it has no hold (yet). */
  join(node: string, sinceNs: bigint | undefined): NodePlan | undefined {
    const hold = this.#registry.hold(node, this.#checked.predicate.id);
    if (hold === undefined) return undefined;
    const restored = this.#restoredView(node);
    const view = restored ?? new NodeView(node);
    const meeting = this.meeting(node, hold);
    this.markSeen(view);
    if (restored === undefined && sinceNs === undefined) {
      view.reached(hold);
      return { view, query: undefined, skipAfter: hold };
    }
    return { view, query: this.query(view, meeting, sinceNs), skipAfter: meeting };
  }

  /** For a replay without live events: what is recorded now, after what was delivered. Undefined for nothing. */
  past(node: string): NodePlan | undefined {
    const restored = this.#restoredView(node);
    if (restored === undefined && this.#sinceNs === undefined) return undefined;
    const view = restored ?? this.#freshView(node);
    return { view, query: this.query(view, undefined), skipAfter: undefined };
  }

  /** Position up to which history is needed: frames after the log's present end have everything after it. */
  meeting(node: string, hold: Position): Position {
    return laterPosition(hold, this.#registry.coveredTo(node, this.#checked.topics));
  }

  /** The query to the recorder for what comes after the delivered events. */
  query(view: NodeView, upTo: Position | undefined, sinceNs = this.#sinceNs): NodeQuery {
    const { node } = view;
    const { predicate, window, topics } = this.#checked;
    const offsetNs = this.#registry.record(node)?.clock.windowOffsetNs ?? 0n;
    const floors = new Map<string, Position>();
    for (const topic of topics) {
      const floor = view.floor(topic);
      if (floor) floors.set(topic, floor);
    }
    // One query covers all topics, so it starts at the earliest floor; what the others had is clipped by their floors.
    const after = earliest(floors.values());
    const afterKey = after === undefined ? view.afterKey : undefined;
    this.#markAhead(view);
    const fromNs = afterKey?.wallNs ?? (sinceNs === undefined ? 0n : sinceNs + offsetNs);
    return {
      node,
      floors,
      afterKey,
      request: {
        predicate: predicate.spec,
        sinceNs: after !== undefined || fromNs <= 0n ? undefined : fromNs,
        untilNs: window.untilNs === undefined ? undefined : window.untilNs + offsetNs,
        after,
        upTo,
      },
    };
  }

  /**
   * Notes where the next frame of each topic begins. Events that history brings from after that position belong to a
   * frame that is still to come, and must be subtracted from its counts.
   */
  #markAhead(view: NodeView): void {
    const hold = this.#registry.hold(view.node, this.#checked.predicate.id);
    for (const topic of hold === undefined ? [] : this.#checked.topics) {
      const from = laterPosition(hold!, this.#registry.coveredTo(view.node, [topic]));
      const floor = view.floor(topic);
      const before = view.ahead.get(topic);
      if (floor === undefined || comparePositions(from, floor) >= 0) view.ahead.set(topic, { from, events: 0 });
      else if (!before || comparePositions(before.from, from) !== 0) view.ahead.delete(topic);
    }
  }

  /** Marks what the log has of this node at this moment as already read. */
  markSeen(view: NodeView): void {
    for (const topic of this.#checked.topics) {
      const to = this.#store.coveredTo(view.node, topic);
      if (to) view.workedOff(topic, to);
    }
  }

  /** In a resumed replay, the cursor's place in merged order says what was delivered of this node. */
  #freshView(node: string): NodeView {
    const view = new NodeView(node);
    view.afterKey = this.#resumption?.state.history;
    return view;
  }

  /** The view that the cursor describes; undefined when the cursor says nothing of the node. */
  #restoredView(node: string): NodeView | undefined {
    const delivered = this.#resumption?.of(node);
    if (this.#resumption === undefined || delivered === undefined) return undefined;
    const view = new NodeView(node);
    if (delivered.standing?.position) view.reached(delivered.standing.position);
    view.afterKey = delivered.standing?.history;
    // Frames in the log are passed over until the recorder has delivered what comes before them.
    if (delivered.standing?.standing === 'late') view.wentLate();
    for (const [topic, floor] of delivered.floors) view.reachedOf(topic, floor);
    this.#restoreOwed(view);
    for (const topic of this.#checked.topics) {
      const seen = this.#resumption.seen(node, topic);
      if (seen) view.workedOff(topic, seen);
    }
    return view;
  }

  /** Frames from the cursor's place on are read again and owe anew, so the restored ranges end there at the latest. */
  #restoreOwed(view: NodeView): void {
    const resumption = this.#resumption;
    for (const [topic, ranges] of resumption?.of(view.node)?.standing?.owed ?? []) {
      const end = resumption?.state.places[partitionOf(view.node)]?.offset;
      if (end === undefined || !this.#checked.topics.includes(topic)) continue;
      for (const range of ranges) {
        const offsetTo = Math.min(end, range.offsetTo ?? end);
        if (range.offsetFrom < offsetTo) view.owe(topic, { ...range, offsetTo, counted: false });
      }
    }
  }

  #reachesBack(view: NodeView, hold: Position): boolean {
    return this.#checked.topics.every((topic) => comparePositions(hold, view.floor(topic) ?? ORIGIN) <= 0);
  }
}

function earliest(positions: Iterable<Position>): Position | undefined {
  let first: Position | undefined;
  for (const position of positions) if (!first || comparePositions(position, first) < 0) first = position;
  return first;
}

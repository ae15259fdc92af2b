/**
 * How each node is served from a subscription's start: what comes from its
 * recorder, and from where its frames in the log count. History runs up to
 * exactly the position behind which the log is complete, so there is no seam.
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
  /** What the recorder is asked for first; undefined when the log says all. */
  readonly query: NodeQuery | undefined;
  /** What the view skips once the query is done. */
  readonly skipAfter: Position | undefined;
}

export class Planner {
  constructor(
    private readonly checked: CheckedSubscription,
    private readonly registry: NodeRegistry,
    private readonly store: LogStore,
    private readonly resumption: ResumedCursor | undefined,
    /** From where the past of a node is wanted of which nothing was delivered; undefined: not at all. 0n: all. */
    private readonly sinceNs: bigint | undefined,
  ) {}

  /** At the start, for a node whose frames hold for the predicate; undefined when they do not (yet). */
  follow(node: string): NodePlan | undefined {
    const hold = this.registry.hold(node, this.checked.predicate.id);
    if (hold === undefined) return undefined;
    const view = this.restoredView(node);
    const meeting = this.meeting(node, hold);
    if (view !== undefined) {
      if (view.state === 'live' && this.reachesBack(view, hold))
        return { view, query: undefined, skipAfter: view.skip };
      return { view, query: this.query(view, meeting), skipAfter: meeting };
    }
    const fresh = this.freshView(node);
    // A node that came after the cursor was given: everything since is behind the cursor's offsets.
    const fromCursor = this.resumption !== undefined && this.resumption.state.history === undefined;
    if (!fromCursor) this.markSeen(fresh);
    if (this.sinceNs === undefined) {
      // The log begins where its last frames ended, topic for topic: within none that is still to come.
      fresh.reached(hold);
      return { view: fresh, query: undefined, skipAfter: fresh.skip };
    }
    return { view: fresh, query: this.query(fresh, meeting), skipAfter: meeting };
  }

  /**
   * For a node that cannot be served yet, while a cursor must not forget what was delivered of it, or that its past is
   * still to come. Undefined when nothing is to be remembered.
   */
  waiting(node: string, joinSinceNs: bigint | undefined): NodeView | undefined {
    const owed = joinSinceNs !== undefined || this.resumption?.state.history !== undefined;
    const view = this.restoredView(node) ?? (owed ? this.freshView(node) : undefined);
    view?.wentLate();
    return view;
  }

  /** For a node that joins later, at the present end of the log. */
  join(node: string, sinceNs: bigint | undefined): NodePlan | undefined {
    const hold = this.registry.hold(node, this.checked.predicate.id);
    if (hold === undefined) return undefined;
    const restored = this.restoredView(node);
    const view = restored ?? new NodeView(node);
    const meeting = this.meeting(node, hold);
    this.markSeen(view);
    if (restored === undefined && sinceNs === undefined) {
      view.reached(hold);
      return { view, query: undefined, skipAfter: hold };
    }
    return { view, query: this.query(view, meeting, sinceNs), skipAfter: meeting };
  }

  /** For a replay that nothing follows: what is recorded now, from what was delivered on. */
  past(node: string): NodePlan | undefined {
    const restored = this.restoredView(node);
    if (restored === undefined && this.sinceNs === undefined) return undefined;
    const view = restored ?? this.freshView(node);
    return { view, query: this.query(view, undefined), skipAfter: undefined };
  }

  /** Behind this position the log holds everything from its present end on. */
  meeting(node: string, hold: Position): Position {
    return laterPosition(hold, this.registry.coveredTo(node, this.checked.topics));
  }

  /** What the recorder is asked, behind what was delivered. */
  query(view: NodeView, upTo: Position | undefined, sinceNs = this.sinceNs): NodeQuery {
    const { node } = view;
    const { predicate, window, topics } = this.checked;
    const offsetNs = this.registry.record(node)?.clock.windowOffsetNs ?? 0n;
    const floors = new Map<string, Position>();
    for (const topic of topics) {
      const floor = view.floor(topic);
      if (floor) floors.set(topic, floor);
    }
    // The earliest of all topics: what the others had already is clipped by their floors.
    const after = earliest(floors.values());
    const afterKey = after === undefined ? view.afterKey : undefined;
    this.markAhead(view);
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

  /** Where the next frame of each topic begins: what history brings from behind there, it brings ahead of the frame. */
  private markAhead(view: NodeView): void {
    const hold = this.registry.hold(view.node, this.checked.predicate.id);
    for (const topic of hold === undefined ? [] : this.checked.topics) {
      const from = laterPosition(hold!, this.registry.coveredTo(view.node, [topic]));
      const floor = view.floor(topic);
      const before = view.ahead.get(topic);
      if (floor === undefined || comparePositions(from, floor) >= 0) view.ahead.set(topic, { from, events: 0 });
      else if (!before || comparePositions(before.from, from) !== 0) view.ahead.delete(topic);
    }
  }

  /** Where the log stands for this node at this moment, as what was worked off. */
  markSeen(view: NodeView): void {
    for (const topic of this.checked.topics) {
      const to = this.store.coveredTo(view.node, topic);
      if (to) view.workedOff(topic, to);
    }
  }

  /** In a replay that goes on, what was delivered of this node is known by the place in merged order. */
  private freshView(node: string): NodeView {
    const view = new NodeView(node);
    view.afterKey = this.resumption?.state.history;
    return view;
  }

  /** What a cursor says of the node; undefined when it says nothing. */
  private restoredView(node: string): NodeView | undefined {
    const delivered = this.resumption?.of(node);
    if (this.resumption === undefined || delivered === undefined) return undefined;
    const view = new NodeView(node);
    if (delivered.standing?.position) view.reached(delivered.standing.position);
    view.afterKey = delivered.standing?.history;
    // Until its recorder has been asked the log counts for nothing.
    if (delivered.standing?.standing === 'late') view.wentLate();
    for (const [topic, floor] of delivered.floors) view.reachedOf(topic, floor);
    this.restoreOwed(view);
    for (const topic of this.checked.topics) {
      const seen = this.resumption.seen(node, topic);
      if (seen) view.workedOff(topic, seen);
    }
    return view;
  }

  /** From the cursor's place on all is told anew: what was owed ends there at the latest. */
  private restoreOwed(view: NodeView): void {
    const { resumption } = this;
    for (const [topic, ranges] of resumption?.of(view.node)?.standing?.owed ?? []) {
      const end = resumption?.state.places[partitionOf(view.node)]?.offset;
      if (end === undefined || !this.checked.topics.includes(topic)) continue;
      for (const range of ranges) {
        const offsetTo = Math.min(end, range.offsetTo ?? end);
        if (range.offsetFrom < offsetTo) view.owe(topic, { ...range, offsetTo, counted: false });
      }
    }
  }

  private reachesBack(view: NodeView, hold: Position): boolean {
    return this.checked.topics.every((topic) => comparePositions(hold, view.floor(topic) ?? ORIGIN) <= 0);
  }
}

function earliest(positions: Iterable<Position>): Position | undefined {
  let first: Position | undefined;
  for (const position of positions) if (!first || comparePositions(position, first) < 0) first = position;
  return first;
}

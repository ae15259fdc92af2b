/**
 * Where a subscription stands, over all nodes and partitions, and the cursor
 * that says so.
 */
import type { CursorNode, CursorState, HistoryPlace } from '../../wire/cursor.js';
import { encodeCursor } from '../../wire/cursor.js';
import type { LogPlace } from '../fan-out.js';
import type { NodeView } from './node-view.js';

export interface Partial {
  readonly place: LogPlace;
  /** Of the frame. */
  readonly offset: number;
  /** Behind the last delivered event. */
  readonly index: number;
}

export class Standing {
  readonly views = new Map<string, NodeView>();
  /** Views that a cursor must name. Checked again at every frame of theirs. */
  private readonly apart = new Set<NodeView>();
  /** While the past is replayed: offsets say nothing yet. */
  history: HistoryPlace | undefined;
  partial: Partial | undefined;

  constructor(
    private readonly logId: string,
    private readonly predicateId: bigint,
    readonly topics: readonly string[],
    /** From where nodes are served that join later; undefined: from when they join. 0n: from the start. */
    readonly joinSinceNs: bigint | undefined,
    /** Per topic, one per partition. Empty for a subscription that does not follow. */
    readonly places: ReadonlyMap<string, readonly LogPlace[]>,
  ) {}

  add(view: NodeView): void {
    this.views.set(view.node, view);
    this.review(view);
  }

  /** After a change of the view. */
  review(view: NodeView): void {
    if (view.apart(this.topics)) this.apart.add(view);
    else this.apart.delete(view);
  }

  /** Empty when more nodes stand apart at this moment than a cursor can name. */
  cursor(): string {
    const { logId, predicateId, joinSinceNs: sinceNs, history } = this;
    const state: CursorState =
      history === undefined
        ? { logId, predicateId, sinceNs, partial: this.cursorPartial(), offsets: this.offsets(), nodes: this.nodes() }
        : { logId, predicateId, sinceNs, history, offsets: new Map(), nodes: this.nodes('late') };
    return encodeCursor(state) ?? '';
  }

  private offsets(): Map<string, number[]> {
    const offsets = new Map<string, number[]>();
    for (const [topic, places] of this.places) {
      offsets.set(
        topic,
        places.map((place) => (this.partial?.place === place ? this.partial.offset : place.delivered)),
      );
    }
    return offsets;
  }

  private cursorPartial(): CursorState['partial'] {
    if (this.partial === undefined) return undefined;
    const { place, index } = this.partial;
    return { topic: place.log.topic, partition: place.log.partition, index };
  }

  private nodes(only?: 'late'): CursorNode[] {
    const nodes: CursorNode[] = [];
    for (const { node, state, skip } of this.apart) {
      const standing = state === 'late' ? 'late' : 'beyond';
      if (only === undefined || standing === only) nodes.push({ node, standing, position: skip });
    }
    return nodes;
  }
}

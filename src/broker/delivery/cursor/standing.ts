/**
 * Where a subscription stands, over all nodes and partitions, and the cursor
 * that says so.
 */
import { CURSOR_NODES_MAX } from '../../../limits.js';
import type { HistoryPlace } from '../../../wire/cursor.js';
import { encodeCursor } from '../../../wire/cursor.js';
import type { LogPlace } from '../../log/fan-out.js';
import type { NodeView } from './node-view.js';
import type { Notes } from './notes.js';

export interface Partial {
  /** Of the frame. */
  readonly offset: number;
  /** Behind the last delivered event. */
  readonly index: number;
}

/** What a note says of a view. */
type Noted = Pick<NodeView, 'state' | 'skip' | 'owedVersion'>;

export class Standing {
  readonly views = new Map<string, NodeView>();
  /** Views that a cursor must name. Checked again at every change of theirs. */
  private readonly apart = new Set<NodeView>();
  /** Views that the notes name, and those of whom they say no longer what is true. */
  private readonly noted = new Map<NodeView, Noted>();
  private readonly changed = new Set<NodeView>();
  /** While the past is replayed: offsets say nothing yet. */
  private replayed: HistoryPlace | undefined;
  /** Frames that were delivered up to an event within, and not read again since. */
  readonly partials = new Map<LogPlace, Partial>();

  constructor(
    private readonly logId: string,
    private readonly predicateId: bigint,
    readonly topics: readonly string[],
    /** From where nodes are served that join later; undefined: from when they join. 0n: from the start. */
    readonly joinSinceNs: bigint | undefined,
    /** Per topic, one per partition. Empty for a subscription that does not follow. */
    readonly places: ReadonlyMap<string, readonly LogPlace[]>,
    private readonly notes: Notes,
  ) {}

  get history(): HistoryPlace | undefined {
    return this.replayed;
  }

  /** The place in merged order, or none: from then on offsets say where each node stands. */
  set history(place: HistoryPlace | undefined) {
    const ended = this.replayed !== undefined && place === undefined;
    this.replayed = place;
    if (ended) for (const view of this.views.values()) this.review(view);
  }

  add(view: NodeView): void {
    this.views.set(view.node, view);
    this.review(view);
  }

  /** After a change of the view. */
  review(view: NodeView): void {
    const late = view.state === 'late';
    const apart = this.replayed === undefined ? view.apart(this.topics) : late;
    if (apart) this.apart.add(view);
    else this.apart.delete(view);
    const noted = this.noted.get(view);
    const same = noted?.state === view.state && noted.skip === view.skip && noted.owedVersion === view.owedVersion;
    const changed = noted === undefined ? apart : !same;
    if (changed) this.changed.add(view);
    else this.changed.delete(view);
  }

  /** Empty when more nodes stand apart than a cursor can name, and the disk takes no note of them. */
  cursor(): string {
    // Few enough again: notes are not needed.
    if (this.notes.gone || (this.notes.place && this.apart.size <= CURSOR_NODES_MAX / 2)) this.forgetNotes();
    const named = this.notes.place === undefined ? this.apart : this.changed;
    const cursor = named.size <= CURSOR_NODES_MAX ? this.encode(named) : undefined;
    if (cursor !== undefined) return cursor;
    this.takeNote();
    return (this.notes.place && this.encode(this.changed)) ?? '';
  }

  /** Resolves when the cursors given up to now outlive the machine. */
  async settled(): Promise<void> {
    this.cursor();
    await this.notes.settled();
    // They name the logs' ends. Where the disk fails there are no better ones.
    await Promise.allSettled([...this.places.values()].flat().map(({ log }) => log.settled()));
  }

  private encode(named: ReadonlySet<NodeView>): string | undefined {
    const { logId, predicateId, joinSinceNs: sinceNs, replayed: history } = this;
    const nodes = [...named].map((view) => view.toCursor());
    const { place: note } = this.notes;
    if (history !== undefined) {
      return encodeCursor({ logId, predicateId, sinceNs, history, partials: [], offsets: new Map(), nodes, note });
    }
    const partials = [...this.partials].map(([{ log }, { index }]) => {
      return { topic: log.topic, partition: log.partition, index };
    });
    return encodeCursor({ logId, predicateId, sinceNs, partials, offsets: this.offsets(), nodes, note });
  }

  private takeNote(): void {
    if (!this.notes.continued) this.forgetNotes();
    const named = [...(this.notes.place === undefined ? this.apart : this.changed)];
    if (!this.notes.write(named.map((view) => view.toCursor()))) {
      this.forgetNotes();
      return;
    }
    for (const view of named) {
      this.noted.set(view, { state: view.state, skip: view.skip, owedVersion: view.owedVersion });
    }
    this.changed.clear();
  }

  private forgetNotes(): void {
    this.notes.forget();
    this.noted.clear();
    this.changed.clear();
    for (const view of this.apart) this.changed.add(view);
  }

  private offsets(): Map<string, number[]> {
    const offsets = new Map<string, number[]>();
    for (const [topic, places] of this.places) {
      offsets.set(
        topic,
        places.map((place) => this.partials.get(place)?.offset ?? place.delivered),
      );
    }
    return offsets;
  }
}

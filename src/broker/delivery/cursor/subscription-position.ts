/**
 * Where a subscription stands, over all nodes and partitions, and the cursor
 * that says so.
 */
import { CURSOR_NODES_MAX } from '../../../limits.js';
import type { CursorPlace, HistoryPlace } from '../../../wire/cursor.js';
import { encodeCursor } from '../../../wire/cursor.js';
import type { LogPlace } from '../../log/fan-out.js';
import type { CursorNotes } from './cursor-notes.js';
import type { NodeView } from './node-view.js';

/** A frame that was delivered up to an event within. */
export interface PartlyDelivered {
  readonly offset: number;
  /** Behind the last delivered event. */
  readonly index: number;
}

/** What a note says of a view. */
type Noted = Pick<NodeView, 'state' | 'skip' | 'owedVersion'>;

export class SubscriptionPosition {
  readonly views = new Map<string, NodeView>();
  /** Views that a cursor must name. Checked again at every change of theirs. */
  private readonly apart = new Set<NodeView>();
  /** Views that the notes name, and those of whom they say no longer what is true. */
  private readonly noted = new Map<NodeView, Noted>();
  private readonly changed = new Set<NodeView>();
  /** While a note is written. */
  private noting: Promise<void> | undefined;
  /** While the past is replayed: offsets say nothing yet. */
  private replayed: HistoryPlace | undefined;
  /** Frames that were delivered up to an event within, and not read again since. */
  readonly partials = new Map<LogPlace, PartlyDelivered>();

  constructor(
    private readonly clusterId: string,
    private readonly predicateId: bigint,
    readonly topics: readonly string[],
    /** From where nodes are served that join later; undefined: from when they join. 0n: from the start. */
    readonly joinSinceNs: bigint | undefined,
    /** One per partition. Empty for a subscription that does not follow. */
    readonly places: readonly LogPlace[],
    private readonly notes: CursorNotes,
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
    view.watch(() => this.review(view));
    this.review(view);
  }

  private review(view: NodeView): void {
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

  /**
   * Where more nodes stand apart than a cursor can name, they are named by a note in the log. To be awaited before each
   * cursor: what is delivered between the two is no more than a single batch.
   */
  async makeNotes(): Promise<void> {
    if (this.noting) await this.noting;
    // Few enough again: notes are not needed.
    if (this.notes.gone || (this.notes.place && this.apart.size <= CURSOR_NODES_MAX / 2)) this.forgetNotes();
    const { named } = this;
    if (named.size === 0 || (named.size < CURSOR_NODES_MAX && this.encode(named) !== undefined)) return;
    this.noting ??= this.takeNote().finally(() => {
      this.noting = undefined;
    });
    await this.noting;
  }

  /** Empty when more nodes stand apart than a cursor can name, and the disk takes no note of them. */
  cursor(): string {
    const { named } = this;
    return (named.size <= CURSOR_NODES_MAX && !this.notes.gone && this.encode(named)) || '';
  }

  /** Resolves when the cursors given up to now outlive the machine. */
  async settled(): Promise<void> {
    await this.makeNotes();
    await this.notes.settled();
    // They name the logs' ends. Where the disk fails there are no better ones.
    await Promise.allSettled(this.places.map(({ log }) => log.settled()));
  }

  private get named(): ReadonlySet<NodeView> {
    return this.notes.place === undefined ? this.apart : this.changed;
  }

  private encode(named: ReadonlySet<NodeView>): string | undefined {
    const { clusterId, predicateId, joinSinceNs: sinceNs, replayed: history } = this;
    const nodes = [...named].map((view) => view.toCursor());
    const { place: note } = this.notes;
    if (history !== undefined) {
      return encodeCursor({ clusterId, predicateId, sinceNs, history, places: [], nodes, note });
    }
    return encodeCursor({
      clusterId,
      predicateId,
      sinceNs,
      places: this.places.map((place) => this.placeOf(place)),
      nodes,
      note,
    });
  }

  private async takeNote(): Promise<void> {
    if (!this.notes.continued) this.forgetNotes();
    // What a view says when the note is made; it may change while that is written.
    const named = [...this.named].map((view) => {
      const noted: Noted = { state: view.state, skip: view.skip, owedVersion: view.owedVersion };
      return { view, noted, node: view.toCursor() };
    });
    if (!(await this.notes.write(named.map(({ node }) => node)))) {
      this.forgetNotes();
      return;
    }
    for (const { view, noted } of named) this.noted.set(view, noted);
    for (const { view } of named) this.review(view);
  }

  private forgetNotes(): void {
    this.notes.forget();
    this.noted.clear();
    this.changed.clear();
    for (const view of this.apart) this.changed.add(view);
  }

  private placeOf(place: LogPlace): CursorPlace {
    const partial = this.partials.get(place);
    const offset = partial?.offset ?? place.delivered;
    return { offset, mark: place.markBefore(offset), index: partial?.index };
  }
}

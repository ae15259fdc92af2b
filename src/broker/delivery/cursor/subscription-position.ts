/**
 * How far a subscription has delivered, over all nodes and partitions, and the
 * cursors that state it.
 */
import { CURSOR_NODES_MAX } from '../../../limits.js';
import type { CursorNode, CursorPlace, CursorState, HistoryPlace } from '../../../wire/cursor.js';
import { encodeCursor } from '../../../wire/cursor.js';
import type { LogPlace } from '../../log/fan-out.js';
import { partitionOf } from '../../log/partition-log.js';
import type { TopicEnd } from '../../log/topic-ends.js';
import type { DocumentDelivery } from '../documents/document-delivery.js';
import { compareKeys } from '../history/history-merge.js';
import type { CursorNotes } from './cursor-notes.js';
import { CursorSize } from './cursor-size.js';
import type { NodeView } from './node-view.js';

/** A frame of which only the first events were delivered. */
export interface PartlyDelivered {
  readonly offset: number;
  /** Index of the first event that was not delivered. */
  readonly index: number;
}

/** State of a view when it was written to a note, to detect later changes. */
type Noted = Pick<NodeView, 'state' | 'skip' | 'owedVersion'>;

export interface PositionOptions {
  readonly clusterId: string;
  /** What cursors say of the predicate, or of the selectors. */
  readonly asked: Pick<CursorState, 'predicateId' | 'selectors'>;
  readonly topics: readonly string[];
  /** Wall time from which nodes that join later are served; undefined for live only, 0n for all they have. */
  readonly joinSinceNs: bigint | undefined;
  /** Place in merged order after which the past is replayed; undefined when offsets count from the start. */
  readonly replayFrom: HistoryPlace | undefined;
  /** One per partition. Empty for a subscription that does not follow. */
  readonly places: readonly LogPlace[];
  readonly notes: CursorNotes;
  /** Undefined when cursors need not name logs of documents. */
  readonly documents?: DocumentDelivery | undefined;
}

export class SubscriptionPosition {
  readonly views = new Map<string, NodeView>();
  /** Views that a cursor must name. Updated at every change of a view. */
  readonly #apart = new Set<NodeView>();
  /** Views that the notes name, with the state noted. */
  readonly #noted = new Map<NodeView, Noted>();
  /** Views that a cursor must name itself, because the notes do not say what is true of them now. */
  readonly #changed = new Set<NodeView>();
  /** Set while a note is being written. */
  #noting: Promise<void> | undefined;
  /** Place in merged order while the past is replayed; offsets count for nothing until it is undefined. */
  #replayed: HistoryPlace | undefined;
  /** Views that changed since takeMoved(), which is not asked by most. */
  #moved: Set<NodeView> | undefined;
  /** Partly delivered frames that were not read again since. */
  readonly #partials = new Map<LogPlace, PartlyDelivered>();
  readonly #size: CursorSize;

  readonly topics: readonly string[];
  /** One per partition. Empty for a subscription that does not follow. */
  readonly places: readonly LogPlace[];
  readonly #options: PositionOptions;
  readonly #notes: CursorNotes;

  constructor(options: PositionOptions) {
    this.#options = options;
    this.#notes = options.notes;
    this.#size = new CursorSize(options.asked);
    this.topics = options.topics;
    this.places = options.places;
    this.#replayed = options.replayFrom;
  }

  /** True while a place in merged order says how far the past was delivered. */
  get replaying(): boolean {
    return this.#replayed !== undefined;
  }

  /** Approximate number of frames that are still to be read, over all partitions. */
  get lag(): number {
    let lag = 0;
    for (const place of this.places) lag += place.lag;
    return lag + (this.#options.documents?.lag ?? 0);
  }

  /** The past was delivered up to `place`. An earlier place than before, or one after the replay, changes nothing. */
  replayedTo(place: HistoryPlace): void {
    if (this.#replayed !== undefined && compareKeys(place, this.#replayed) > 0) this.#replayed = place;
  }

  /** From here on offsets say how far each node was delivered. */
  replayEnded(): void {
    if (this.#replayed === undefined) return;
    this.#replayed = undefined;
    for (const view of this.views.values()) this.#review(view);
  }

  /** Until the frame was read again, cursors point into it, so that its rest is not lost. */
  partlyDelivered(place: LogPlace, partial: PartlyDelivered): void {
    this.#partials.set(place, partial);
  }

  /** The partly delivered frame at this place, if any, was read again. */
  readAgain(place: LogPlace): void {
    this.#partials.delete(place);
  }

  add(view: NodeView): void {
    this.views.set(view.node, view);
    view.watch(this.#review);
    this.#review(view);
  }

  /** Frames of the log up to there do not concern the subscription. */
  passed(end: TopicEnd): void {
    const view = this.views.get(end.node);
    // Of late nodes all frames are passed over until their history meets the log.
    if (view?.state === 'live') view.passed(end);
  }

  /**
   * A partition's log has lost what it had from an offset on. Returns of what it is not known any more what is owed.
   * @param isRead see NodeView.rewound
   */
  rewound(partition: number, offset: number, isRead: boolean): { readonly node: string; readonly topic: string }[] {
    this.#notes.rewound(partition, offset);
    const views = [...this.views.values()].filter(({ node }) => partitionOf(node) === partition);
    for (const view of views) view.rewound(isRead);
    return views.flatMap((view) => view.giveUpOwed(offset).map((topic) => ({ node: view.node, topic })));
  }

  /**
   * How far the nodes were delivered that moved since the last call, all of them at the first one. Undefined while a place
   * in merged order says it.
   */
  takeMoved(): readonly CursorNode[] | undefined {
    if (this.replaying) return undefined;
    const moved = this.#moved ?? this.views.values();
    this.#moved = new Set();
    return Array.from(moved, (view) => view.toPlace());
  }

  readonly #review = (view: NodeView): void => {
    this.#size.changed(view);
    this.#moved?.add(view);
    const late = view.state === 'late';
    const apart = this.#replayed === undefined ? view.apart(this.topics) : late;
    if (apart) this.#apart.add(view);
    else this.#apart.delete(view);
    const noted = this.#noted.get(view);
    const same = noted?.state === view.state && noted.skip === view.skip && noted.owedVersion === view.owedVersion;
    const changed = noted === undefined ? apart : !same;
    if (changed) this.#changed.add(view);
    else this.#changed.delete(view);
  };

  /**
   * Writes a note to the log when a cursor would have to name too many nodes. Await this before each cursor, with at
   * most one batch delivered in between, so that cursor() never has more to name than it can.
   */
  async makeNotes(): Promise<void> {
    if (this.#noting) await this.#noting;
    // A cursor can name all the nodes by itself again, or the notes are unusable.
    if (this.#notes.gone || (this.#notes.place && this.#apart.size <= CURSOR_NODES_MAX / 2)) this.#forgetNotes();
    const named = this.#named;
    if (named.size === 0 || (named.size < CURSOR_NODES_MAX && this.#fits(named))) return;
    this.#noting ??= this.#takeNote().finally(() => {
      this.#noting = undefined;
    });
    await this.#noting;
  }

  /** Empty when there are more nodes to name than fit in a cursor, and the disk takes no note of them. */
  cursor(): string {
    const named = this.#named;
    return (named.size <= CURSOR_NODES_MAX && !this.#notes.gone && this.#encode(named)) || '';
  }

  /** Resolves when the cursors given out so far survive a crash of the machine, as far as the disk works. */
  async settled(): Promise<void> {
    await this.makeNotes();
    await this.#notes.settled();
    // Cursors name the ends of the logs. If the disk fails there is no better cursor, so failures are ignored. What other machines
    // keep is read from them: what is under way to them is in no cursor, and may be so for as long as they have no leader.
    await Promise.allSettled(this.places.flatMap(({ log }) => (log.isRemote ? [] : log.settled())));
  }

  get #named(): ReadonlySet<NodeView> {
    return this.#notes.place === undefined ? this.#apart : this.#changed;
  }

  #fits(named: ReadonlySet<NodeView>): boolean {
    return this.#size.surelyFits(named) || this.#encode(named) !== undefined;
  }

  #encode(named: ReadonlySet<NodeView>): string | undefined {
    const { clusterId, asked, joinSinceNs: sinceNs } = this.#options;
    const history = this.#replayed;
    const places = history === undefined ? this.places.map((place) => this.#placeOf(place)) : [];
    const nodes = [...named].map((view) => view.toCursor());
    const logs = this.#options.documents?.toCursor(history !== undefined);
    return encodeCursor({ clusterId, ...asked, sinceNs, history, places, nodes, note: this.#notes.place, logs });
  }

  async #takeNote(): Promise<void> {
    if (!this.#notes.continued) this.#forgetNotes();
    // Captured before the write, because a view may change during it and must then count as changed.
    const named = [...this.#named].map((view) => {
      const noted: Noted = { state: view.state, skip: view.skip, owedVersion: view.owedVersion };
      return { view, noted, node: view.toCursor() };
    });
    if (!(await this.#notes.write(named.map(({ node }) => node)))) {
      this.#forgetNotes();
      return;
    }
    for (const { view, noted } of named) this.#noted.set(view, noted);
    for (const { view } of named) this.#review(view);
  }

  #forgetNotes(): void {
    this.#notes.forget();
    this.#noted.clear();
    this.#changed.clear();
    for (const view of this.#apart) this.#changed.add(view);
  }

  #placeOf(place: LogPlace): CursorPlace {
    const partial = this.#partials.get(place);
    const offset = partial?.offset ?? place.delivered;
    return { offset, mark: place.markBefore(offset), index: partial?.index };
  }
}

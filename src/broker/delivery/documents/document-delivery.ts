/**
 * Documents of one subscription: their past as sources that are merged with what nodes recorded, and what is stored from
 * then on. The past ends at the offset where the live part begins, so that nothing is missing and nothing comes twice.
 */
import type { Signal } from '../../../flow/signal.js';
import type { Turns } from '../../../flow/turns.js';
import type { CheckedSubscription } from '../../../subscriptions/request/subscription-request.js';
import type { CursorPlace, HistoryPlace } from '../../../wire/cursor.js';
import { DOCUMENT_LOGS, documentLogOf } from '../../../wire/event/document-topics.js';
import type { Position } from '../../../wire/position.js';
import type { DocumentBatch } from '../../log/documents/document-batch.js';
import type { DocumentItem, DocumentLog } from '../../log/documents/document-log.js';
import type { DocumentLogs } from '../../log/documents/document-logs.js';
import type { TopicEnd } from '../../log/documents/topic-ends.js';
import type { SubscriptionPosition } from '../cursor/subscription-position.js';
import type { HistorySource } from '../history/history-merge.js';
import type { Outlet } from '../outlet.js';
import type { SelectorSet } from '../selectors/selector-set.js';
import type { SubscriptionStart } from '../start.js';
import { cursorLogs, DocumentPlace } from './document-place.js';
import { DocumentSource, topicsRead } from './document-source.js';
import { WantedDocuments } from './wanted-documents.js';

const ITEMS_PER_TURN = 8;

const LOST = {
  expired: 'the log no longer holds what comes next: it is kept for a time and up to a size',
  damaged: 'stored events cannot be read again',
} as const;

export class DocumentDelivery {
  readonly #checked: CheckedSubscription;
  readonly #selectors: SelectorSet;
  readonly #logs: DocumentLogs;
  readonly #start: SubscriptionStart;
  readonly #wanted: WantedDocuments;
  readonly #places: readonly DocumentPlace[];
  readonly #undo: (() => void)[] = [];
  /** Places that the resumed cursor names. */
  readonly #named = new Set<DocumentPlace>();
  /** Places up to which all was delivered, although the past is still replayed. */
  readonly #taken = new Set<DocumentPlace>();
  /** Places that have come to the window's end. */
  readonly #over = new Set<DocumentPlace>();

  /** Throws cursor_expired as DocumentPlace does. `wake` is notified of new documents. */
  constructor(
    checked: CheckedSubscription,
    selectors: SelectorSet,
    start: SubscriptionStart,
    logs: DocumentLogs,
    wake: Signal,
  ) {
    this.#checked = checked;
    this.#selectors = selectors;
    this.#logs = logs;
    this.#start = start;
    this.#wanted = new WantedDocuments(checked);
    const cursors = start.resumed?.state.logs ?? [];
    this.#places = logs.having(this.#wanted.topics).map((log) => {
      const cursor = cursors[DOCUMENT_LOGS.indexOf(log.name)];
      const place = new DocumentPlace(log, topicsRead(this.#wanted), cursor);
      if (cursor !== undefined) this.#named.add(place);
      return place;
    });
    for (const place of this.#named) this.#taken.add(place);
    for (const place of this.#places) {
      const stored = (batch: DocumentBatch) => void (this.#wanted.mayWant(batch) && wake.notify());
      this.#undo.push(place.log.follow({ stored, rewound: (offset) => place.rewound(offset) }));
      this.#undo.push(() => place.close());
    }
  }

  close(): void {
    for (const undo of this.#undo) undo();
  }

  get lag(): number {
    return this.#places.reduce((sum, { lag }) => sum + lag, 0);
  }

  /**
   * What a cursor says of the logs. While the past is replayed that is its place in merged order, but for logs that were
   * taken to their end: a node whose clock is ahead has merged order pass times that are still to come here. Selectors
   * may be added when it is resumed, and topics to a group, and begin at the cursor: so it names the ends of logs that are
   * not read now, too.
   */
  toCursor(replaying: boolean): readonly (CursorPlace | undefined)[] {
    if (replaying) return cursorLogs(this.#places.filter((place) => this.#taken.has(place)));
    const mayGrow = this.#selectors.named || this.#checked.slice !== undefined;
    const unread = mayGrow ? this.#logs.all().filter((log) => !this.#reads(log)) : [];
    return cursorLogs([...this.#places, ...unread.map((log) => new DocumentPlace(log, [], undefined))]);
  }

  #reads(log: DocumentLog): boolean {
    return this.#places.some((place) => place.log === log);
  }

  /** Everything in the past that is wanted. What is missing of it is told in between. */
  sources(outlet: Outlet): (HistorySource & { close(): void })[] {
    const { window } = this.#checked;
    const { replayFrom, sinceNs } = this.#start;
    const replaying = replayFrom !== undefined;
    // Behind a place in the logs all is delivered live.
    if (!replaying && window.follow) return [];
    return this.#places.flatMap((place) => {
      const { log, offset, index } = place;
      const named = this.#named.has(place);
      // A cursor that names its place in the log: all behind it is delivered live.
      if (named && window.follow) return [];
      const after = named ? undefined : this.#start.resumed?.state.history;
      const range = {
        sinceNs,
        untilNs: window.untilNs,
        after,
        last: after === undefined ? window.last : 0,
        from: replaying && !named ? undefined : { offset, index },
        end: window.follow ? offset : log.deliverableOffset,
      };
      const onEnded = (end: number) => this.#end(place, end);
      return new DocumentSource(log, this.#wanted, range, {
        onLost: (lost) => this.#lost(outlet, log, lost, named ? { offset, index } : { timeNs: sinceNs, after }),
        // The last events are chosen when all has been taken, and delivered then.
        onEnded: range.last === 0 ? onEnded : () => undefined,
      });
    });
  }

  #end(place: DocumentPlace, offset: number): void {
    this.#taken.add(place);
    if (!this.#checked.window.follow) place.lost(offset);
  }

  /** Tells of topics of which retention took something of the window, or of what comes behind a cursor's place in it. */
  async tellExpired(outlet: Outlet): Promise<void> {
    const { replayFrom, resumed } = this.#start;
    const { history, sinceNs: resumedNs } = resumed?.state ?? {};
    const sinceNs = history === undefined ? replayFrom && this.#checked.window.sinceNs : resumedNs;
    for (const place of this.#places) {
      // What a named place lacks is told as it is read.
      if (this.#named.has(place)) continue;
      const from = { timeNs: sinceNs, after: history };
      if ((sinceNs ?? history?.wallNs ?? 0n) > 0n) await this.#expired(outlet, place.log, from);
    }
  }

  /** Of the past: up to and with this event, where a cursor names the log's place, so that merged order does not say it. */
  reached(topic: string, position: Position): void {
    const name = documentLogOf(topic);
    const place = this.#places.find(({ log }) => log.name === name);
    if (place && (this.#start.replayFrom === undefined || this.#named.has(place))) place.reached(position);
  }

  /** Reads some batches of each log, until the limit is reached or the turn is over. Returns true when there was none. */
  async readRound(turns: Turns, position: SubscriptionPosition, outlet: Outlet): Promise<boolean> {
    let idle = true;
    for (const place of this.#places) {
      for (let items = 0; items < ITEMS_PER_TURN && place.lag > 0; items++) {
        const item = await place.next();
        if (item === undefined) break;
        if (item.kind === 'batch' && this.#isOver(place, item.batch)) break;
        idle = false;
        await this.#item(place, item, position, outlet);
        if (outlet.left <= 0 || turns.over) return false;
      }
    }
    return idle;
  }

  /** Whether all that was stored before the window's end was delivered. `overdue`: what is not on the disk is not waited for. */
  ended(overdue: boolean): boolean {
    return this.#places.every((place) => {
      return this.#over.has(place) || (place.lag === 0 && (overdue || !place.log.pending));
    });
  }

  #isOver(place: DocumentPlace, batch: DocumentBatch): boolean {
    const { untilNs } = this.#checked.window;
    const isOver = untilNs !== undefined && batch.timeNs >= untilNs;
    if (isOver) this.#over.add(place);
    return isOver;
  }

  async #item(place: DocumentPlace, item: DocumentItem, position: SubscriptionPosition, outlet: Outlet): Promise<void> {
    if (item.kind !== 'batch') {
      const { offset, index } = place;
      place.lost(item.offsetTo);
      await this.#lost(outlet, place.log, item, { offset, index });
      return;
    }
    const { batch } = item;
    const { node, topic } = batch;
    for (const { frame, next } of this.#wanted.frames(batch, place.index)) {
      await position.makeNotes();
      if (outlet.left <= 0) return;
      // No await from here to the write: otherwise a cursor could pass these events before they are written.
      const count = frame.wallNs.length;
      const selection = this.#selectors.ofHistory(frame, 0, count, outlet.left, outlet.admit(node, topic));
      const whole = selection.next === count;
      if (whole && next === batch.documents.length) place.passed(batch);
      else place.partly(batch, whole ? next : frame.ties[selection.next - 1]! + 1);
      outlet.count('throttled', topic, this.#selectors.refused(selection));
      if (selection.count > 0)
        await outlet.batch({ node, topic, history: false, cursor: position.cursor() }, selection);
      if (!whole) return;
    }
    // It may stand before the batch, at what is none.
    if (place.offset <= batch.offset) place.passed(batch);
  }

  /** @param from where that begins which is asked for, and was not delivered */
  async #lost(outlet: Outlet, log: DocumentLog, { kind, offsetFrom }: LostItem, from: TakenFrom): Promise<void> {
    const asked = this.#wanted.topics.filter((topic) => documentLogOf(topic) === log.name);
    // Whose events cannot be read is not known.
    if (kind === 'damaged') await this.#gap(outlet, kind, asked);
    else await this.#expired(outlet, log, { ...from, offset: Math.max(offsetFrom, from.offset ?? 0) });
  }

  async #expired(outlet: Outlet, log: DocumentLog, from: TakenFrom): Promise<void> {
    const topics = this.#wanted.topics.filter((topic) => {
      const last = documentLogOf(topic) === log.name ? log.taken(topic) : undefined;
      return last !== undefined && reachesBehind(last, from, log.epoch);
    });
    if (topics.length > 0) await this.#gap(outlet, 'expired', topics);
  }

  /** One gap for all topics: how many events each lacks, and whether they match, nobody knows. */
  async #gap(outlet: Outlet, reason: keyof typeof LOST, topics: readonly string[]): Promise<void> {
    const [topic = ''] = topics;
    const unknown = { events: 0, eventsUnknown: true };
    const parts = topics.length > 1 ? { topics: topics.map((each) => ({ topic: each, ...unknown })) } : { topic };
    await outlet.message({ gap: { node: '', reason, message: LOST[reason], ...unknown, ...parts } });
  }
}

type LostItem = Exclude<DocumentItem, { kind: 'batch' }>;

/** What bounds the events that are missed if retention took them. */
interface TakenFrom {
  /** Inclusive. */
  readonly timeNs?: bigint | undefined;
  /** Inclusive; of the batch there what begins at `index`. */
  readonly offset?: number;
  readonly index?: number;
  /** Exclusive, in merged order. */
  readonly after?: HistoryPlace | undefined;
}

/** Whether a topic of which this batch is the last that was taken lacks something. */
function reachesBehind(last: TopicEnd, { timeNs = 0n, offset = 0, index = 0, after }: TakenFrom, epoch: number) {
  if (last.timeNs < timeNs || last.offset < offset) return false;
  if (last.offset === offset && index >= last.events) return false;
  if (after === undefined || last.timeNs > after.wallNs) return true;
  const { position } = after;
  const isOfBatch = position.epoch === epoch && position.timeNs === BigInt(last.offset);
  return last.timeNs === after.wallNs && (!isOfBatch || position.tie + 1 < last.events);
}

/** One cluster's part of a merged subscription: at most one item of it waits here. Runs in browsers. */
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { reconnectDelayMs } from '../../flow/reconnect.js';
import type { Signal } from '../../flow/signal.js';
import { comparePositions, ORIGIN } from '../../wire/position.js';
import { asksAnother, pause } from '../resuming-stream.js';
import type { ClusterPlace, PassedEvent } from './cluster-cursor.js';
import type { ClusterableRequest, ClusterRequest } from './cluster-requests.js';
import type { ItemForm, MergedBatch } from './merged-item.js';

/** How one cluster's stream is had, which resumes by itself. */
export interface ClusterSource<Request, Item> {
  readonly name: string;
  stream(request: Request, signal: AbortSignal): AsyncIterable<Item>;
}

/**
 * `past`: what comes next may be older than what others have. `away`: nothing comes for now, and nobody waits for it.
 * `ended`: nothing comes any more.
 */
type Phase = 'past' | 'live' | 'away' | 'ended';

/** A waiting item. `from`: of a batch, the first event that was not delivered. */
export interface Head<Item> {
  readonly item: Item;
  readonly batch: MergedBatch | undefined;
  from: number;
}

export class ClusterStream<Request extends ClusterableRequest, Item extends { readonly kind: string }> {
  readonly name: string;
  phase: Phase;
  head: Head<Item> | undefined;
  /** Why it ended before its end. */
  failure: BackplaneError | undefined;
  /** No broker has accepted it, and none answers. */
  absent: BackplaneError | undefined;
  readonly #form: ItemForm<Item>;
  readonly #changed: Signal;
  readonly #isPastOver: () => boolean;
  readonly #items: AsyncGenerator<Item, void, undefined>;
  readonly #since: string;
  #cursor: string;
  /** The last delivered event of a batch that is not delivered whole. */
  #passed: PassedEvent | undefined;
  /** The same, of the subscription that this one resumes: the brokers send the events up to it again. */
  #resumed: PassedEvent | undefined;
  /** Something was delivered behind the cursor, and it does not say so. */
  #isBehind = false;
  #wasPast = false;
  #isAsked = false;

  constructor(
    source: ClusterSource<Request, Item>,
    given: ClusterRequest<Request>,
    form: ItemForm<Item>,
    changed: Signal,
    /** Whether the past of the others has been told, so that they are live. */
    isPastOver: () => boolean,
    signal: AbortSignal,
  ) {
    const { cursor, since, passed } = given.place;
    const { since: from, last, follow } = given.request;
    this.name = source.name;
    // A follower has no past; one that resumes may have some.
    this.phase = follow && !from && !last && cursor === '' ? 'live' : 'past';
    this.#wasPast = this.phase === 'live';
    this.#form = form;
    this.#changed = changed;
    this.#isPastOver = isPastOver;
    this.#cursor = cursor;
    this.#since = since;
    this.#resumed = passed;
    this.#items = this.#stream(source, given, signal);
  }

  /** Asks for the next item, where none waits. */
  pull(): void {
    if (this.#isAsked || this.head !== undefined || this.phase === 'ended') return;
    this.#isAsked = true;
    this.#items
      .next()
      .then(({ done, value }) => {
        this.#isAsked = false;
        if (done) this.phase = 'ended';
        else this.#received(value);
      })
      .catch((thrown) => {
        this.phase = 'ended';
        const { code, message, details } = asBackplaneError(thrown);
        this.failure = new BackplaneError(code, `${message} (cluster ${this.name})`, details);
      })
      .finally(() => this.#changed.notify());
  }

  /** The place behind what was delivered; undefined where none says it. */
  get place(): ClusterPlace | undefined {
    if (this.#isBehind) return undefined;
    return { cursor: this.#cursor, since: this.#since, passed: this.#resumed ?? this.#passed };
  }

  /** Whether a place can say that a part of the waiting batch was delivered: it names one event. */
  get canSplit(): boolean {
    return this.#resumed === undefined;
  }

  /** The waiting item was delivered; of a batch the events before `to`. */
  delivered(to = 0): void {
    const { item, batch } = this.head!;
    if (batch !== undefined && to < batch.count) {
      const { node, topic, refill } = batch;
      const position = batch.position(to - 1);
      this.head!.from = to;
      // A place names one event.
      if (position === undefined || this.#resumed !== undefined) this.#isBehind = true;
      else this.#passed = { node, topic, refill, position };
      return;
    }
    this.head = undefined;
    const { cursor } = this.#form.facts(item);
    if (cursor !== '') {
      this.#cursor = cursor;
      this.#passed = undefined;
      this.#isBehind = false;
    } else if (batch !== undefined || item.kind === 'gap') this.#isBehind = true;
  }

  close(): void {
    void this.#items.return().catch(() => undefined);
  }

  #received(item: Item): void {
    const batch = this.#form.batch(item);
    this.head = { item, batch, from: batch === undefined ? 0 : this.#firstNew(batch) };
    const { kind } = this.#form.facts(item);
    if (kind === 'accepted') {
      // Of one that comes back later nobody waits for the past: it comes behind what was delivered.
      this.#wasPast ||= this.#isPastOver();
      this.phase = this.#wasPast ? 'live' : 'past';
    }
    if (this.#form.isLost(item)) this.phase = 'away';
    else if (kind === 'coverage' || item.kind === 'watermark' || batch?.history === false) {
      this.phase = 'live';
      this.#wasPast = true;
    }
    // All of it was delivered by the subscription that this one resumes.
    if (batch !== undefined && this.head.from === batch.count) this.delivered(batch.count);
  }

  #firstNew({ node, topic, refill, count, position }: MergedBatch): number {
    const resumed = this.#resumed;
    if (resumed === undefined || node !== resumed.node || topic !== resumed.topic || refill !== resumed.refill)
      return 0;
    let first = 0;
    while (first < count && comparePositions(position(first) ?? ORIGIN, resumed.position) <= 0) first += 1;
    if (first < count) {
      this.#resumed = undefined;
      if (first > 0) this.#passed = resumed;
    }
    return first;
  }

  async *#stream(
    source: ClusterSource<Request, Item>,
    { request, later }: ClusterRequest<Request>,
    signal: AbortSignal,
  ): AsyncGenerator<Item, void, undefined> {
    const beganMs = performance.now();
    for (let failures = 0; !signal.aborted; ) {
      try {
        const asked = failures === 0 ? request : later(performance.now() - beganMs);
        for await (const item of source.stream(asked, signal)) {
          if (failures > 0 && item.kind === 'accepted') yield this.#form.link(this.name, undefined);
          this.absent = undefined;
          yield item;
        }
        return;
      } catch (thrown) {
        const cause = asBackplaneError(thrown);
        if (signal.aborted) return;
        if (!asksAnother(cause)) throw cause;
        this.absent = cause;
        if (failures === 0) yield this.#form.link(this.name, cause);
        // A replay is of what is there.
        if (request.follow !== true) return;
        failures += 1;
        // One that is full says when to come again.
        await pause(Math.max(reconnectDelayMs(failures), cause.details.retryAfterMs ?? 0), signal);
      }
    }
  }
}

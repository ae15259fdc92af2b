/**
 * One subscription over several clusters, merged. Runs in browsers.
 *
 * Order: the past of all comes first, merged by wall time; equal times, and events of one cluster, keep the order that the
 * cluster gave them. What is live, refilled or late comes behind it as it comes. A node's events keep their order always.
 * The past waits for a cluster that is connected; one that is away is told at once, the others go on, and what it has comes
 * when it is back.
 *
 * Of each cluster one item waits, and the next is asked for once that was taken: who is ahead is stopped at its broker.
 */
import { BackplaneError } from '../../errors.js';
import { Signal } from '../../flow/signal.js';
import { CLUSTER_AWAY_MS } from '../../limits/client.js';
import { encodeClusterCursor } from './cluster-cursor.js';
import { type ClusterableRequest, clusterRequests } from './cluster-requests.js';
import { type ClusterSource, ClusterStream } from './cluster-stream.js';
import { LastEvents } from './last-events.js';
import type { ItemForm } from './merged-item.js';

/**
 * Iterates until the limit, until all clusters have ended, or until the signal is aborted. Items carry cursors of all
 * clusters together; '' where events were delivered that no cursor tells yet.
 *
 * @throws BackplaneError what a cluster refused, naming it; unavailable when at the start none answers
 */
export async function* mergedStream<Request extends ClusterableRequest, Item extends { readonly kind: string }>(
  sources: readonly ClusterSource<Request, Item>[],
  form: ItemForm<Item>,
  request: Request,
  signal: AbortSignal,
): AsyncGenerator<Item, void, undefined> {
  const ending = new AbortController();
  const end = () => ending.abort();
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  const merge = new Merge(sources, form, request, ending.signal);
  try {
    yield* merge.items();
  } finally {
    signal.removeEventListener('abort', end);
    end();
    merge.close();
  }
}

class Merge<Request extends ClusterableRequest, Item extends { readonly kind: string }> {
  readonly #form: ItemForm<Item>;
  readonly #signal: AbortSignal;
  readonly #changed = new Signal();
  readonly #clusters: readonly ClusterStream<Request, Item>[];
  readonly #follow: boolean;
  /** Until the past has been told once: what a cluster has that comes later is told whole. */
  #last: LastEvents<Item> | undefined;
  /** Events that may still be delivered. */
  #left: number;
  /** Whose turn it is: a busy cluster must not hold up others. */
  #turn = 0;
  #wasAccepted = false;
  /** All that were there have told their past, and one is live. */
  #isPastOver = false;

  constructor(
    sources: readonly ClusterSource<Request, Item>[],
    form: ItemForm<Item>,
    given: Request,
    signal: AbortSignal,
  ) {
    const names = sources.map(({ name }) => name);
    const requests = clusterRequests(names, given, Date.now());
    const last = requests[0]?.request.last ?? 0;
    this.#form = form;
    this.#signal = signal;
    this.#follow = given.follow === true;
    this.#left = Number(given.limit ?? 0) || Number.POSITIVE_INFINITY;
    this.#last = last > 0 ? new LastEvents(last) : undefined;
    this.#clusters = requests.map((each) => {
      const source = sources.find(({ name }) => name === each.name)!;
      return new ClusterStream(source, each, form, this.#changed, () => this.#isPastOver, signal);
    });
  }

  async *items(): AsyncGenerator<Item, void, undefined> {
    while (!this.#signal.aborted) {
      for (const cluster of this.#clusters) cluster.pull();
      const failure = this.#clusters.find((cluster) => cluster.failure !== undefined)?.failure;
      if (failure !== undefined) throw failure;
      const count = yield* this.#deliver();
      if (this.#left <= 0) return;
      if (count > 0) continue;
      if (this.#clusters.every(({ phase, head }) => phase === 'ended' && head === undefined)) return this.#checkEnd();
      if (!(await this.#change())) return this.#checkEnd();
    }
  }

  close(): void {
    for (const cluster of this.#clusters) cluster.close();
  }

  /** Resolves with false when nothing is left to wait for. */
  async #change(): Promise<boolean> {
    const open = this.#clusters.filter(({ phase }) => phase !== 'ended');
    const isOver = !this.#follow && open.every(({ phase }) => phase === 'away');
    if (this.#follow && !this.#wasAccepted && open.every(({ absent }) => absent)) return false;
    const changed = await this.#changed.wait(this.#signal, isOver ? CLUSTER_AWAY_MS : Number.POSITIVE_INFINITY);
    return changed || !isOver;
  }

  #checkEnd(): void {
    if (this.#wasAccepted || this.#signal.aborted) return;
    const reasons = this.#clusters.flatMap(({ name, absent }) => (absent ? [`${name} (${absent.message})`] : []));
    if (reasons.length < this.#clusters.length) return;
    throw new BackplaneError('unavailable', `no cluster answers: ${reasons.join(', ')}`);
  }

  /** Yields what can be delivered now; returns how many items were taken. */
  async *#deliver(): AsyncGenerator<Item, number, undefined> {
    if (!this.#isPast && this.#last?.size === 0) this.#last = undefined;
    this.#isPastOver ||= !this.#isPast && this.#clusters.some(({ phase }) => phase === 'live');
    const cluster = this.#withNotice() ?? this.#withEvents();
    if (cluster === undefined) {
      if (this.#isPast || !this.#last?.size) return 0;
      yield* this.#lastEvents(this.#last);
      return 1;
    }
    const { item, batch, from } = cluster.head!;
    this.#turn = this.#clusters.indexOf(cluster) + 1;
    if (batch === undefined) {
      if (this.#form.facts(item).kind === 'accepted') this.#wasAccepted = true;
      const hasCursor = this.#form.facts(item).cursor !== '';
      cluster.delivered();
      yield this.#form.named(item, cluster.name, hasCursor ? this.#cursor() : '');
      return 1;
    }
    const whole = Math.min(this.#endOf(cluster), from + this.#left);
    if (this.#last !== undefined && this.#isPast) {
      this.#last.add(cluster.name, item, from, whole);
      cluster.delivered(whole);
      return 1;
    }
    this.#left -= whole - from;
    cluster.delivered(whole);
    yield this.#form.named(item, cluster.name, this.#cursor(), from, whole);
    return 1;
  }

  get #isPast(): boolean {
    return this.#clusters.some(({ phase }) => phase === 'past');
  }

  #withNotice(): ClusterStream<Request, Item> | undefined {
    return this.#inTurn().find(({ head }) => head !== undefined && head.batch === undefined);
  }

  /** Of the past the oldest, once all that have a past have told what they come with next; else any. */
  #withEvents(): ClusterStream<Request, Item> | undefined {
    const waiting = this.#inTurn().filter(({ head }) => head !== undefined);
    if (!this.#isPast) return this.#last?.size ? undefined : waiting[0];
    const past = this.#clusters.filter(({ phase }) => phase === 'past');
    if (past.some(({ head }) => head === undefined)) return undefined;
    return past.reduce((oldest, each) => (this.#timeNs(each) < this.#timeNs(oldest) ? each : oldest));
  }

  #timeNs({ head }: ClusterStream<Request, Item>): bigint {
    return head?.batch?.timeNs(head.from) ?? 0n;
  }

  /** Up to where the cluster's batch is not younger than what others have. */
  #endOf(cluster: ClusterStream<Request, Item>): number {
    const { batch, from } = cluster.head!;
    const { count } = batch!;
    if (cluster.phase !== 'past' || batch!.refill || !cluster.canSplit) return count;
    const others = this.#clusters.filter((each) => each !== cluster && each.phase === 'past');
    if (others.length === 0) return count;
    const nextNs = others.map((each) => this.#timeNs(each)).reduce((a, b) => (b < a ? b : a));
    let to = from + 1;
    while (to < count && batch!.timeNs(to) <= nextNs) to += 1;
    return to;
  }

  #inTurn(): readonly ClusterStream<Request, Item>[] {
    return [...this.#clusters.slice(this.#turn), ...this.#clusters.slice(0, this.#turn)];
  }

  /** Behind all that was delivered; '' where that cannot be said, and while events are held. */
  #cursor(): string {
    if (this.#last?.size) return '';
    const places = this.#clusters.flatMap(({ name, place }) => (place === undefined ? [] : [[name, place] as const]));
    return places.length < this.#clusters.length ? '' : encodeClusterCursor(new Map(places));
  }

  async *#lastEvents(held: LastEvents<Item>): AsyncGenerator<Item, void, undefined> {
    const parts = held.take();
    for (const [index, { cluster, item, from, to }] of parts.entries()) {
      const end = Math.min(to, from + this.#left);
      this.#left -= end - from;
      const isLast = index === parts.length - 1 && end === to;
      yield this.#form.named(item, cluster, isLast ? this.#cursor() : '', from, end);
      if (this.#left <= 0 || this.#signal.aborted) return;
    }
  }
}

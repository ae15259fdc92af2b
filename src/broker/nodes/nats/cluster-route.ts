/**
 * Reaches nodes wherever their sessions are: here, or by core NATS at the broker that has them. Nothing of an answer is
 * kept on the way; its reader's credit reaches the node.
 */
import type { Msg, NatsConnection, Subscription } from 'nats';
import { asBackplaneError } from '../../../errors.js';
import { BytePool } from '../../../flow/byte-pool.js';
import { HISTORY_TURN_MS, ROUTE_SILENCE_MS, ROUTE_TAKEOVER_MS } from '../../../limits.js';
import type { ControlResponse } from '../../../wire/messages.js';
import { encodeRouteRequest, type RouteRequest } from '../../../wire/route-message.js';
import { createInbox } from '../../nats/nats-library.js';
import { HistoryAnswer } from '../history/history-answer.js';
import { type HistoryRequest, historyQueryOf } from '../history/history-request.js';
import { displaceUnread } from '../history/unread-answers.js';
import type { NodeRoute } from '../node-route.js';
import type { NodePlace, NodePlaces } from './node-places.js';
import { ReceivedParts } from './received-parts.js';
import { ROUTE_BOUNDS, type RouteBounds } from './route-bounds.js';
import { sessionSubject } from './session-subject.js';

export interface ClusterRouteOptions {
  readonly connection: NatsConnection;
  readonly cluster: string;
  /** To the nodes whose sessions are here. */
  readonly local: NodeRoute;
  readonly places: NodePlaces;
  /** Others than the usual, for tests. */
  readonly bounds?: Partial<RouteBounds> | undefined;
}

interface Open {
  readonly node: string;
  readonly session: string;
  readonly answer: HistoryAnswer;
  readonly parts: ReceivedParts;
  /** What was granted beyond the first window, in all. */
  grantedBytes: number;
  /** Aborted when the answer is settled. */
  readonly ending: AbortController;
  readonly patience: NodeJS.Timeout;
  /** The query was sent. */
  asked: boolean;
  /** The node's broker has said how it ended. */
  ended: boolean;
}

const NO_RESPONDERS = 503;

export class ClusterRoute implements NodeRoute {
  /** By the last token of the subject at which the answer is read. */
  readonly #open = new Map<string, Open>();
  readonly #inbox = createInbox();
  readonly #subscription: Subscription;
  readonly #pool: BytePool;
  readonly #unreadMs: number;
  readonly #ping: NodeJS.Timeout;
  readonly #unlisten: () => void;
  #lastId = 0;
  readonly #options: ClusterRouteOptions;

  constructor(options: ClusterRouteOptions) {
    this.#options = options;
    const { pingMs, outstandingBytesMax, unreadMs } = { ...ROUTE_BOUNDS, ...options.bounds };
    this.#pool = new BytePool(outstandingBytesMax);
    this.#unreadMs = unreadMs;
    const callback = (_error: Error | null, message: Msg) => this.#take(message);
    this.#subscription = options.connection.subscribe(`${this.#inbox}.*`, { callback });
    this.#ping = setInterval(() => this.#pingAll(), pingMs).unref();
    this.#unlisten = options.places.listen((node, place) => this.#moved(node, place));
  }

  close(): void {
    clearInterval(this.#ping);
    this.#unlisten();
    this.#subscription.unsubscribe();
    for (const { answer } of [...this.#open.values()]) answer.fail('this broker is shutting down');
  }

  reaches(node: string): boolean {
    return this.#options.local.reaches(node) || this.#sessionOf(node) !== undefined;
  }

  history(node: string, request: HistoryRequest): HistoryAnswer | undefined {
    const { local } = this.#options;
    // Undefined also when it has just gone: then it may be elsewhere already.
    const here = local.history(node, request);
    if (here !== undefined) return here;
    const session = this.#sessionOf(node);
    return session === undefined ? undefined : this.#ask(node, session, request);
  }

  tell(node: string, message: ControlResponse): void {
    const { local, connection } = this.#options;
    if (local.reaches(node)) local.tell(node, message);
    else {
      const session = this.#sessionOf(node);
      if (session === undefined || connection.info === undefined) return;
      connection.publish(this.#subject(node, session), encodeRouteRequest({ kind: 'tell', message }));
    }
  }

  async takeover(node: string): Promise<void> {
    const { local, connection } = this.#options;
    // Of two that come at once the registry decides.
    if (local.reaches(node)) return local.takeover(node);
    const session = this.#sessionOf(node);
    if (session === undefined || connection.info === undefined) return;
    const request = encodeRouteRequest({ kind: 'takeover' });
    // Nobody answers for a session that has ended. A broker that hangs lets go when it sees the node's new place.
    await connection
      .request(this.#subject(node, session), request, { timeout: ROUTE_TAKEOVER_MS })
      .catch(() => undefined);
  }

  #sessionOf(node: string): string | undefined {
    return this.#options.places.of(node)?.session || undefined;
  }

  #subject(node: string, session: string): string {
    return sessionSubject(this.#options.cluster, node, session);
  }

  #ask(node: string, session: string, request: HistoryRequest): HistoryAnswer {
    const id = String(++this.#lastId);
    const grant = (bytes: number) => {
      open.grantedBytes += bytes;
      this.#sendCredit(id, open);
    };
    const answer = new HistoryAnswer(node, request.creditBytes, grant, () => this.#settled(id));
    const ending = new AbortController();
    const busy = `busy: its turn did not come within ${HISTORY_TURN_MS / 1000} s`;
    const patience = setTimeout(() => answer.fail(busy), HISTORY_TURN_MS + ROUTE_SILENCE_MS);
    const parts = new ReceivedParts();
    const open: Open = {
      ...{ node, session, answer, parts, ending, patience },
      ...{ grantedBytes: 0, asked: false, ended: false },
    };
    this.#open.set(id, open);
    void this.#start(id, open, request);
    return answer;
  }

  async #start(id: string, open: Open, request: HistoryRequest): Promise<void> {
    const free = await this.#pool.take(request.creditBytes, open.ending.signal);
    if (free === undefined) return;
    if (open.ending.signal.aborted) {
      free();
      return;
    }
    open.ending.signal.addEventListener('abort', free, { once: true });
    open.asked = true;
    const message = { historyQuery: historyQueryOf(0, request) };
    this.#send(id, { kind: 'query', client: request.client, message });
  }

  #sendCredit(id: string, { grantedBytes: bytes }: Open): void {
    this.#send(id, { kind: 'credit', bytes });
  }

  /** Of an answer. Without a connection it fails: what was on its way is lost. */
  #send(id: string, request: RouteRequest): void {
    const open = this.#open.get(id);
    if (open === undefined || !open.asked) return;
    const { connection } = this.#options;
    try {
      if (connection.info === undefined) throw new Error('this broker has no connection to NATS');
      const subject = this.#subject(open.node, open.session);
      connection.publish(subject, encodeRouteRequest(request), { reply: `${this.#inbox}.${id}` });
    } catch (cause) {
      open.answer.goneAway((cause as Error).message);
    }
  }

  #take(message: Msg): void {
    const id = message.subject.slice(this.#inbox.length + 1);
    const open = this.#open.get(id);
    if (open === undefined) return;
    const { answer, node } = open;
    if (message.headers?.code === NO_RESPONDERS) {
      open.ended = true;
      answer.goneAway(`node ${node} went: no broker has its session any more`);
      return;
    }
    try {
      const received = open.parts.take(Buffer.from(message.data));
      if (received === undefined) return;
      clearTimeout(open.patience);
      if (received === 'begun') answer.begin();
      else if ('frameBytes' in received) answer.receive(received.frameBytes);
      else {
        open.ended = true;
        answer.finish(received.end);
      }
    } catch (cause) {
      const { code, message } = asBackplaneError(cause);
      if (code === 'unavailable') answer.goneAway(message);
      else answer.fail(message);
    }
  }

  #settled(id: string): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    if (!open.ended && this.#options.connection.info !== undefined) this.#send(id, { kind: 'cancel' });
    this.#open.delete(id);
    clearTimeout(open.patience);
    open.ending.abort();
  }

  #moved(node: string, place: NodePlace | undefined): void {
    for (const open of [...this.#open.values()]) {
      if (open.node !== node || open.session === place?.session) continue;
      const where = place?.session ? 'it connected to another broker' : 'it disconnected';
      open.answer.goneAway(`node ${node} went: ${where}`);
    }
  }

  /**
   * Says that their readers are there, and learns which nodes are not, and of which something was lost on the way. Readers
   * that do not read would keep others from ever asking.
   */
  #pingAll(): void {
    const answers = Array.from(this.#open.values(), ({ answer }) => answer);
    displaceUnread(this.#pool, answers, this.#unreadMs);
    for (const [id, open] of [...this.#open]) this.#sendCredit(id, open);
  }
}

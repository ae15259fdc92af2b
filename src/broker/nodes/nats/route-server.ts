/**
 * Answers what other brokers ask of the nodes that are connected here. Each session has a subject of its own, on which
 * nobody listens any more when it has ended: whoever asks for it then is told so at once by NATS.
 */
import type { Msg, NatsConnection, Subscription } from 'nats';
import { asBackplaneError, BackplaneError } from '../../../errors.js';
import { BytePool } from '../../../flow/byte-pool.js';
import { ROUTE_ANSWERS_MAX, ROUTE_SILENCE_MS } from '../../../limits.js';
import { encodeHistoryMessage } from '../../../wire/grpc/rpc.js';
import type { ControlResponse__Output, HistoryEnd } from '../../../wire/messages.js';
import {
  decodeRouteRequest,
  encodeRouteParts,
  encodeRouteSign,
  NO_ANSWER,
  type ReceivedRouteRequest,
} from '../../../wire/route-message.js';
import { type HistoryRequest, historyRequestOf } from '../history/history-request.js';
import { type AnswerSink, RelayedAnswer } from '../history/relayed-answer.js';
import { displaceUnread } from '../history/unread-answers.js';
import type { NodeRegistry } from '../node-registry.js';
import type { NodeSession } from '../node-session.js';
import { ROUTE_BOUNDS, type RouteBounds } from './route-bounds.js';
import { sessionSubject } from './session-subject.js';

export interface RouteServerOptions {
  readonly connection: NatsConnection;
  readonly cluster: string;
  readonly registry: NodeRegistry;
  /** Resolves when the log has all frames of the node that came before its session ended. */
  readonly settled: (node: string) => Promise<void>;
  /** What another broker said that no broker says. */
  readonly onRefusal: (error: BackplaneError) => void;
  /** Others than the usual, for tests. */
  readonly bounds?: Partial<RouteBounds> | undefined;
}

interface Served {
  readonly session: string;
  readonly subscription: Subscription;
}

interface Answer {
  /** Undefined while it waits for its share of what may be on its way. */
  relayed: RelayedAnswer | undefined;
  readonly sink: PartsSink;
  readonly ending: AbortController;
  /** When the asker was heard of, milliseconds. */
  heardMs: number;
}

/** Numbers the parts of all messages of one answer. */
interface PartsSink extends AnswerSink {
  /** Lets the asker see whether all parts have come. */
  sign(): void;
}

const NOTHING = Buffer.alloc(0);

export class RouteServer {
  readonly #served = new Map<string, Served>();
  /** By the subject at which the asker reads. */
  readonly #answers = new Map<string, Answer>();
  /** What may be on its way to other brokers. */
  readonly #pool: BytePool;
  readonly #unreadMs: number;
  readonly #options: RouteServerOptions;
  readonly #unlisten: () => void;
  readonly #timer: NodeJS.Timeout;

  constructor(options: RouteServerOptions) {
    this.#options = options;
    this.#unlisten = options.registry.listen((node) => this.#review(node));
    const { pingMs, outstandingBytesMax, unreadMs } = { ...ROUTE_BOUNDS, ...options.bounds };
    this.#pool = new BytePool(outstandingBytesMax);
    this.#unreadMs = unreadMs;
    this.#timer = setInterval(() => this.#drop(), pingMs).unref();
    for (const node of options.registry.connected(() => true)) this.#review(node);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#unlisten();
    for (const { subscription } of this.#served.values()) subscription.unsubscribe();
    for (const [reply, answer] of [...this.#answers]) {
      answer.relayed?.fail('the broker of the node is shutting down');
      this.#cancel(reply, answer);
    }
  }

  #review(node: string): void {
    const session = this.#options.registry.session(node);
    const served = this.#served.get(node);
    if (served?.session === session?.id) return;
    served?.subscription.unsubscribe();
    this.#served.delete(node);
    if (session === undefined) return;
    const { connection, cluster } = this.#options;
    const subject = sessionSubject(cluster, node, session.id);
    const callback = (_error: Error | null, message: Msg) => this.#take(session, message);
    this.#served.set(node, { session: session.id, subscription: connection.subscribe(subject, { callback }) });
  }

  #take(session: NodeSession, message: Msg): void {
    const reply = message.reply || undefined;
    try {
      const request = decodeRouteRequest(Buffer.from(message.data));
      this.#carryOut(session, request, reply);
    } catch (cause) {
      const error = asBackplaneError(cause);
      this.#options.onRefusal(error);
      if (reply !== undefined && !this.#answers.has(reply)) this.#sinkOf(reply).end({ error: error.message });
    }
  }

  #carryOut(session: NodeSession, request: ReceivedRouteRequest, reply: string | undefined): void {
    if (request.kind === 'tell') {
      const { lease, linger } = request.message;
      if (lease) session.send({ lease });
      else if (linger) session.send({ linger });
      else throw new BackplaneError('invalid_argument', 'a node can be told a lease or a linger by another broker');
      return;
    }
    if (reply === undefined) throw new BackplaneError('invalid_argument', `${request.kind}: nobody reads the answer`);
    const answer = this.#answers.get(reply);
    if (answer !== undefined) answer.heardMs = performance.now();
    if (request.kind === 'query') this.#query(session, request.client, request.message, reply);
    else if (request.kind === 'credit') this.#credit(reply, answer, request.bytes);
    else if (request.kind === 'takeover') void this.#takeOver(session, reply);
    else if (answer !== undefined) this.#cancel(reply, answer);
  }

  /** Every few seconds it says nothing new: then nothing else tells the asker what was lost of the answer. */
  #credit(reply: string, answer: Answer | undefined, bytes: number): void {
    if (answer === undefined) this.#publish(reply, encodeRouteSign(NO_ANSWER));
    else if (answer.relayed?.grant(bytes) !== true) answer.sink.sign();
  }

  #query(session: NodeSession, client: string, { historyQuery }: ControlResponse__Output, reply: string): void {
    if (!historyQuery) throw new BackplaneError('invalid_argument', 'a query has history_query');
    if (this.#answers.has(reply)) throw new BackplaneError('already_exists', 'the subject has an answer already');
    const request = historyRequestOf(client, historyQuery);
    if (this.#answers.size >= ROUTE_ANSWERS_MAX) {
      const message = `busy: a broker gives at most ${ROUTE_ANSWERS_MAX} answers to others at once`;
      throw new BackplaneError('resource_exhausted', message);
    }
    const sink = this.#sinkOf(reply);
    const answer: Answer = { relayed: undefined, sink, ending: new AbortController(), heardMs: performance.now() };
    this.#answers.set(reply, answer);
    void this.#answer(session, request, reply, answer);
  }

  async #answer(session: NodeSession, request: HistoryRequest, reply: string, answer: Answer): Promise<void> {
    const free = await this.#pool.take(request.creditBytes, answer.ending.signal);
    if (free === undefined) return;
    session.history.ask(request, ({ grant, release }) => {
      const controls = {
        grant,
        release: () => {
          release();
          free();
          this.#answers.delete(reply);
        },
      };
      answer.relayed = new RelayedAnswer(session.record.name, request.creditBytes, controls, answer.sink);
      return answer.relayed;
    });
  }

  #cancel(reply: string, { relayed, ending }: Answer): void {
    ending.abort();
    relayed?.cancel();
    this.#answers.delete(reply);
  }

  async #takeOver(session: NodeSession, reply: string): Promise<void> {
    session.close('the node connected to another broker');
    // What cannot be stored is sent again by the node, to the other broker.
    await this.#options.settled(session.record.name).catch(() => undefined);
    this.#publish(reply, NOTHING);
  }

  #sinkOf(reply: string): PartsSink {
    let number = 0;
    const send = (message: Buffer) => {
      for (const part of encodeRouteParts(message, number)) {
        this.#publish(reply, part);
        number++;
      }
    };
    return {
      begin: () => send(NOTHING),
      frame: (frameBytes: Buffer) => send(encodeHistoryMessage({ queryId: 0, frameBytes })),
      end: (end: HistoryEnd) => send(encodeHistoryMessage({ queryId: 0, end })),
      sign: () => this.#publish(reply, encodeRouteSign(number++)),
    };
  }

  #publish(reply: string, bytes: Buffer): void {
    const { connection } = this.#options;
    // The client would keep it without a bound; the asker notices that a part is missing. Closed it would throw.
    if (connection.info !== undefined && !connection.isClosed()) connection.publish(reply, bytes);
  }

  /** Those whose askers are gone; and those that are not read, as far as others wait for what they have. */
  #drop(): void {
    const before = performance.now() - ROUTE_SILENCE_MS;
    for (const [reply, answer] of [...this.#answers]) if (answer.heardMs < before) this.#cancel(reply, answer);
    const given = Array.from(this.#answers.values()).flatMap(({ relayed }) => relayed ?? []);
    displaceUnread(this.#pool, given, this.#unreadMs);
  }
}

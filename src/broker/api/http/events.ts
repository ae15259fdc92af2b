/** Streams of events: the request from the query or the body, as lines or as server-sent events. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { asBackplaneError, BackplaneError } from '../../../errors.js';
import type { ConnectionPlaces } from '../../../flow/connection-places.js';
import { RETRY_AFTER_MS } from '../../../limits.js';
import type { CheckedSubscription, SubscriptionRequest } from '../../../subscriptions/request/subscription-request.js';
import { decodeCursor } from '../../../wire/cursor.js';
import { subscribeRequestCodec } from '../../../wire/messages.js';
import type { AccessControl } from '../../access/access-control.js';
import { isWindowEnd } from '../../delivery/history/history-merge.js';
import { SelectorSet } from '../../delivery/selectors/selector-set.js';
import type { Subscriptions } from '../../delivery/subscriptions.js';
import { inProtoNames } from '../proto-names.js';
import { readJsonBody } from './body.js';
import { connectionOf } from './connection.js';
import { HttpSink, type StreamFormat } from './http-sink.js';
import { subscriptionRequest } from './query.js';
import type { Call } from './route.js';
import { END_ID, EVENT_STREAM, formatOf } from './stream-formats.js';

/** Connections that carry streams of events, bounded so that lists and health are served beside them. */
export class Streams {
  #running = 0;
  readonly #places: ConnectionPlaces<Socket>;
  readonly #streamsMax: number;
  /** Streams of each connection that has any. */
  readonly #counts = new Map<Socket, number>();

  constructor(places: ConnectionPlaces<Socket>, streamsMax: number) {
    this.#places = places;
    this.#streamsMax = streamsMax;
  }

  /** Keeps the request's connection while `run` does. Throws resource_exhausted when there are too many. */
  async keep<T>(request: IncomingMessage, run: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#streamsMax) {
      const message = `at most ${this.#streamsMax} streams of events run at once`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: RETRY_AFTER_MS });
    }
    const connection = connectionOf(request);
    this.#running++;
    this.#counts.set(connection, (this.#counts.get(connection) ?? 0) + 1);
    this.#places.keep(connection);
    try {
      return await run();
    } finally {
      this.#running--;
      this.#release(connection);
    }
  }

  #release(connection: Socket): void {
    const left = (this.#counts.get(connection) ?? 1) - 1;
    if (left > 0) this.#counts.set(connection, left);
    else {
      this.#counts.delete(connection);
      this.#places.release(connection);
    }
  }
}

export class EventRoutes {
  readonly #subscriptions: Subscriptions;
  readonly #streams: Streams;
  readonly #access: AccessControl;

  constructor(subscriptions: Subscriptions, streams: Streams, access: AccessControl) {
    this.#access = access;
    this.#subscriptions = subscriptions;
    this.#streams = streams;
  }

  /** EventSource shows no page why it was refused, so where it asks refusals are part of the stream. */
  async get(call: Call): Promise<void> {
    const format = formatOf(call.request.headers.accept);
    const sink = new HttpSink(call.response, format);
    try {
      await this.#deliver(call, format, sink, subscriptionRequest(call.query));
    } catch (cause) {
      if (format !== EVENT_STREAM) throw cause;
      sink.fail(asBackplaneError(cause));
    }
  }

  /** The whole SubscribeRequest as the body. Only programs ask so, and they see the status. */
  async post(call: Call): Promise<void> {
    const format = formatOf(call.request.headers.accept);
    const request = subscribeRequestCodec.fromJson(await readJsonBody(call.request));
    try {
      await this.#deliver(call, format, new HttpSink(call.response, format), request);
    } catch (cause) {
      throw inProtoNames(cause);
    }
  }

  /** Throws only before the stream has started. */
  async #deliver(call: Call, format: StreamFormat, sink: HttpSink, request: SubscriptionRequest): Promise<void> {
    const { request: asked, response, caller } = call;
    const idSent = format === EVENT_STREAM ? String(asked.headers['last-event-id'] ?? '') : '';
    if (idSent === END_ID) return stop(response);
    // A group knows by itself where its members go on.
    const lastId = request.group ? '' : idSent;
    const checked = this.#access.subscription(lastId === '' ? request : resumed(request, lastId), caller);
    if (lastId !== '' && isOver(checked)) return stop(response);
    await this.#streams.keep(asked, async () => {
      // At once for a browser, which is told of refusals in the stream. Who asks by POST sees their statuses.
      if (format.preamble !== undefined && asked.method === 'GET') sink.start();
      try {
        sink.end(await this.#subscriptions.deliver(checked, sink, caller));
      } catch (cause) {
        if (!sink.started) throw cause;
        sink.fail(asBackplaneError(cause));
      }
    });
  }
}

/** A browser that comes back repeats its URL: where it was is in the header. */
function resumed(request: SubscriptionRequest, cursor: string): SubscriptionRequest {
  return { ...request, cursor, since: undefined, last: undefined };
}

/** Whether a browser comes back to a replay of which it has everything. A cursor of another one is refused later. */
function isOver({ cursor, window, selectors, topics }: CheckedSubscription): boolean {
  if (window.follow) return false;
  const { history, predicateId, selectors: before } = decodeCursor(cursor);
  const now = new SelectorSet(selectors).inCursor(topics);
  return (
    isDeepStrictEqual({ selectors: undefined, ...now }, { predicateId, selectors: before }) &&
    history !== undefined &&
    isWindowEnd(history)
  );
}

/** Browsers stop asking after 204 only. */
function stop(response: ServerResponse): void {
  response.writeHead(204).end();
}

/** The HTTP API: events as NDJSON, listings, health and metrics. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Registry } from 'prom-client';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { ConnectionPlaces } from '../../flow/connection-places.js';
import {
  HTTP_CONNECTIONS_MAX,
  HTTP_HEADER_BYTES_MAX,
  HTTP_PIPELINED_MAX,
  HTTP_REQUEST_MS,
  HTTP_STREAMS_MAX,
  KEEPALIVE_MS,
  MESSAGE_BYTES_MAX,
} from '../../limits.js';
import { wallNowNs } from '../../nanoseconds.js';
import { checkSubscription } from '../../subscriptions/request/subscription-request.js';
import { shown } from '../../text/shown.js';
import { messageToJson } from '../../wire/message-json.js';
import {
  getStatusResponseCodec,
  listNodesResponseCodec,
  listSubscriptionsResponseCodec,
  listTopicsResponseCodec,
} from '../../wire/messages.js';
import type { Caller, Gate, Identity } from '../access/gate.js';
import type { Subscriptions } from '../delivery/subscriptions.js';
import { checkHost, checkSite } from './host.js';
import { checkNoParameters, parseTarget, subscriptionRequest } from './http-request.js';
import type { Listings } from './listings.js';
import { errorToJson, NdjsonSink } from './ndjson.js';
import { RequestLine } from './request-line.js';
import { refuseConnect, refuseUnsound } from './unsound-request.js';

/** Bound for decoding the broker's own listings; the longest is that of the largest number of nodes. */
const LISTING_BYTES_MAX = 8 * MESSAGE_BYTES_MAX;

export interface HttpApiOptions {
  readonly subscriptions: Subscriptions;
  readonly listings: Listings;
  readonly metrics: Registry;
  readonly gate: Gate;
  /** Forgets the nodes that a name or glob matches and that are gone; resolves with their names. */
  readonly forget: (glob: string, peer: string) => Promise<readonly string[]>;
  /** Why the broker is not ready: it starts or drains, or its log takes no frames. Undefined when it is ready. */
  readonly notReady: () => string | undefined;
}

/** Requests below this path need the token. */
const API_PATH = '/v1';
const EVENTS_PATH = '/v1/events';
const NODES_PATH = '/v1/nodes/';
/** The answer to GET /. */
const CONTENTS = `Backplane: kernel events of many nodes, as they happen and as they were recorded.

GET /v1/events         events, one JSON object a line: the last 20, or those that are asked for with
                       topic, node, filter, since, until, last, limit, follow, cursor, fields, ...
                       (since=5m, follow=true)
GET /v1/nodes          the nodes, and how they are
DELETE /v1/nodes/NAME  a node that is gone is no longer listed (a name, or a glob like fake-*)
GET /v1/topics         the topics, and what they hold
GET /v1/subscriptions  who is subscribed to what
GET /v1/status         this broker
GET /healthz           200 while it runs
GET /readyz            200 while it takes and serves events
GET /metrics           for Prometheus

What is below /v1 wants the token of the broker: Authorization: Bearer TOKEN, which is in DATA_DIR/token.
`;
/** Interval at which idle connections are closed while the server ends. */
const IDLE_SWEEP_MS = 20;

type Route = (
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
  caller: Caller,
) => void | Promise<void>;

export class HttpApi {
  readonly server: Server;
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #places = new ConnectionPlaces<Socket>(HTTP_CONNECTIONS_MAX);
  readonly #lines = new WeakMap<Socket, RequestLine>();
  #streams = 0;
  #ended: Promise<void> | undefined;

  readonly #options: HttpApiOptions;

  constructor(options: HttpApiOptions) {
    this.#options = options;
    this.#routes = this.#buildRoutes();
    this.server = createServer(
      {
        maxHeaderSize: HTTP_HEADER_BYTES_MAX,
        headersTimeout: HTTP_REQUEST_MS,
        requestTimeout: HTTP_REQUEST_MS,
        connectionsCheckingInterval: HTTP_REQUEST_MS / 4,
        keepAliveTimeout: HTTP_REQUEST_MS,
        // TCP keepalive: a peer that vanished is noticed even when nothing is sent to it.
        keepAlive: true,
        keepAliveInitialDelay: KEEPALIVE_MS,
        // serve() refuses a request without Host, with a clear message.
        requireHostHeader: false,
      },
      (request, response) => this.#requested(request, response),
    );
    // Headers are bounded in bytes, so their number need not be; Node would silently drop those over its limit.
    this.server.maxHeadersCount = 0;
    this.server.on('connection', (socket) => {
      this.#lines.set(socket, new RequestLine(socket, HTTP_PIPELINED_MAX));
      this.#places.add(socket);
    });
    this.server.on('clientError', (cause, socket) => {
      refuseUnsound(cause, socket as Socket, this.#lines.get(socket as Socket)?.engaged === true);
    });
    this.server.on('checkExpectation', (request, response) => this.#requested(request, response));
    this.server.on('connect', (_request, socket) => refuseConnect(socket as Socket));
  }

  /** Takes no more connections; resolves when all running answers have been read and all connections have ended. */
  end(): Promise<void> {
    this.#ended ??= new Promise((resolve) => {
      // Otherwise keep-alive would hold connections open after their answer has ended.
      const sweep = setInterval(() => this.server.closeIdleConnections(), IDLE_SWEEP_MS);
      this.server.close(() => {
        clearInterval(sweep);
        resolve();
      });
    });
    return this.#ended;
  }

  /** Ends all connections at once. */
  close(): Promise<void> {
    const ended = this.end();
    this.server.closeAllConnections();
    return ended;
  }

  #buildRoutes(): ReadonlyMap<string, Route> {
    const { listings, metrics, notReady } = this.#options;
    const listing =
      (read: () => object): Route =>
      (_request, response, query) => {
        checkNoParameters(query);
        sendJson(response, 200, messageToJson(read()));
      };
    return new Map<string, Route>([
      ['/', (_request, response) => sendText(response, 200, CONTENTS)],
      ['/healthz', (_request, response) => sendText(response, 200, 'ok\n')],
      [
        '/readyz',
        (_request, response) => {
          const reason = notReady();
          sendText(response, reason === undefined ? 200 : 503, `${reason ?? 'ok'}\n`);
        },
      ],
      [
        '/metrics',
        async (_request, response) => {
          send(response, 200, metrics.contentType, await metrics.metrics());
        },
      ],
      [EVENTS_PATH, (request, response, query, caller) => this.#events(request, response, query, caller)],
      ['/v1/nodes', listing(() => through(listNodesResponseCodec, listings.nodes()))],
      ['/v1/topics', listing(() => through(listTopicsResponseCodec, listings.topics()))],
      ['/v1/subscriptions', listing(() => through(listSubscriptionsResponseCodec, listings.subscriptionList()))],
      ['/v1/status', listing(() => through(getStatusResponseCodec, listings.status()))],
    ]);
  }

  #forgetRoute(node: string): Route {
    return async ({ socket }, response, query) => {
      checkNoParameters(query);
      sendJson(response, 200, { nodes: await this.#options.forget(node, socket.remoteAddress ?? '') });
    };
  }

  #requested(request: IncomingMessage, response: ServerResponse): void {
    // The end of the stream reports a broken connection; without a listener the error would be unhandled.
    response.on('error', () => undefined);
    this.#places.heard(request.socket);
    this.#lines.get(request.socket)?.add(request, response, () => void this.#serve(request, response));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (request.headers.host === undefined && request.httpVersion === '1.1')
        throw new BackplaneError('invalid_argument', 'Host is missing: HTTP/1.1 wants it');
      // With several Host headers it is unknown which one a proxy on the way has used.
      const hosts = request.headersDistinct.host?.length ?? 0;
      if (hosts > 1) throw new BackplaneError('invalid_argument', `Host must be given once, got ${hosts}`);
      checkHost(request.headers.host, this.server.address());
      checkSite(request);
      const { path, query } = parseTarget(request.url ?? '/');
      const { socket } = request;
      const wantsToken = path === API_PATH || path.startsWith(`${API_PATH}/`);
      const caller = { peer: peerOf(socket), identity: wantsToken ? this.#identify(request).name : '' };
      const node = nodePath(path);
      const route = node === undefined ? this.#routes.get(path) : this.#forgetRoute(node);
      if (route === undefined) throw new BackplaneError('not_found', `there is nothing at ${shown(path)}: see GET /`);
      // Node drops the body of an answer to HEAD. A stream of events sends no headers before its first line.
      const methods = node !== undefined ? ['DELETE'] : path === EVENTS_PATH ? ['GET'] : ['GET', 'HEAD'];
      if (!methods.includes(request.method ?? '')) {
        response.setHeader('allow', methods.join(', '));
        const message = `only ${methods.join(' and ')} are understood here`;
        sendJson(response, 405, { error: { code: 'invalid_argument', message } });
        return;
      }
      await route(request, response, query, caller);
    } catch (cause) {
      const error = asBackplaneError(cause);
      if (error.code === 'unauthenticated') response.setHeader('www-authenticate', 'Bearer realm="backplane"');
      if (response.headersSent) response.end();
      else sendJson(response, error.httpStatus, { error: errorToJson(error) });
    }
  }

  /** @throws BackplaneError unauthenticated */
  #identify({ headersDistinct, socket }: IncomingMessage): Identity {
    return this.#options.gate.identify(headersDistinct.authorization ?? [], socket.remoteAddress ?? '');
  }

  async #events(
    { socket }: IncomingMessage,
    response: ServerResponse,
    query: URLSearchParams,
    caller: Caller,
  ): Promise<void> {
    const nowNs = wallNowNs();
    const checked = checkSubscription(subscriptionRequest(query), nowNs);
    if (this.#streams >= HTTP_STREAMS_MAX) {
      throw new BackplaneError('resource_exhausted', `at most ${HTTP_STREAMS_MAX} streams of events run at once`);
    }
    const sink = new NdjsonSink(response);
    this.#streams++;
    this.#places.keep(socket);
    try {
      await this.#options.subscriptions.deliver(checked, sink, caller);
      sink.end();
    } catch (cause) {
      const error = asBackplaneError(cause);
      if (!sink.started) throw error;
      sink.fail(error);
    } finally {
      this.#streams--;
      this.#places.release(socket);
    }
  }
}

/** The peer as host:port, in the form that gRPC uses. */
function peerOf({ remoteAddress = '', remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}

/** The decoded part after `/v1/nodes/`; undefined for other paths. Throws invalid_argument for bad encoding. */
function nodePath(path: string): string | undefined {
  if (!path.startsWith(NODES_PATH)) return undefined;
  try {
    return decodeURIComponent(path.slice(NODES_PATH.length));
  } catch {
    throw new BackplaneError('invalid_argument', `${shown(path)}: the name is not percent-encoded UTF-8`);
  }
}

/** Encodes and decodes as a gRPC client would get it: 64-bit numbers as text, every field present. */
function through<In extends object>(
  codec: { encode(message: In): Buffer; decode(bytes: Buffer, bytesMax: number): unknown },
  message: In,
): object {
  return codec.decode(codec.encode(message), LISTING_BYTES_MAX) as object;
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  send(response, status, 'application/json; charset=utf-8', `${JSON.stringify(body)}\n`);
}

function sendText(response: ServerResponse, status: number, text: string): void {
  send(response, status, 'text/plain; charset=utf-8', text);
}

function send(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** The HTTP API: events as NDJSON, listings, health and metrics. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { HTTP_CONNECTIONS_MAX, HTTP_HEADER_BYTES_MAX, HTTP_REQUEST_MS, MESSAGE_BYTES_MAX } from '../../limits.js';
import { checkSubscription } from '../../subscriptions/subscription-request.js';
import { messageToJson } from '../../wire/message-json.js';
import {
  getStatusResponseCodec,
  listNodesResponseCodec,
  listSubscriptionsResponseCodec,
  listTopicsResponseCodec,
} from '../../wire/messages.js';
import type { Gate, Identity } from '../access/gate.js';
import type { Subscriptions } from '../delivery/subscriptions.js';
import type { Listings } from '../listings.js';
import { checkHost } from './host.js';
import { subscriptionRequest } from './http-request.js';
import { errorToJson, NdjsonSink } from './ndjson.js';

/** No answer of ours is longer than the largest number of nodes. */
const LISTING_BYTES_MAX = 8 * MESSAGE_BYTES_MAX;

export interface HttpApiOptions {
  readonly subscriptions: Subscriptions;
  readonly listings: Listings;
  readonly metrics: Registry;
  readonly gate: Gate;
  /** Why the broker is not ready: it starts or drains, or its log takes nothing. Undefined when it is. */
  readonly notReady: () => string | undefined;
}

/** What is below it wants the token. */
const API_PATH = '/v1';
const EVENTS_PATH = '/v1/events';
/** While it ends. */
const IDLE_SWEEP_MS = 20;

type Route = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => void | Promise<void>;

export class HttpApi {
  readonly server: Server;
  private readonly routes: ReadonlyMap<string, Route>;
  private ended: Promise<void> | undefined;

  constructor(private readonly options: HttpApiOptions) {
    this.routes = this.buildRoutes();
    this.server = createServer(
      {
        maxHeaderSize: HTTP_HEADER_BYTES_MAX,
        headersTimeout: HTTP_REQUEST_MS,
        requestTimeout: HTTP_REQUEST_MS,
        connectionsCheckingInterval: HTTP_REQUEST_MS / 4,
        keepAliveTimeout: HTTP_REQUEST_MS,
      },
      (request, response) => void this.serve(request, response),
    );
    this.server.maxConnections = HTTP_CONNECTIONS_MAX;
  }

  /** Takes no more connections; resolves when every answer that is under way has been taken. */
  end(): Promise<void> {
    this.ended ??= new Promise((resolve) => {
      // Connections whose answer has ended are kept alive otherwise.
      const sweep = setInterval(() => this.server.closeIdleConnections(), IDLE_SWEEP_MS);
      this.server.close(() => {
        clearInterval(sweep);
        resolve();
      });
    });
    return this.ended;
  }

  /** At once. */
  close(): Promise<void> {
    const ended = this.end();
    this.server.closeAllConnections();
    return ended;
  }

  private buildRoutes(): ReadonlyMap<string, Route> {
    const { listings, metrics, notReady } = this.options;
    const listing =
      (read: () => object): Route =>
      (_request, response) =>
        sendJson(response, 200, messageToJson(read()));
    return new Map<string, Route>([
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
          const text = await metrics.metrics();
          response.writeHead(200, { 'content-type': metrics.contentType });
          response.end(text);
        },
      ],
      [EVENTS_PATH, (_request, response, query) => this.events(response, query)],
      ['/v1/nodes', listing(() => through(listNodesResponseCodec, listings.nodes()))],
      ['/v1/topics', listing(() => through(listTopicsResponseCodec, listings.topics()))],
      ['/v1/subscriptions', listing(() => through(listSubscriptionsResponseCodec, listings.subscriptionList()))],
      ['/v1/status', listing(() => through(getStatusResponseCodec, listings.status()))],
    ]);
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A connection that breaks is told by the stream's own end.
    response.on('error', () => undefined);
    try {
      checkHost(request.headers.host, this.server.address());
      const { path, query } = parseTarget(request.url ?? '/');
      if (path === API_PATH || path.startsWith(`${API_PATH}/`)) this.identify(request);
      const route = this.routes.get(path);
      if (route === undefined) throw new BackplaneError('not_found', `there is nothing at ${path.slice(0, 100)}`);
      // Node leaves out the body of an answer to HEAD; a stream of events has no head without one.
      const methods = path === EVENTS_PATH ? ['GET'] : ['GET', 'HEAD'];
      if (!methods.includes(request.method ?? '')) {
        response.setHeader('allow', methods.join(', '));
        const message = `only ${methods.join(' and ')} are understood here`;
        sendJson(response, 405, { error: { code: 'invalid_argument', message } });
        return;
      }
      await route(request, response, query);
    } catch (cause) {
      const error = asBackplaneError(cause);
      if (error.code === 'unauthenticated') response.setHeader('www-authenticate', 'Bearer realm="backplane"');
      if (response.headersSent) response.end();
      else sendJson(response, error.httpStatus, { error: errorToJson(error) });
    }
  }

  /** @throws BackplaneError unauthenticated */
  private identify({ headersDistinct, socket }: IncomingMessage): Identity {
    return this.options.gate.identify(headersDistinct.authorization ?? [], socket.remoteAddress ?? '');
  }

  private async events(response: ServerResponse, query: URLSearchParams): Promise<void> {
    const nowNs = BigInt(Date.now()) * 1_000_000n;
    const checked = checkSubscription(subscriptionRequest(query), nowNs);
    const sink = new NdjsonSink(response);
    try {
      await this.options.subscriptions.deliver(checked, sink);
      sink.end();
    } catch (cause) {
      const error = asBackplaneError(cause);
      if (!sink.started) throw error;
      sink.fail(error);
    }
  }
}

function parseTarget(target: string): { path: string; query: URLSearchParams } {
  const at = target.indexOf('?');
  const path = at < 0 ? target : target.slice(0, at);
  return { path, query: new URLSearchParams(at < 0 ? '' : target.slice(at + 1)) };
}

/** As a client would decode it: long numbers as text, every field present. */
function through<In extends object>(
  codec: { encode(message: In): Buffer; decode(bytes: Buffer, bytesMax: number): unknown },
  message: In,
): object {
  return codec.decode(codec.encode(message), LISTING_BYTES_MAX) as object;
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
  response.end(`${JSON.stringify(body)}\n`);
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(text);
}

/** The HTTP server: connections, who may ask, and which route answers. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { ConnectionPlaces } from '../../flow/connection-places.js';
import {
  HTTP_CONNECTIONS_MAX,
  HTTP_HEADER_BYTES_MAX,
  HTTP_PIPELINED_MAX,
  HTTP_REQUEST_MS,
  KEEPALIVE_MS,
} from '../../limits.js';
import type { AccessControl } from '../access/access-control.js';
import { type Grant, NOTHING } from '../access/authorize.js';
import { type Caller, type Gate, type Identity, NOBODY } from '../access/gate.js';
import { checkHost, checkSite } from './host.js';
import { sendProblem } from './http/answer.js';
import { Streams } from './http/events.js';
import { checkNoParameters, parseTarget } from './http/query.js';
import { METHOD_NOT_ALLOWED, type Role, Router } from './http/route.js';
import { type HttpParts, routeTable } from './http/routes.js';
import { Origins } from './origins.js';
import { RequestLine } from './request-line.js';
import { NOT_HTTP, refuseConnect, refuseUnsound } from './unsound-request.js';

export interface HttpApiOptions extends HttpParts {
  readonly gate: Gate;
  /** Origins of pages that are served although they are of another site. */
  readonly origins: readonly string[];
}

/** Requests below this path need the token, whatever is there. */
const API_PATH = '/v1';
/** Interval at which idle connections are closed while the server ends. */
const IDLE_SWEEP_MS = 20;

export class HttpApi {
  readonly server: Server;
  readonly #router: Router;
  readonly #origins: Origins;
  readonly #places = new ConnectionPlaces<Socket>(HTTP_CONNECTIONS_MAX);
  readonly #lines = new WeakMap<Socket, RequestLine>();
  #ended: Promise<void> | undefined;

  readonly #gate: Gate;
  readonly #access: AccessControl;

  constructor(options: HttpApiOptions) {
    this.#gate = options.gate;
    this.#access = options.access;
    this.#origins = new Origins(options.origins);
    this.#router = new Router(routeTable(options, new Streams(this.#places)));
    this.server = createServer(
      {
        maxHeaderSize: HTTP_HEADER_BYTES_MAX,
        headersTimeout: HTTP_REQUEST_MS,
        // Bodies that are read have a time of their own, which is answered; this one closes the connection.
        requestTimeout: 2 * HTTP_REQUEST_MS,
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

  #requested(request: IncomingMessage, response: ServerResponse): void {
    // The end of the stream reports a broken connection; without a listener the error would be unhandled.
    response.on('error', () => undefined);
    this.#places.heard(request.socket);
    this.#lines.get(request.socket)?.add(request, response, () => void this.#serve(request, response));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { path, query } = parseTarget(request.url ?? '/');
    try {
      this.#checkOrigin(request, response);
      if (this.#origins.isPreflight(request)) {
        this.#origins.answerPreflight(response, this.#router.methods(path));
        return;
      }
      // Who has no token does not learn what there is.
      const wantsToken = path === API_PATH || path.startsWith(`${API_PATH}/`);
      const known = wantsToken ? await this.#identify(request) : undefined;
      const { route, path: parameters } = this.#router.find(request.method ?? '', path);
      const identity = known ?? (route.role === 'open' ? NOBODY : await this.#identify(request));
      const caller = { peer: peerOf(request.socket), identity };
      const grant = this.#grant(route.role, caller);
      if (route.role !== 'open' && route.schema.query === undefined) checkNoParameters(query);
      await route.handler({ request, response, query, path: parameters, caller, grant });
    } catch (cause) {
      this.#refuse(response, asBackplaneError(cause), path);
    }
  }

  /** Throws invalid_argument for a request without one clear host, permission_denied for one that a page caused. */
  #checkOrigin(request: IncomingMessage, response: ServerResponse): void {
    // A line break in the path makes it a request of HTTP/0.9, which has no headers.
    if (request.httpVersionMajor < 1) throw new BackplaneError('invalid_argument', NOT_HTTP);
    if (request.headers.host === undefined && request.httpVersion === '1.1')
      throw new BackplaneError('invalid_argument', 'Host is missing: HTTP/1.1 wants it', { field: 'Host' });
    // With several Host headers it is unknown which one a proxy on the way has used.
    const hosts = request.headersDistinct.host?.length ?? 0;
    if (hosts > 1) {
      throw new BackplaneError('invalid_argument', `Host must be given once, got ${hosts}`, { field: 'Host' });
    }
    checkHost(request.headers.host, this.server.address());
    checkSite(request, this.#origins);
    this.#origins.allow(request, response);
  }

  #refuse(response: ServerResponse, error: BackplaneError, path: string): void {
    if (response.headersSent) {
      response.end();
      return;
    }
    if (error.httpStatus === METHOD_NOT_ALLOWED) response.setHeader('allow', this.#router.methods(path).join(', '));
    sendProblem(response, error);
  }

  /** @throws BackplaneError permission_denied */
  #grant(role: Role, caller: Caller): Grant {
    return role === 'open' || role === 'subscribe' ? NOTHING : this.#access.enter(caller, { verbs: [role] });
  }

  /** @throws BackplaneError unauthenticated */
  #identify({ headersDistinct, socket }: IncomingMessage): Identity | Promise<Identity> {
    return this.#gate.identify(headersDistinct.authorization ?? [], socket.remoteAddress ?? '');
  }
}

/** The peer as host:port, in the form that gRPC uses. */
function peerOf({ remoteAddress = '', remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}

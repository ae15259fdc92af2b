/** The HTTP API: who may ask, and which route answers. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { statedIdentity } from '../../access/certificate-identity.js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { HTTP_CONNECTIONS_MAX, HTTP_STREAMS_MAX } from '../../limits.js';
import type { AccessControl } from '../access/access-control.js';
import { type Grant, NOTHING } from '../access/authorize.js';
import { type Caller, type Gate, type Identity, NOBODY } from '../access/gate.js';
import type { ServerTls } from '../access/tls/server-tls.js';
import type { HttpBounds } from '../options.js';
import { checkHost, checkSite, hostOf } from './host.js';
import { sendProblem } from './http/answer.js';
import { clientCertificate, headerValues, peerOf } from './http/connection.js';
import { Streams } from './http/events.js';
import { checkNoParameters, parseTarget } from './http/query.js';
import { METHOD_NOT_ALLOWED, type Role, Router } from './http/route.js';
import { type HttpParts, routeTable } from './http/routes.js';
import { HttpListener } from './http-listener.js';
import { Origins } from './origins.js';
import { NOT_HTTP } from './unsound-request.js';

export interface HttpApiOptions extends HttpParts {
  readonly gate: Gate;
  /** Undefined: nothing is encrypted. */
  readonly tls: ServerTls | undefined;
  /** Origins of pages that are served although they are of another site. */
  readonly origins: readonly string[];
  readonly bounds?: HttpBounds | undefined;
}

const BOUNDS: HttpBounds = { connections: HTTP_CONNECTIONS_MAX, streams: HTTP_STREAMS_MAX };
/** Whose routes ask for what their request needs, when they have read it. */
const ASKING: ReadonlySet<Role> = new Set(['subscribe', 'publish', 'groups']);
/** Requests below this path need the token, whatever is there. */
const API_PATH = '/v1';

export class HttpApi {
  readonly listener: HttpListener;
  readonly #router: Router;
  readonly #origins: Origins;

  readonly #gate: Gate;
  readonly #access: AccessControl;

  constructor(options: HttpApiOptions) {
    this.#gate = options.gate;
    this.#access = options.access;
    this.#origins = new Origins(options.origins);
    const { bounds = BOUNDS } = options;
    this.listener = new HttpListener((...call) => void this.#serve(...call), options.tls, bounds.connections);
    this.#router = new Router(routeTable(options, new Streams(this.listener.places, bounds.streams)));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { path, query } = parseTarget(request.url ?? '/');
    // What events hold is never taken for a page, whatever it looks like.
    response.setHeader('x-content-type-options', 'nosniff');
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
      const caller = { peer: peerOf(request), identity };
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
    const hosts = headerValues(request, 'host').length;
    if (hosts > 1) {
      throw new BackplaneError('invalid_argument', `Host must be given once, got ${hosts}`, { field: 'Host' });
    }
    checkHost(hostOf(request), this.listener.server.address());
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
    return role === 'open' || ASKING.has(role) ? NOTHING : this.#access.enter(caller, { verbs: [role] });
  }

  /** @throws BackplaneError unauthenticated */
  #identify(request: IncomingMessage): Identity | Promise<Identity> {
    const certificate = clientCertificate(request);
    return this.#gate.identify(
      headerValues(request, 'authorization'),
      request.socket.remoteAddress ?? '',
      certificate && (() => statedIdentity(certificate)),
    );
  }
}

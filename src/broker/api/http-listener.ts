/**
 * The HTTP server's connections. With TLS also HTTP/2, which a client chooses in the handshake: browsers open six
 * connections of HTTP/1.1 to a host at most, and each event stream keeps one.
 */
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ConnectionPlaces } from '../../flow/connection-places.js';
import {
  HTTP_HEADER_BYTES_MAX,
  HTTP_PIPELINED_MAX,
  HTTP_REQUEST_MS,
  HTTP2_STREAMS_PER_CONNECTION_MAX,
  KEEPALIVE_MS,
  TLS_HANDSHAKE_MS,
} from '../../limits.js';
import { endClosedStreams } from '../../wire/grpc/closed-streams.js';
import { guardConnections } from '../access/tls/connection-guard.js';
import type { ServerTls } from '../access/tls/server-tls.js';
import { connectionOf, noteSession } from './http/connection.js';
import { RequestLine } from './request-line.js';
import { refuseConnect, refuseUnsound } from './unsound-request.js';

/** Answers a request. Those of HTTP/2 have the form of HTTP/1.1 too. */
type Serve = (request: IncomingMessage, response: ServerResponse) => void;

/** Interval at which idle connections are closed while the server ends. */
const IDLE_SWEEP_MS = 20;

const OPTIONS: ServerOptions = {
  maxHeaderSize: HTTP_HEADER_BYTES_MAX,
  headersTimeout: HTTP_REQUEST_MS,
  // Bodies that are read have a time of their own, which is answered; this one closes the connection.
  requestTimeout: 2 * HTTP_REQUEST_MS,
  connectionsCheckingInterval: HTTP_REQUEST_MS / 4,
  keepAliveTimeout: HTTP_REQUEST_MS,
  // TCP keepalive: a peer that vanished is noticed even when nothing is sent to it.
  keepAlive: true,
  keepAliveInitialDelay: KEEPALIVE_MS,
  // A request without Host is refused by its handler, with a clear message.
  requireHostHeader: false,
};

export class HttpListener {
  readonly server: Server | HttpsServer;
  /** Connections in use keep theirs. */
  readonly places: ConnectionPlaces<Socket>;
  readonly #serve: Serve;
  readonly #idleMs: number;
  readonly #lines = new WeakMap<Socket, RequestLine>();
  /** Of HTTP/2, with the connection of each. */
  readonly #sessions = new Map<ServerHttp2Session, Socket>();
  #ended: Promise<void> | undefined;

  /** `idleMs`: connections of HTTP/2 that are idle, or take none of their answers, are closed after it. */
  constructor(serve: Serve, tls: ServerTls | undefined, connectionsMax: number, idleMs = HTTP_REQUEST_MS) {
    this.places = new ConnectionPlaces(connectionsMax);
    this.#serve = serve;
    this.#idleMs = idleMs;
    const requested: Serve = (request, response) => this.#requested(request, response);
    this.server = tls ? this.#secure(tls, requested) : createServer(OPTIONS, requested);
    const { server } = this;
    // Headers are bounded in bytes, so their number need not be; Node would silently drop those over its limit.
    server.maxHeadersCount = 0;
    if (!tls) server.on('connection', (socket: Socket) => this.#connected(socket));
    server.on('clientError', (cause, socket) => {
      refuseUnsound(cause, socket as Socket, this.#lines.get(socket as Socket)?.engaged === true);
    });
    server.on('checkExpectation', requested);
    server.on('connect', (_request, socket) => refuseConnect(socket as Socket));
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
      for (const session of this.#sessions.keys()) session.close();
    });
    return this.#ended;
  }

  /** Ends all connections at once. */
  close(): Promise<void> {
    const ended = this.end();
    this.server.closeAllConnections();
    for (const socket of this.#sessions.values()) socket.destroy();
    return ended;
  }

  #secure(tls: ServerTls, requested: Serve): HttpsServer {
    const server = createHttpsServer(
      {
        ...OPTIONS,
        ...tls.context,
        requestCert: tls.asksClients,
        // Whoever comes without a certificate may come with a token; a bad certificate is refused below.
        rejectUnauthorized: false,
        handshakeTimeout: TLS_HANDSHAKE_MS,
        ALPNProtocols: ['h2', 'http/1.1'],
      },
      requested,
    );
    tls.onChange((context) => server.setSecureContext(context));
    // A failed handshake would get an answer of HTTP in plain text.
    server.removeAllListeners('tlsClientError');
    server.on('tlsClientError', (_cause, socket) => socket.destroy());
    const http1 = server.listeners('secureConnection') as ((socket: TLSSocket) => void)[];
    const http2 = this.#http2();
    server.removeAllListeners('secureConnection');
    server.on('secureConnection', (socket: TLSSocket) => {
      if (socket.alpnProtocol === 'h2') {
        http2.once('session', (session) => this.#began(session, socket));
        http2.emit('connection', socket);
        return;
      }
      this.#connected(socket);
      for (const listener of http1) listener.call(server, socket);
    });
    guardConnections(server, (...refused) => tls.refused(...refused));
    return server;
  }

  /** Never listens: it gets connections whose handshake is done. */
  #http2(): Http2Server {
    const server = createHttp2Server(
      {
        settings: {
          maxConcurrentStreams: HTTP2_STREAMS_PER_CONNECTION_MAX,
          maxHeaderListSize: HTTP_HEADER_BYTES_MAX,
          enablePush: false,
        },
      },
      (request, response) => this.#requestedByHttp2(request, response),
    );
    // Without a listener these would end the process; the session is closed by Node.
    server.on('sessionError', () => undefined);
    return server;
  }

  /** It is the socket that is destroyed: a session waits until its peer has closed, too. */
  #began(session: ServerHttp2Session, socket: Socket): void {
    this.#sessions.set(session, socket);
    socket.once('close', () => this.#sessions.delete(session));
    noteSession(session, socket);
    endClosedStreams(session);
    this.places.add(socket);
    // Idle, or with answers that nobody takes, which wait in memory; event streams have bounds of their own.
    session.setTimeout(this.#idleMs, () => {
      if (!this.places.isKept(socket)) socket.destroy();
    });
  }

  #connected(socket: Socket): void {
    this.#lines.set(socket, new RequestLine(socket, HTTP_PIPELINED_MAX));
    this.places.add(socket);
  }

  #requested(request: IncomingMessage, response: ServerResponse): void {
    // The end of the stream reports a broken connection; without a listener the error would be unhandled.
    response.on('error', () => undefined);
    this.places.heard(request.socket);
    this.#lines.get(request.socket)?.add(request, response, () => this.#serve(request, response));
  }

  /** Each has a stream of its own, so that none waits for another. */
  #requestedByHttp2(request: Http2ServerRequest, response: Http2ServerResponse): void {
    response.on('error', () => undefined);
    // Those of HTTP/1.1 have it: a caller may be gone before anybody listens for that.
    const { stream } = response;
    Object.defineProperty(response, 'destroyed', { get: () => stream.destroyed });
    const asHttp1 = request as unknown as IncomingMessage;
    this.places.heard(connectionOf(asHttp1));
    this.#serve(asHttp1, response as unknown as ServerResponse);
  }
}

/**
 * Authenticates callers in front of the gRPC library: a stream's headers state the caller's credential, and a stream
 * without a valid one is refused before the library allocates anything for the call or reads its message. Handlers
 * learn the identity, never the credential.
 */
import { constants, type Http2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { Metadata, Server } from '@grpc/grpc-js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { publicMessage } from '../../text/public-text.js';
import { refuseCall } from './message-guard.js';
import { http2Servers } from './server-options.js';
import { statusDetails } from './status-details.js';

/** Metadata key under which a handler finds the caller's identity, as JSON in base64url; what a caller sends is dropped. */
const IDENTITY_KEY = 'backplane-identity';

/**
 * Calls that need no credential: health checks, as load balancers and supervisors have none, and that of a node that
 * joins, which brings its own in the request.
 */
const OPEN = /^\/(grpc\.health\.v1\.Health\/.*|backplane\.v1\.Join\/Join)$/;

/** Returns the caller's identity, later where its credential takes time to check. Throws BackplaneError unauthenticated. */
type Identify = (
  authorization: readonly string[],
  peer: string,
  certificate: PeerCertificate | undefined,
) => object | Promise<object>;

type StreamListener = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: readonly string[],
) => void;

/** Call after bind. */
export function gateStreams(server: Server, identify: Identify): void {
  interceptStreams(server, (stream, headers, rawHeaders) => {
    const identity = identityOfStream(stream, headers, rawHeaders, identify);
    delete headers[IDENTITY_KEY];
    delete headers.authorization;
    const known = (found: object | undefined) => {
      if (found) headers[IDENTITY_KEY] = Buffer.from(JSON.stringify(found)).toString('base64url');
    };
    return identity instanceof Promise ? identity.then(known) : known(identity);
  });
}

/**
 * Shows every stream to `admit` before the library gets it: the library reads the headers as `admit` leaves them, and a
 * thrown BackplaneError refuses the call. Where it returns a promise the library gets the stream when that resolves,
 * and until then nothing is read of it. The interceptor added last runs first. Call after bind.
 */
export function interceptStreams(
  server: Server,
  admit: (
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
  ) => void | Promise<void>,
): void {
  for (const http2Server of http2Servers(server)) {
    const [next, ...others] = http2Server.listeners('stream') as StreamListener[];
    if (next === undefined || others.length > 0)
      throw new BackplaneError('internal', 'the gRPC library has changed inside: its streams cannot be gated');
    http2Server.removeAllListeners('stream');
    const gated: StreamListener = (stream, headers, flags, rawHeaders) => {
      const pass = () => next.call(http2Server, stream, headers, flags, rawHeaders);
      try {
        const admitted = admit(stream, headers, rawHeaders);
        if (admitted instanceof Promise) passLater(stream, admitted, pass);
        else pass();
      } catch (cause) {
        refuse(stream, asBackplaneError(cause));
      }
    };
    http2Server.on('stream', gated);
  }
}

function passLater(stream: ServerHttp2Stream, admitted: Promise<void>, pass: () => void): void {
  // Others listen for its bytes, which would otherwise flow past the library.
  stream.pause();
  stream.on('error', () => undefined);
  admitted.then(
    () => {
      if (!stream.destroyed) pass();
    },
    (cause) => refuse(stream, asBackplaneError(cause)),
  );
}

function identityOfStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  identify: Identify,
): object | Promise<object> | undefined {
  if (OPEN.test(headers[':path'] ?? '')) return undefined;
  // `headers` holds only the first value of a header that came twice.
  const values = rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1] === 'authorization');
  const { session } = stream;
  return identify(values, session?.socket?.remoteAddress ?? '', session && certificateOf(session));
}

const certificates = new WeakMap<Http2Session, PeerCertificate>();

/** The certificate that a connection's client has shown, and that was verified; undefined where it has none. */
function certificateOf(session: Http2Session): PeerCertificate | undefined {
  const known = certificates.get(session);
  if (known !== undefined) return known;
  const certificate = (session.socket as TLSSocket).getPeerCertificate?.();
  if (certificate?.raw === undefined) return undefined;
  certificates.set(session, certificate);
  return certificate;
}

/** The caller's identity of an admitted call, as `identify` gave it; undefined for calls that need none. */
export function identityOf(metadata: Metadata): unknown {
  const [text] = metadata.get(IDENTITY_KEY);
  return text === undefined ? undefined : JSON.parse(Buffer.from(String(text), 'base64url').toString('utf8'));
}

function refuse(stream: ServerHttp2Stream, error: BackplaneError): void {
  stream.on('error', () => undefined);
  // The rest of the request is not waited for.
  refuseCall(stream, error.grpcStatus, publicMessage(error), constants.NGHTTP2_NO_ERROR, statusDetails(error));
}

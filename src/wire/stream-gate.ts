/**
 * Stands in front of the gRPC library: who opens a stream says who they are in
 * its headers, and is refused before the library has made anything for the call
 * or read of its message. What handlers learn is the identity, never the
 * credential.
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import { asBackplaneError, BackplaneError } from '../errors.js';
import { http2Servers } from './server-options.js';

/** Metadata key under which a handler finds the caller's identity; what a caller sends under it is dropped. */
const IDENTITY_KEY = 'backplane-identity';

/** Asked for load balancers and supervisors, who have no token. */
const OPEN_PREFIX = '/grpc.health.v1.Health/';

/** Returns the caller's identity. Throws BackplaneError unauthenticated. */
type Identify = (authorization: readonly string[], peer: string) => string;

type StreamListener = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: readonly string[],
) => void;

/** Call after bind. */
export function gateStreams(server: Server, identify: Identify): void {
  for (const http2Server of http2Servers(server)) {
    const [library, ...others] = http2Server.listeners('stream') as StreamListener[];
    if (library === undefined || others.length > 0)
      throw new BackplaneError('internal', 'the gRPC library has changed inside: its streams cannot be gated');
    http2Server.removeAllListeners('stream');
    const gated: StreamListener = (stream, headers, flags, rawHeaders) => {
      try {
        headers[IDENTITY_KEY] = identityOf(stream, headers, rawHeaders, identify);
      } catch (cause) {
        refuse(stream, asBackplaneError(cause));
        return;
      }
      delete headers.authorization;
      library.call(http2Server, stream, headers, flags, rawHeaders);
    };
    http2Server.on('stream', gated);
  }
}

function identityOf(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  identify: Identify,
): string {
  if (headers[':path']?.startsWith(OPEN_PREFIX)) return '';
  // Of a header that came twice, `headers` has only the first.
  const values = rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1] === 'authorization');
  return identify(values, stream.session?.socket?.remoteAddress ?? '');
}

function refuse(stream: ServerHttp2Stream, error: BackplaneError): void {
  stream.on('error', () => undefined);
  if (stream.destroyed || stream.closed) return;
  const headers = { ':status': 200, 'content-type': 'application/grpc' };
  const status = { 'grpc-status': String(error.grpcStatus), 'grpc-message': encodeURI(error.message) };
  stream.respond({ ...headers, ...status }, { endStream: true });
  // What else the caller sends is not waited for.
  stream.close(constants.NGHTTP2_NO_ERROR);
}

/** What is known of the connection by which a request came, of HTTP/1.1 or of HTTP/2, which carries many at once. */
import type { IncomingMessage } from 'node:http';
import type { Http2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';

const sockets = new WeakMap<Http2Session, Socket>();

/** Node does not tell the socket of a session, only something that cannot be destroyed. */
export function noteSession(session: Http2Session, socket: Socket): void {
  sockets.set(session, socket);
}

/** Requests of HTTP/2 have the form of those of HTTP/1.1, but their `socket` is another object for each. */
export function connectionOf(request: IncomingMessage): Socket {
  const { stream } = request as IncomingMessage & { readonly stream?: ServerHttp2Stream };
  return (stream?.session && sockets.get(stream.session)) ?? request.socket;
}

/** The values of all headers of a name in small letters, which Node tells of HTTP/1.1 only. */
export function headerValues({ rawHeaders }: IncomingMessage, name: string): string[] {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name);
}

/** The certificate that the client has shown, and that was verified; undefined where it has none. */
export function clientCertificate({ socket }: IncomingMessage): PeerCertificate | undefined {
  const certificate = (socket as TLSSocket).getPeerCertificate?.();
  return certificate?.raw === undefined ? undefined : certificate;
}

/** The peer as host:port, in the form that gRPC uses. */
export function peerOf({ socket }: IncomingMessage): string {
  const { remoteAddress = '', remotePort } = socket;
  return `${remoteAddress}:${remotePort}`;
}

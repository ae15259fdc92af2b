/**
 * Decides about each TLS connection before anything is read from it or written to it. A client may come without a
 * certificate, as it may have a token; one whose certificate is foreign, has expired or does not hold yet is closed
 * without a word. Handshakes at once are bounded.
 */
import type { Server as NetServer, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { TLS_HANDSHAKES_MAX } from '../../../limits.js';

type Refused = (reason: string, peer: string) => void;

/**
 * Call once all listeners of `server` for secure connections are there, and before it has any: `server` is one of https,
 * or one of HTTP/2 over TLS. `refused` is called for each client whose certificate was refused.
 */
export function guardConnections(server: NetServer, refused: Refused, handshakesMax = TLS_HANDSHAKES_MAX): void {
  const handshakes = new Handshakes(handshakesMax);
  server.prependListener('connection', (socket: Socket) => handshakes.begin(socket));
  const accept = server.listeners('secureConnection') as ((socket: TLSSocket) => void)[];
  server.removeAllListeners('secureConnection');
  server.on('secureConnection', (socket: TLSSocket) => {
    handshakes.end(socket);
    // A connection that breaks is told to whoever reads it; without a listener the error would end the process.
    socket.on('error', () => undefined);
    const problem = problemOf(socket);
    if (problem === undefined) for (const listener of accept) listener.call(server, socket);
    else {
      refused(problem, socket.remoteAddress ?? '');
      socket.destroy();
    }
  });
}

/** Why the client is not to be believed; undefined where it showed no certificate, or a good one. */
function problemOf(socket: TLSSocket): string | undefined {
  // Its certificate was shown on another connection, and is not looked at again.
  if (socket.isSessionReused()) return 'a resumed session';
  if (socket.authorized || !hasCertificate(socket)) return undefined;
  return String(socket.authorizationError ?? 'unauthorized');
}

function hasCertificate(socket: TLSSocket): boolean {
  return socket.getPeerX509Certificate() !== undefined;
}

/** TCP connections that are not secure yet, oldest first. */
class Handshakes {
  readonly #sockets = new Map<string, Socket>();
  readonly #handshakesMax: number;

  constructor(handshakesMax: number) {
    this.#handshakesMax = handshakesMax;
  }

  begin(socket: Socket): void {
    const peer = peerOf(socket);
    const [oldest] = this.#sockets;
    if (oldest !== undefined && this.#sockets.size >= this.#handshakesMax) {
      this.#sockets.delete(oldest[0]);
      oldest[1].destroy();
    }
    this.#sockets.set(peer, socket);
    socket.once('close', () => {
      if (this.#sockets.get(peer) === socket) this.#sockets.delete(peer);
    });
  }

  end(socket: TLSSocket): void {
    this.#sockets.delete(peerOf(socket));
  }
}

/** What the connection and the secure one over it have in common. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

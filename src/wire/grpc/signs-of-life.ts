/**
 * Ends connections whose peer is gone without a word. One look a second goes over some of them, and asks only those of
 * which nothing came since the look before: most clients ask by themselves, and the library would ask each of thousands
 * with a timer of its own.
 */
import type { ServerHttp2Session } from 'node:http2';
import { KEEPALIVE_MS } from '../../limits.js';

const LOOK_MS = 1_000;

interface Watched {
  /** Of the socket, at the last look. */
  bytesRead: number;
  /** A PING was sent then. */
  isAsked: boolean;
}

export class SignsOfLife {
  /** Each is looked at once in KEEPALIVE_MS: a PING has as long for its answer as a peer for a word of its own. */
  readonly #turns: readonly Map<ServerHttp2Session, Watched>[];
  #turn = 0;

  constructor(intervalMs = KEEPALIVE_MS) {
    this.#turns = Array.from({ length: Math.ceil(intervalMs / LOOK_MS) }, () => new Map());
  }

  add(session: ServerHttp2Session): void {
    // It is looked at last.
    const turn = this.#turns[this.#turn]!;
    turn.set(session, { bytesRead: bytesOf(session), isAsked: false });
    session.once('close', () => turn.delete(session));
  }

  /** Call this about once a second. */
  look(): void {
    this.#turn = (this.#turn + 1) % this.#turns.length;
    for (const [session, watched] of this.#turns[this.#turn]!) {
      const bytesRead = bytesOf(session);
      const isHeard = bytesRead !== watched.bytesRead;
      watched.bytesRead = bytesRead;
      if (session.closed || session.destroyed) continue;
      if (!isHeard && watched.isAsked) session.destroy();
      else watched.isAsked = !isHeard && session.ping(() => undefined);
    }
  }
}

function bytesOf({ socket }: ServerHttp2Session): number {
  return socket?.bytesRead ?? 0;
}

/**
 * The requests of one HTTP connection, one at a time. A client may send several without waiting for answers; they have
 * to be answered in order, so that what a later one asks for would gather in memory behind the first, and Node tells
 * the end of a connection only to the answer whose turn it is.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export class RequestLine {
  /** The first of them is being answered. */
  #requests: (() => void)[] = [];
  #latest: IncomingMessage | undefined;

  constructor(
    private readonly socket: Socket,
    /** Waiting or being answered; a connection on which more come is closed. */
    private readonly requestsMax: number,
  ) {
    socket.once('close', () => {
      this.#requests = [];
    });
  }

  /** Whether what comes now is for a request that waits, is being answered, or has been before all of it was there. */
  get engaged(): boolean {
    return this.#requests.length > 0 || this.#latest?.complete === false;
  }

  /** Calls `serve` when all requests before it have been answered; never when the connection has gone by then. */
  add(request: IncomingMessage, response: ServerResponse, serve: () => void): void {
    this.#latest = request;
    if (this.#requests.length >= this.requestsMax) {
      this.socket.destroy();
      return;
    }
    response.once('close', () => this.#next());
    this.#requests.push(serve);
    if (this.#requests.length === 1) serve();
  }

  #next(): void {
    this.#requests.shift();
    if (!this.socket.destroyed) this.#requests[0]?.();
  }
}

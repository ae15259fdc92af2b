/**
 * Serves the requests of one HTTP connection one at a time. A client may send several without waiting for answers, and
 * they must be answered in order. If they were served concurrently, later answers would gather in memory behind the
 * first, and Node tells the end of a connection only to the first of them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export class RequestLine {
  /** Requests to serve, in order; the first is being answered. */
  #requests: (() => void)[] = [];
  #latest: { readonly request: IncomingMessage; readonly response: ServerResponse } | undefined;

  readonly #socket: Socket;
  /** Maximum of requests that wait or are being answered; a connection that sends more is closed. */
  readonly #requestsMax: number;

  constructor(socket: Socket, requestsMax: number) {
    this.#socket = socket;
    this.#requestsMax = requestsMax;
    socket.once('close', () => {
      this.#requests = [];
    });
  }

  /**
   * Whether a request waits, is being answered, or was answered before its body had arrived in full. False while the body
   * of the only one arrives and nothing has been answered: then that can be refused.
   */
  get engaged(): boolean {
    const waiting = this.#requests.length;
    if (this.#latest === undefined) return false;
    const { request, response } = this.#latest;
    if (waiting === 1) return request.complete || response.headersSent;
    return waiting > 0 || !request.complete;
  }

  /** Calls `serve` when all earlier requests have been answered; does not call it if the connection ended before. */
  add(request: IncomingMessage, response: ServerResponse, serve: () => void): void {
    this.#latest = { request, response };
    if (this.#requests.length >= this.#requestsMax) {
      this.#socket.destroy();
      return;
    }
    response.once('close', () => this.#next());
    this.#requests.push(serve);
    if (this.#requests.length === 1) serve();
  }

  #next(): void {
    this.#requests.shift();
    if (!this.#socket.destroyed) this.#requests[0]?.();
  }
}

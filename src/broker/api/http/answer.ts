/** Answers that are sent whole. */
import type { ServerResponse } from 'node:http';
import type { BackplaneError } from '../../../errors.js';
import { ANSWERS_WAITING_BYTES_MAX, MESSAGE_BYTES_MAX } from '../../../limits.js';
import { messageToJson } from '../../../wire/message-json.js';
import type { MessageCodec } from '../../../wire/schema.js';
import { connectionOf } from './connection.js';
import { PROBLEM_TYPE, problemOf } from './problem.js';

export const JSON_TYPE = 'application/json; charset=utf-8';

/** Bound for decoding the broker's own answers; the longest is that of the largest number of nodes. */
const ANSWER_BYTES_MAX = 8 * MESSAGE_BYTES_MAX;

/** Encoded and decoded as a gRPC client would get it: 64-bit numbers as text, every field present. */
export function sendMessage<In extends object>(
  response: ServerResponse,
  codec: MessageCodec<In, unknown>,
  message: In,
): void {
  const whole = codec.decode(codec.encode(message), ANSWER_BYTES_MAX) as object;
  send(response, 200, JSON_TYPE, `${JSON.stringify(messageToJson(whole))}\n`);
}

export function sendText(response: ServerResponse, status: number, text: string): void {
  send(response, status, 'text/plain; charset=utf-8', text);
}

export function sendProblem(response: ServerResponse, error: BackplaneError): void {
  const { retryAfterMs } = error.details;
  if (retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000));
  if (error.code === 'unauthenticated') response.setHeader('www-authenticate', 'Bearer realm="backplane"');
  // The rest of a request that did not come is not waited for.
  if (error.code === 'deadline_exceeded' && response.req.httpVersionMajor < 2)
    response.setHeader('connection', 'close');
  send(response, error.httpStatus, PROBLEM_TYPE, `${JSON.stringify(problemOf(error))}\n`);
}

/** Of a body that is a buffer of its own nothing is copied: it may be sent to many. */
export function send(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  const bytes = Buffer.byteLength(body);
  response.writeHead(status, { 'content-type': type, 'content-length': bytes });
  waiting.add(response, bytes);
  response.end(body);
}

/** Bounds the bytes of answers that nobody takes: anybody may ask, by many connections and requests at once. */
export class WaitingAnswers {
  /** In the order in which they were given. */
  readonly #bytes = new Map<ServerResponse, number>();
  #sum = 0;
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Ends connections, beginning with the one whose answer waits for longest, until there is room. */
  add(response: ServerResponse, bytes: number): void {
    if (response.destroyed) return;
    this.#bytes.set(response, bytes);
    this.#sum += bytes;
    response.once('close', () => this.#remove(response));
    for (const longest of this.#bytes.keys()) {
      if (this.#sum <= this.#bytesMax || longest === response) return;
      this.#remove(longest);
      connectionOf(longest.req).destroy();
    }
  }

  #remove(response: ServerResponse): void {
    this.#sum -= this.#bytes.get(response) ?? 0;
    this.#bytes.delete(response);
  }
}

const waiting = new WaitingAnswers(ANSWERS_WAITING_BYTES_MAX);

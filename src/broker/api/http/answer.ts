/** Answers that are sent whole. */
import type { ServerResponse } from 'node:http';
import type { BackplaneError } from '../../../errors.js';
import { WaitingAnswers } from '../../../flow/connection-places.js';
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
  bound(response, bytes);
  response.end(body);
}

const waiting = new WaitingAnswers<ServerResponse>(ANSWERS_WAITING_BYTES_MAX, endConnection);

/** Counts an answer as long as its reader has not taken it. */
function bound(response: ServerResponse, bytes: number): void {
  if (response.destroyed) return;
  waiting.add(response, bytes);
  response.once('close', () => waiting.taken(response));
}

function endConnection({ req }: ServerResponse): void {
  connectionOf(req).destroy();
}

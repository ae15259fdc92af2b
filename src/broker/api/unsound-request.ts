/** Answers requests that Node's parser refuses before they can be routed, in JSON like every other refusal. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { BackplaneError } from '../../errors.js';
import { HTTP_HEADER_BYTES_MAX, HTTP_LINGER_MS, HTTP_REQUEST_MS } from '../../limits.js';
import { HttpRefusal, PROBLEM_TYPE, problemOf } from './http/problem.js';

/** Answers by code of Node's error. */
const REFUSALS: Readonly<Record<string, BackplaneError>> = {
  HPE_HEADER_OVERFLOW: new HttpRefusal(
    431,
    'too_large',
    `request line and headers must be at most ${HTTP_HEADER_BYTES_MAX} bytes`,
  ),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: new BackplaneError(
    'too_large',
    'the extensions of a chunk must be at most 16384 bytes',
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new BackplaneError(
    'deadline_exceeded',
    `a request must arrive within ${HTTP_REQUEST_MS} ms`,
  ),
};
export const NOT_HTTP = 'this is not an HTTP/1.1 request';
const MALFORMED = new BackplaneError('invalid_argument', NOT_HTTP);

/** `engaged`: the error belongs to a request that has an answer, so no other answer may be written. */
export function refuseUnsound(cause: NodeJS.ErrnoException, socket: Socket, engaged: boolean): void {
  if (engaged || !socket.writable || cause.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  answerAndClose(socket, REFUSALS[cause.code ?? ''] ?? MALFORMED);
}

/** Answers CONNECT, which asks for a proxy, with 405. */
export function refuseConnect(socket: Socket): void {
  answerAndClose(socket, new HttpRefusal(405, 'invalid_argument', 'CONNECT is not understood here'));
}

function answerAndClose(socket: Socket, error: BackplaneError): void {
  socket.on('error', () => socket.destroy());
  const { httpStatus: status } = error;
  const body = `${JSON.stringify(problemOf(error))}\n`;
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // Remaining input is read and dropped: closing a socket with unread bytes resets it, and the peer loses the answer.
  socket.resume();
  setTimeout(() => socket.destroy(), HTTP_LINGER_MS).unref();
}

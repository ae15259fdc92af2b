/** Answers requests that Node's parser refuses before they can be routed, in JSON like every other refusal. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { BackplaneError, type ErrorCode } from '../../errors.js';
import { HTTP_HEADER_BYTES_MAX, HTTP_LINGER_MS, HTTP_REQUEST_MS } from '../../limits.js';
import { errorToJson } from './ndjson.js';

interface Refusal {
  readonly status: number;
  readonly code: ErrorCode;
  readonly message: string;
}

/** Answers by code of Node's error. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    code: 'resource_exhausted',
    message: `request line and headers must be at most ${HTTP_HEADER_BYTES_MAX} bytes`,
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    code: 'resource_exhausted',
    message: 'the extensions of a chunk must be at most 16384 bytes',
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    code: 'resource_exhausted',
    message: `a request must arrive within ${HTTP_REQUEST_MS} ms`,
  },
};
const MALFORMED: Refusal = { status: 400, code: 'invalid_argument', message: 'this is not an HTTP/1.1 request' };

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
  answerAndClose(socket, { status: 405, code: 'invalid_argument', message: 'CONNECT is not understood here' });
}

function answerAndClose(socket: Socket, { status, code, message }: Refusal): void {
  socket.on('error', () => socket.destroy());
  const body = `${JSON.stringify({ error: errorToJson(new BackplaneError(code, message)) })}\n`;
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // Remaining input is read and dropped: closing a socket with unread bytes resets it, and the peer loses the answer.
  socket.resume();
  setTimeout(() => socket.destroy(), HTTP_LINGER_MS).unref();
}

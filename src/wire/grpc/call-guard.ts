/**
 * Checks a call's headers before the gRPC library reads them. The library repeats whole headers in its error messages,
 * so they are bounded here. It also counts a deadline in 32 signed bits of milliseconds, and ends a call with a
 * deadline beyond 24.8 days at once or at a wrong time, so such deadlines are kept here.
 *
 *   grpc-timeout := digit{1,8} ('H' | 'M' | 'S' | 'm' | 'u' | 'n')
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { type Server, status } from '@grpc/grpc-js';
import { BackplaneError } from '../../errors.js';
import { startLongTimer } from '../../flow/long-timer.js';
import { CALL_HEADER_CHARACTERS_MAX } from '../../limits.js';
import { refuseCall } from './message-guard.js';
import { interceptStreams } from './stream-gate.js';

const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
/** The longest deadline that the library can count. */
const LIBRARY_TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** Headers that the library repeats in its answers. */
const REPEATED = [':path', 'grpc-encoding', 'grpc-timeout'];

/** Call after bind. */
export function guardCalls(server: Server): void {
  interceptStreams(server, (stream, headers) => {
    checkHeaders(headers);
    const timeoutMs = timeoutOf(headers);
    if (timeoutMs === undefined || timeoutMs <= LIBRARY_TIMEOUT_MS_MAX) return;
    delete headers['grpc-timeout'];
    keepDeadline(stream, timeoutMs);
  });
}

function checkHeaders(headers: IncomingHttpHeaders): void {
  for (const name of REPEATED) {
    const { length } = String(headers[name] ?? '');
    if (length <= CALL_HEADER_CHARACTERS_MAX) continue;
    const bound = `must be at most ${CALL_HEADER_CHARACTERS_MAX} characters`;
    throw new BackplaneError('invalid_argument', `${name} ${bound}, got ${length}`);
  }
}

/** The deadline in milliseconds; undefined when the call has none. */
function timeoutOf(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['grpc-timeout'];
  if (text === undefined) return undefined;
  const [, digits, unit] = TIMEOUT.exec(String(text)) ?? [];
  if (digits === undefined || unit === undefined) {
    const form = 'must be 1 to 8 digits and H, M, S, m, u or n';
    throw new BackplaneError('invalid_argument', `grpc-timeout ${form}, got ${JSON.stringify(text)}`);
  }
  return Number(digits) * UNIT_MS[unit]!;
}

function keepDeadline(stream: ServerHttp2Stream, timeoutMs: number): void {
  const release = startLongTimer(timeoutMs, () => {
    refuseCall(stream, status.DEADLINE_EXCEEDED, 'Deadline exceeded', constants.NGHTTP2_CANCEL);
  });
  stream.once('close', release);
}

/** Problems of the HTTP API (RFC 9457) as errors. Runs in browsers. */
import { BackplaneError, type ErrorCode, isErrorCode } from '../../errors.js';

/** The message Problem of the protos; from a proxy there may be none of it. */
export interface Problem {
  readonly status?: number;
  readonly title?: string;
  readonly detail?: string;
  readonly code?: string;
  readonly field?: string;
  readonly line?: number;
  readonly column?: number;
  readonly length?: number;
  readonly suggestion?: string;
  readonly oldest?: string;
  readonly retryAfterMs?: number;
}

/** What a status means that a proxy says. */
const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid_argument',
  401: 'unauthenticated',
  403: 'permission_denied',
  404: 'not_found',
  408: 'unavailable',
  413: 'too_large',
  429: 'resource_exhausted',
};

export function problemError(problem: Problem): BackplaneError {
  const {
    status = 500,
    title,
    detail,
    code = '',
    field,
    line,
    column,
    length,
    suggestion,
    oldest,
    retryAfterMs,
  } = problem;
  const known = isErrorCode(code) ? code : (BY_STATUS[status] ?? (status >= 500 ? 'unavailable' : 'internal'));
  const details = { field, line, column, length, suggestion, oldest, retryAfterMs };
  return new BackplaneError(known, detail ?? title ?? `HTTP status ${status}`, details);
}

/**
 * One error class with a closed set of codes, and the gRPC status, HTTP status and exit code of each. A message is one
 * line that names the field, the bound and the value, and says what to do where there is something to do.
 */
import { ERROR_CHARACTERS_MAX } from './limits/client.js';

export type ErrorCode =
  | 'invalid_argument'
  | 'filter_invalid'
  | 'cursor_invalid'
  | 'cursor_expired'
  | 'not_found'
  | 'already_exists'
  | 'resource_exhausted'
  | 'too_large'
  | 'deadline_exceeded'
  | 'failed_precondition'
  | 'fenced'
  | 'unauthenticated'
  | 'permission_denied'
  | 'unavailable'
  | 'damaged'
  | 'cancelled'
  | 'internal';

/** gRPC's status codes, by number: browsers, and the many commands that never connect, have no gRPC. */
export type GrpcStatus = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15 | 16;

const MAPPING: Record<ErrorCode, { grpc: GrpcStatus; http: number; exit: number }> = {
  invalid_argument: { grpc: 3, http: 400, exit: 2 },
  filter_invalid: { grpc: 3, http: 400, exit: 2 },
  cursor_invalid: { grpc: 3, http: 400, exit: 2 },
  cursor_expired: { grpc: 11, http: 410, exit: 2 },
  not_found: { grpc: 5, http: 404, exit: 1 },
  already_exists: { grpc: 6, http: 409, exit: 1 },
  resource_exhausted: { grpc: 8, http: 429, exit: 1 },
  too_large: { grpc: 8, http: 413, exit: 2 },
  deadline_exceeded: { grpc: 4, http: 408, exit: 1 },
  failed_precondition: { grpc: 9, http: 409, exit: 1 },
  fenced: { grpc: 10, http: 409, exit: 1 },
  unauthenticated: { grpc: 16, http: 401, exit: 2 },
  permission_denied: { grpc: 7, http: 403, exit: 1 },
  unavailable: { grpc: 14, http: 503, exit: 1 },
  damaged: { grpc: 15, http: 500, exit: 1 },
  cancelled: { grpc: 1, http: 499, exit: 130 },
  internal: { grpc: 13, http: 500, exit: 1 },
};

/** What programs can use of an error, besides its code. */
export interface ErrorDetails {
  /** The field, parameter or setting that the error is about, by the name that the caller uses. */
  readonly field?: string | undefined;
  /** The place in a filter, in characters: line and column count from 1. */
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  readonly length?: number | undefined;
  /** A known name that was probably meant, in place of what stands in the field or at the column. */
  readonly suggestion?: string | undefined;
  /** cursor_expired: the oldest offset that the log still has. */
  readonly oldest?: string | undefined;
  /** After this many milliseconds the same request may succeed. */
  readonly retryAfterMs?: number | undefined;
  /** A broker refused the request itself. */
  readonly refused?: boolean | undefined;
  /** The system's code for a file that could not be read, or a directory that could not be written to. */
  readonly system?: string | undefined;
}

const CODES: ReadonlySet<string> = new Set(Object.keys(MAPPING));

export function isErrorCode(text: string): text is ErrorCode {
  return CODES.has(text);
}

export class BackplaneError extends Error {
  override readonly name = 'BackplaneError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: ErrorDetails = {},
  ) {
    super(sendable(message));
  }

  get grpcStatus(): GrpcStatus {
    return MAPPING[this.code].grpc;
  }

  get httpStatus(): number {
    return MAPPING[this.code].http;
  }

  /** A broker's refusal is always 2, whatever the code, because the same request would be refused again. */
  get exitCode(): number {
    return this.details.refused === true ? 2 : MAPPING[this.code].exit;
  }
}

/**
 * Bounds a message: it may contain values from users and libraries, and none may fill a log, a header or a screen. Half
 * of a surrogate pair, which cutting can leave, is replaced, because gRPC throws on it instead of answering.
 */
function sendable(message: string): string {
  const bounded = message.length <= ERROR_CHARACTERS_MAX ? message : `${message.slice(0, ERROR_CHARACTERS_MAX - 1)}…`;
  return bounded.replace(/\p{Cs}/gu, '\ufffd');
}

/** Any thrown value as a BackplaneError; a foreign one becomes `internal`. */
export function asBackplaneError(cause: unknown): BackplaneError {
  if (cause instanceof BackplaneError) return cause;
  return new BackplaneError('internal', cause instanceof Error ? cause.message : String(cause));
}

/** An error for an invalid given value. @param field the name by which the caller knows it */
export function invalid(field: string, problem: string, details: ErrorDetails = {}): BackplaneError {
  return new BackplaneError('invalid_argument', `${field}: ${problem}`, { field, ...details });
}

/** Cursors are only ever about the field `cursor`. */
export function cursorInvalid(message: string): BackplaneError {
  return new BackplaneError('cursor_invalid', message, { field: 'cursor' });
}

/** @param oldest the oldest offset that the log still has, where that is why */
export function cursorExpired(message: string, oldest?: number): BackplaneError {
  return new BackplaneError('cursor_expired', message, { field: 'cursor', oldest: oldest?.toString() });
}

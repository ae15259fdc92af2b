/** Errors as JSON, the same in answers, in streams and as events: application/problem+json (RFC 9457). */
import { BackplaneError, type ErrorCode, type ErrorDetails } from '../../../errors.js';
import { PROBLEM_FIELD_CHARACTERS_MAX } from '../../../limits.js';
import { publicMessage } from '../../../text/public-text.js';
import type { Json } from '../../../wire/event/event-json.js';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

const TITLES: Readonly<Record<ErrorCode, string>> = {
  invalid_argument: 'The request is not valid',
  filter_invalid: 'The filter is not valid',
  cursor_invalid: 'The cursor is not valid',
  cursor_expired: 'The cursor has expired',
  not_found: 'There is no such thing',
  already_exists: 'It exists already',
  resource_exhausted: 'There is no room',
  too_large: 'The request is too large',
  deadline_exceeded: 'The request took too long to arrive',
  failed_precondition: 'It cannot be done as things are',
  fenced: 'Somebody else has taken over',
  unauthenticated: 'The token is missing or wrong',
  permission_denied: 'This is not allowed',
  unavailable: 'The broker is not available',
  damaged: 'Stored data is damaged',
  cancelled: 'The request was cancelled',
  internal: 'The broker failed',
};

/** A refusal by HTTP itself, whose status says more than the code. */
export class HttpRefusal extends BackplaneError {
  readonly #status: number;

  constructor(status: number, code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(code, message, details);
    this.#status = status;
  }

  override get httpStatus(): number {
    return this.#status;
  }
}

/** The message Problem of the protos; `status` is that of the answer. */
export function problemOf(error: BackplaneError): { [name: string]: Json } {
  const { code, httpStatus: status, details } = error;
  const field = details.field?.slice(0, PROBLEM_FIELD_CHARACTERS_MAX);
  const { line, column, length, suggestion, oldest, retryAfterMs } = details;
  const known = Object.entries({ field, line, column, length, suggestion, oldest, retryAfterMs }).flatMap(
    ([name, value]): [string, Json][] => (value === undefined ? [] : [[name, value]]),
  );
  const type = `urn:backplane:problem:${code}`;
  return { type, title: TITLES[code], status, detail: publicMessage(error), code, ...Object.fromEntries(known) };
}

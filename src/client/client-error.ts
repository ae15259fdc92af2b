/** Converts gRPC failures to BackplaneError. The broker's message is kept: it names the field and the remedy. */
import { type Metadata, status } from '@grpc/grpc-js';
import { asBackplaneError, BackplaneError, type ErrorCode } from '../errors.js';
import { codeOfStatus, DETAILS_KEY, detailsOfStatus } from '../wire/grpc/status-details.js';

/** gRPC status to error code. After `unavailable`, another broker, or the same one later, may answer. */
const CODES: Readonly<Partial<Record<status, ErrorCode>>> = {
  [status.INVALID_ARGUMENT]: 'invalid_argument',
  [status.OUT_OF_RANGE]: 'cursor_expired',
  [status.NOT_FOUND]: 'not_found',
  [status.ALREADY_EXISTS]: 'already_exists',
  [status.RESOURCE_EXHAUSTED]: 'resource_exhausted',
  [status.UNAUTHENTICATED]: 'unauthenticated',
  [status.PERMISSION_DENIED]: 'permission_denied',
  [status.FAILED_PRECONDITION]: 'failed_precondition',
  [status.DATA_LOSS]: 'damaged',
  [status.UNAVAILABLE]: 'unavailable',
  // A proxy or a broken connection can report a lost broker with these statuses.
  [status.DEADLINE_EXCEEDED]: 'unavailable',
  [status.CANCELLED]: 'unavailable',
  [status.ABORTED]: 'unavailable',
  [status.UNIMPLEMENTED]: 'failed_precondition',
};

/** Errors by which the broker refuses the request itself, so that asking again later does not help. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'not_found',
  'already_exists',
  'failed_precondition',
  'fenced',
  'permission_denied',
]);

export function clientError(thrown: unknown): BackplaneError {
  const { code, details, metadata } = thrown as { code?: unknown; details?: unknown; metadata?: Metadata };
  if (thrown instanceof BackplaneError || typeof code !== 'number' || typeof details !== 'string') {
    return asBackplaneError(thrown);
  }
  // Node's http2 reports a connection that breaks during a call as INTERNAL.
  if (code === status.INTERNAL && /RST_STREAM|ECONNRESET|GOAWAY|session/i.test(details)) {
    return new BackplaneError('unavailable', details);
  }
  const [encoded] = metadata?.get(DETAILS_KEY) ?? [];
  // What no broker said is from the library, or from a proxy: then the status has to do.
  const told = Buffer.isBuffer(encoded) ? codeOfStatus(encoded) : undefined;
  const error = told ?? CODES[code as status] ?? 'internal';
  const refused = REFUSALS.has(error);
  const more = Buffer.isBuffer(encoded) ? detailsOfStatus(encoded) : {};
  return new BackplaneError(error, error === 'unavailable' ? reason(details) : details, { ...more, refused });
}

/**
 * `cause`: the last failure; one about a setting says more than that nobody answers.
 * @param advice what to do about it
 */
export function noBrokerError(brokers: readonly string[], cause: BackplaneError, advice?: string): BackplaneError {
  if (cause.details.field !== undefined) return cause;
  const asked = brokers.length === 1 ? `no broker answers at ${brokers[0]}` : `none of ${brokers.join(', ')} answers`;
  return new BackplaneError('unavailable', `${asked}${advice === undefined ? '' : `: ${advice}`} (${cause.message})`);
}

/** Extracts the system error from a grpc-js message, or removes the empty "Resolution note:" at its end. */
function reason(details: string): string {
  const system = /(connect E[A-Z]+|ENOTFOUND|EAI_AGAIN) [^\s,;]*[^\s,;.]/.exec(details)?.[0];
  return system ?? details.replace(/[\s.]*Resolution note:\s*$/, '');
}

/** gRPC failures as a client's BackplaneError: the broker's message is kept, it names the field and the mend. */
import { status } from '@grpc/grpc-js';
import { asBackplaneError, BackplaneError, type ErrorCode } from '../errors.js';

/** Statuses after which another broker, or the same one later, may well answer. */
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
  // What a proxy or a dying connection makes of a lost broker.
  [status.DEADLINE_EXCEEDED]: 'unavailable',
  [status.CANCELLED]: 'unavailable',
  [status.ABORTED]: 'unavailable',
  [status.UNIMPLEMENTED]: 'failed_precondition',
};

/** The broker's answer to what was asked, not to when. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'not_found',
  'already_exists',
  'failed_precondition',
  'permission_denied',
]);

export function clientError(thrown: unknown): BackplaneError {
  const { code, details } = thrown as { code?: unknown; details?: unknown };
  if (thrown instanceof BackplaneError || typeof code !== 'number' || typeof details !== 'string') {
    return asBackplaneError(thrown);
  }
  // Node's http2 reports a connection torn down in the middle as INTERNAL.
  if (code === status.INTERNAL && /RST_STREAM|ECONNRESET|GOAWAY|session/i.test(details)) {
    return new BackplaneError('unavailable', details);
  }
  const error = CODES[code as status] ?? 'internal';
  const refused = REFUSALS.has(error);
  return new BackplaneError(error, error === 'unavailable' ? reason(details) : details, { refused });
}

export function noBrokerError(brokers: readonly string[], cause: BackplaneError | undefined): BackplaneError {
  const asked = brokers.length === 1 ? `no broker answers at ${brokers[0]}` : `none of ${brokers.join(', ')} answers`;
  return new BackplaneError(
    'unavailable',
    `${asked}: start one with "backplane up", or name another with --broker or BACKPLANE_BROKERS (${cause?.message ?? 'no answer'})`,
  );
}

/** grpc-js says a lot, with an empty "Resolution note:" behind it; what matters is in the middle. */
function reason(details: string): string {
  const system = /(connect E[A-Z]+|ENOTFOUND|EAI_AGAIN) [^\s,;]*[^\s,;.]/.exec(details)?.[0];
  return system ?? details.replace(/[\s.]*Resolution note:\s*$/, '');
}

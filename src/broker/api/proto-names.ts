/**
 * Errors name list parameters in the singular, as query strings do. The protos' fields, which gRPC and JSON bodies have,
 * are plural.
 */
import { asBackplaneError, BackplaneError } from '../../errors.js';

export function inProtoNames(cause: unknown): BackplaneError {
  const error = asBackplaneError(cause);
  const { code, message, details } = error;
  if (details.field !== 'topic' && details.field !== 'node') return error;
  const field = `${details.field}s`;
  return new BackplaneError(code, message.replace(/^(topic|node): /, '$1s: '), { ...details, field });
}

/**
 * Errors name list parameters in the singular, as query strings do. The protos' fields, which gRPC and JSON bodies have,
 * are plural.
 */
import { asBackplaneError, BackplaneError } from '../../errors.js';

export function inProtoNames(cause: unknown): BackplaneError {
  const { code, message, details } = asBackplaneError(cause);
  const field = details.field?.replace(/^(topic|node)$/, '$1s');
  return new BackplaneError(code, message.replace(/^(topic|node): /, '$1s: '), { ...details, field });
}

/** The caller of a gRPC call, whom the gate has let in. */
import type { Metadata } from '@grpc/grpc-js';
import { BackplaneError } from '../../errors.js';
import { identityOf } from '../../wire/grpc/stream-gate.js';
import type { Caller, Identity } from './gate.js';

/** Throws internal for a call that did not pass the gate. */
export function callerOf(call: { readonly metadata: Metadata; getPeer(): string }): Caller {
  const identity = identityOf(call.metadata) as Identity | undefined;
  if (identity === undefined) throw new BackplaneError('internal', 'the call has no identity');
  return { peer: call.getPeer(), identity };
}

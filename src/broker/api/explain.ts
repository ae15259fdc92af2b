/** What a subscription would do, the same for gRPC and HTTP. */
import { BackplaneError } from '../../errors.js';
import type { ExplainRequest__Output, ExplainResponse } from '../../wire/messages.js';
import type { AccessControl } from '../access/access-control.js';
import type { Caller } from '../access/gate.js';
import { explain } from '../delivery/explanation.js';
import type { NodeRegistry } from '../nodes/node-registry.js';

/** Throws what subscriptions are refused with, and invalid_argument where there is none. */
export function explainRequest(
  { subscription }: ExplainRequest__Output,
  registry: NodeRegistry,
  access: AccessControl,
  caller: Caller,
): ExplainResponse {
  if (!subscription) {
    throw new BackplaneError('invalid_argument', 'subscription is missing', { field: 'subscription' });
  }
  const checked = access.subscription(subscription, caller);
  const nodes = registry.connected(checked.nodes.matches);
  return { plan: explain(checked, registry), nodes };
}

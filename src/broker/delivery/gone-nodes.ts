/** Nodes that cannot be asked because they are gone. */
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import type { GoneNode } from './history/coverage.js';

export function goneNodes(registry: NodeRegistry, { nodes }: CheckedSubscription): GoneNode[] {
  return [...registry.all()].flatMap(({ name, goneSinceMs, lastSeenMs }) => {
    const gone = goneSinceMs !== undefined && nodes.matches(name);
    return gone ? { node: name, sinceMs: goneSinceMs, lastSeenMs } : [];
  });
}

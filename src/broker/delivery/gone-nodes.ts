/** Nodes that cannot be asked as they are gone, and whether a window could have had something of them. */
import type { CheckedSubscription } from '../../subscriptions/request/subscription-request.js';
import type { NodeRegistry } from '../nodes/node-registry.js';
import type { ResumedCursor } from './cursor/resumed-cursor.js';
import type { CoverageSum, GoneNode } from './history/coverage.js';

export function goneNodes(registry: NodeRegistry, { nodes }: CheckedSubscription): GoneNode[] {
  return [...registry.all()].flatMap(({ name, goneSinceMs, lastSeenMs }) => {
    const gone = goneSinceMs !== undefined && nodes.matches(name);
    return gone ? { node: name, sinceMs: goneSinceMs, lastSeenMs } : [];
  });
}

/**
 * Once the past has been delivered, `events` of it: wall time from when on a node could have had something more.
 * Undefined: from ever on.
 */
export function windowFromNs(
  { window }: CheckedSubscription,
  resumption: ResumedCursor | undefined,
  events: number,
  { oldestNs }: CoverageSum,
): bigint | undefined {
  if (resumption) {
    const { history, sinceNs = 0n } = resumption.state;
    return history && (history.wallNs > sinceNs ? history.wallNs : sinceNs);
  }
  // Of the last N it begins with the oldest of them, unless there were not so many.
  return window.last > 0 && events >= window.last ? oldestNs : window.sinceNs;
}

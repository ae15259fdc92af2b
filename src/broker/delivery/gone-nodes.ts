/** Nodes that cannot be asked because they are gone, and from when on a window could have had events of them. */
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
 * Call this after the past was delivered, `events` in number. Returns the wall time from which a gone node's events
 * would have been in the window; undefined if the window has no start.
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
  // A window of the last N events starts at the oldest of them, unless there were fewer than N.
  return window.last > 0 && events >= window.last ? oldestNs : window.sinceNs;
}

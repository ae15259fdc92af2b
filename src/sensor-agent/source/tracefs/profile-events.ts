/** The trace events of each profile, `group/event`. */
import { CATALOGUE, type Profile, tracedEvents } from '../../../subscriptions/pushdown/catalogue.js';

export function profileEvents(profile: Profile): readonly string[] {
  const entries = [...CATALOGUE.values()].filter((entry) => entry.profile === profile);
  const events = entries.flatMap((entry) => [
    ...tracedEvents(entry),
    // The agent's own have no group here.
    ...(entry.pathPoint?.beside ?? []).filter((event) => event.includes('/')),
  ]);
  return [...new Set(events)];
}

/** Events that have no type of their own, but say what else is so of a process: that it was moved into a cgroup. */
const CONTEXT_EVENTS: readonly string[] = ['cgroup/cgroup_attach_task', 'cgroup/cgroup_transfer_tasks'];

/**
 * The default event set: what processes and TCP connections do. No measurable
 * cost to the workload; any `syscalls:*` event would tax every system call.
 */
export const LITE_EVENTS: readonly string[] = [...profileEvents('lite'), ...CONTEXT_EVENTS];

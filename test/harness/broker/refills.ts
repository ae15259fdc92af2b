/** Subscriptions with refill, and an agent that sheds what it publishes or sends it. */
import type { TestAgent } from './test-agent.js';

export const REFILL = { topics: ['process'], follow: true, refill: true };

/** Events with these pids, shed or sent. */
export function publish(agent: TestAgent, pids: readonly number[], shedding: boolean, comm?: string): void {
  for (const pid of pids) agent.recorder.record('process.exec', pid, comm);
  agent.shedding = shedding;
  agent.publish();
}

export function sorted(pids: readonly number[]): number[] {
  return pids.toSorted((a, b) => a - b);
}

/**
 * What nodes have counted since the broker started, summed. Agents count from their own start, so what they counted
 * before their first report in a session is not in it.
 */
import type { NodeReport__Output } from '../../wire/messages.js';

const COUNTERS = {
  recorded: 'eventsRecorded',
  lost: 'eventsLost',
  matched: 'eventsMatched',
  shed: 'eventsShed',
} as const;

export type NodeStage = keyof typeof COUNTERS;

export class ReportedEvents {
  readonly totals: Record<NodeStage, number> = { recorded: 0, lost: 0, matched: 0, shed: 0 };

  /** `before` is the node's report before, in the same session; undefined when this is the first. */
  add(report: NodeReport__Output, before: NodeReport__Output | undefined): void {
    if (before === undefined) return;
    for (const [stage, counter] of Object.entries(COUNTERS) as [NodeStage, (typeof COUNTERS)[NodeStage]][]) {
      this.totals[stage] += Math.max(0, Number(report[counter]) - Number(before[counter]));
    }
  }
}

/** What a node is told when it connects: how far the log has its frames, and where it has to go on. */
import { TOPICS } from '../../../wire/event/event.js';
import { comparePositions, laterPosition, type Position } from '../../../wire/position.js';
import type { LogStore } from '../../log/log-store.js';
import type { NodeRecord } from '../node-record.js';
import type { Wanted } from './wanted.js';

/** Position up to which the log needs nothing more of one topic; the agent is told it in the welcome. */
export interface CoveredTopic {
  readonly topic: string;
  readonly to: Position;
  /** True when interest in the topic was in force without a break, so that the agent continues from `to`. */
  readonly resume: boolean;
  /** True when the log's last frame of the topic ended exactly at `to`. */
  readonly frameEnd: boolean;
}

export function coveredTopics(record: NodeRecord, wanted: Wanted, store: LogStore): CoveredTopic[] {
  const covered: CoveredTopic[] = [];
  for (const topic of Object.keys(TOPICS)) {
    const to = store.coveredTo(record.name, topic);
    const promised = earliestHold(record, wanted, topic);
    const resume = promised !== undefined;
    // If the hold begins after the last frame, the log needs frames from the hold on only.
    const from = to && promised ? laterPosition(to, promised) : (to ?? promised);
    if (from) covered.push({ topic, to: from, resume, frameEnd: to !== undefined && comparePositions(to, from) === 0 });
  }
  return covered;
}

function earliestHold(record: NodeRecord, { predicates }: Wanted, topic: string): Position | undefined {
  let earliest: Position | undefined;
  for (const { id, topics } of predicates) {
    const hold = topics.includes(topic) ? record.holds.get(id)?.first : undefined;
    if (hold && (!earliest || comparePositions(hold, earliest) < 0)) earliest = hold;
  }
  return earliest;
}

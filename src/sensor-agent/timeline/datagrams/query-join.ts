/**
 * Joins what a datagram asked, which is recorded beside the pages, with its entry in them. The same thread wrote both in
 * one call, on one CPU, the copy first; each took a time of its own.
 */
import { partitionPoint } from '../../../flow/partition-point.js';
import { QUERY_JOIN_NS_MAX } from '../../../limits.js';
import type { RecordedQuery } from '../../recorder/recording.js';
import type { TraceEvent } from '../kernel-events.js';
import { QUERY_EVENTS } from './datagram-events.js';

interface Entry extends TraceEvent {
  readonly timeNs: bigint;
}

/** The entry of the datagram among those of its lane, which are in the order of their times. */
export function entryOf<E extends Entry>(lane: readonly E[] = [], query: RecordedQuery): E | undefined {
  const { timeNs, pid, packet } = query;
  for (let at = partitionPoint(0, lane.length, (index) => lane[index]!.timeNs < timeNs); at < lane.length; at += 1) {
    const entry = lane[at]!;
    if (entry.timeNs - timeNs > QUERY_JOIN_NS_MAX) return undefined;
    if (!QUERY_EVENTS.has(entry.name) || entry.pid !== pid || entry.query !== undefined) continue;
    if (entry.values['packet'] === packet) return entry;
  }
  return undefined;
}

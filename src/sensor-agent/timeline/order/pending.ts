/** What waits in a timeline until it can be told, lane by lane, and how it is put in position order. */
import type { RecordedNotice, RecordedPaths, RecordedQueries } from '../../recorder/recording.js';
import { type EventFormat, eventFlags, eventPid } from '../../source/pages/format.js';
import { entryOf } from '../datagrams/query-join.js';
import type { TraceEvent } from '../kernel-events.js';
import { eventAt } from '../paths/opened-file.js';
import type { Loss } from '../timeline-sink.js';

export interface Pending extends TraceEvent {
  readonly timeNs: bigint;
  readonly lane: number;
  readonly tie: number;
  /** Ordinal of the record that held it. */
  readonly ordinal: number;
  readonly notice?: RecordedNotice;
  readonly loss?: Loss;
  /** Types whose events were off until here. */
  readonly switchedOn?: readonly string[];
}

/** Of what is no event of the kernel. */
export const NO_TRACE: TraceEvent = { name: '', pid: 0, flags: 0, values: {} };

/** Where an entry of a page stands. */
export type EntryPlace = Pick<Pending, 'timeNs' | 'lane' | 'tie' | 'ordinal'>;

/** An entry of a page. Throws where it has not the form that its format says. */
export function decodedEntry(
  { timeNs, lane, tie, ordinal }: EntryPlace,
  format: EventFormat,
  bytes: Buffer,
  offset: number,
  length: number,
): Pending {
  const pid = eventPid(bytes, offset, length);
  const flags = eventFlags(bytes, offset, length);
  const values = format.decode(bytes, offset, length);
  return { name: format.name, pid, flags, values, timeNs, lane, tie, ordinal };
}

/** Takes from every lane what is not beyond a time; in position order. */
export function takeUpTo(timeNs: bigint, lanes: Map<number, Pending[]>): Pending[] {
  const batch: Pending[] = [];
  for (const [lane, events] of lanes) {
    let below = 0;
    while (below < events.length && events[below]!.timeNs <= timeNs) below += 1;
    if (below === 0) continue;
    for (let at = 0; at < below; at += 1) batch.push(events[at]!);
    if (below === events.length) lanes.set(lane, []);
    else events.splice(0, below);
  }
  return batch.sort(byPlace);
}

function byPlace(a: Pending, b: Pending): number {
  if (a.timeNs !== b.timeNs) return a.timeNs < b.timeNs ? -1 : 1;
  return a.lane - b.lane || a.tie - b.tie;
}

/** Adds paths to the events of opened files. */
export function addPaths(lanes: ReadonlyMap<number, Pending[]>, { paths }: RecordedPaths): void {
  for (const read of paths) {
    const event = eventAt(lanes.get(read.lane), read);
    if (event) event.path = read.path;
  }
}

/** Adds what datagrams asked to their entries. */
export function addQueries(lanes: ReadonlyMap<number, Pending[]>, { queries }: RecordedQueries): void {
  for (const query of queries) {
    const entry = entryOf(lanes.get(query.lane), query);
    if (entry) entry.query = query;
  }
}

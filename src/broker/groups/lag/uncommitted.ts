/** What of the logs the members of a group have not committed, by the committed cursors of its slices. */
import type { Predicate } from '../../../subscriptions/predicate.js';
import { DOCUMENT_LOGS } from '../../../wire/event/document-topics.js';
import type { Logs } from '../../delivery/cursor/depth.js';
import { topicsRead } from '../../delivery/documents/document-source.js';
import type { GroupRecord } from '../group-record.js';
import { batchOffsetsOf, offsetOf } from '../places/slice-place.js';
import { partitionOfSlice } from '../slice.js';
import type { GroupLag } from './group-lag.js';
import { countLogged, countStored } from './lag-feed.js';

/** What is before the cursor is committed. */
export function passCommitted(lag: GroupLag, slice: number, cursor: string): void {
  const offset = offsetOf(cursor, slice);
  if (offset !== undefined) lag.committed(slice, offset);
  if (!lag.hasDocuments) return;
  for (const [at, batch] of batchOffsetsOf(cursor).entries()) {
    if (batch !== undefined) lag.batchesCommitted(slice, DOCUMENT_LOGS[at]!, batch);
  }
}

/** Counts what the logs have at this moment and is not committed, for as long as `goesOn` says so. */
export async function countUncommitted(
  lag: GroupLag,
  { store, documents }: Logs,
  predicate: Predicate,
  { slices, sinceNs }: Pick<GroupRecord, 'slices' | 'sinceNs'>,
  goesOn: () => boolean,
): Promise<void> {
  const topics = predicate.documents?.topics ?? [];
  const ends = documents.having(topics).map((log) => ({ log, to: log.deliverableOffset }));
  // A replay that goes on has no offset, and what it still brings comes from recorders.
  const froms = slices.map(({ cursor }, slice) => {
    return cursor === '' ? 0 : (offsetOf(cursor, slice) ?? Number.POSITIVE_INFINITY);
  });
  const stretches = store.all().map((log) => {
    const its = froms.filter((_, slice) => partitionOfSlice(slice) === log.partition);
    return { log, from: Math.max(log.firstOffset, Math.min(...its)), to: log.deliverableOffset };
  });
  await countLogged(lag, stretches, froms, new Set(predicate.topics), goesOn);
  for (const { log, to } of ends) {
    const at = DOCUMENT_LOGS.indexOf(log.name);
    const beginsAt = await log.offsetAt(sinceNs);
    // A replay that goes on names the logs that it has taken to their ends.
    const begins = slices.map(({ cursor }) => (cursor === '' ? beginsAt : (batchOffsetsOf(cursor)[at] ?? beginsAt)));
    const from = Math.max(log.firstOffset, Math.min(...begins));
    await countStored(lag, { log, from, to }, begins, topicsRead({ topics }), goesOn);
  }
}

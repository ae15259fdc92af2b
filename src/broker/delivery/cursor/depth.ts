/** Whether a cursor stands within the depth of history that its bearer may have. */
import { msToNs } from '../../../nanoseconds.js';
import type { CheckedSubscription } from '../../../subscriptions/request/subscription-request.js';
import type { CursorPlace, CursorState } from '../../../wire/cursor.js';
import { DOCUMENT_LOGS } from '../../../wire/event/document-topics.js';
import { cursorBeyondDepth } from '../../access/authorize.js';
import type { DocumentLog } from '../../log/documents/document-log.js';
import type { DocumentLogs } from '../../log/documents/document-logs.js';
import type { LogStore } from '../../log/log-store.js';
import type { PartitionLog } from '../../log/partition-log.js';

/** All that a subscription may read. */
export interface Logs {
  readonly store: LogStore;
  readonly documents: DocumentLogs;
}

/**
 * What lies between a cursor and the floor would be missing without a word, so such a cursor is refused. In a replay
 * its place in merged order says where it stands; later, and in logs of documents, the first that it would read does.
 * Throws permission_denied, naming the floor.
 */
export async function checkDepth(
  { history, sinceNs = 0n, places, logs = [] }: CursorState,
  { topics, documents: wanted }: Pick<CheckedSubscription, 'topics' | 'documents'>,
  { store, documents }: Logs,
  floorNs: bigint,
): Promise<void> {
  const nextNs = await nextDocumentNs(logs, documents.having(wanted?.topics ?? []));
  if (nextNs !== undefined && nextNs < floorNs) throw cursorBeyondDepth(floorNs);
  if (history !== undefined) {
    const standsNs = history.wallNs > sinceNs ? history.wallNs : sinceNs;
    if (standsNs < floorNs) throw cursorBeyondDepth(floorNs);
    return;
  }
  for (const [partition, { offset }] of places.entries()) {
    const frameNs = await nextFrameNs(store.partition(partition), offset, topics);
    if (frameNs !== undefined && frameNs < floorNs) throw cursorBeyondDepth(floorNs);
  }
}

/** When the frame was appended that comes next of these topics, wall nanoseconds; undefined where none does. */
export async function nextFrameNs(
  log: PartitionLog,
  offset: number,
  topics: readonly string[],
): Promise<bigint | undefined> {
  const reader = log.reader(offset, new Set(topics));
  try {
    let item = await reader.next();
    while (item !== undefined && item.kind !== 'frame') item = await reader.next();
    return item && msToNs(item.appendedMs);
  } finally {
    reader.close();
  }
}

/**
 * When the oldest was stored that comes next of these logs, wall nanoseconds; undefined where nothing does.
 * @param places of all logs, as a cursor names them
 */
export async function nextDocumentNs(
  places: readonly (CursorPlace | undefined)[],
  logs: readonly DocumentLog[],
): Promise<bigint | undefined> {
  let least: bigint | undefined;
  for (const log of logs) {
    const place = places[DOCUMENT_LOGS.indexOf(log.name)];
    if (place === undefined) continue;
    const reader = log.reader(place.offset, undefined);
    try {
      let item = await reader.next(Number.POSITIVE_INFINITY);
      while (item !== undefined && item.kind !== 'batch') item = await reader.next(Number.POSITIVE_INFINITY);
      if (item !== undefined && (least === undefined || item.batch.timeNs < least)) least = item.batch.timeNs;
    } finally {
      reader.close();
    }
  }
  return least;
}

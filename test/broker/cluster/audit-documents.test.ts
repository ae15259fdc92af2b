/** The audit's log of one process keeps the contract of audit logs; refusals have a share of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AuditDocuments, RefusalDocuments } from '../../../src/broker/cluster/audit-documents.js';
import type { DocumentLog } from '../../../src/broker/log/documents/document-log.js';
import { KiB, MiB } from '../../../src/limits.js';
import { auditLogContract } from '../../contract/audit-log.js';
import { openLog, readLog } from '../../harness/broker/documents.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

/** What the entries said, oldest first. */
async function entriesIn(log: DocumentLog) {
  const batches = (await readLog(log)).flatMap((each) => (typeof each === 'string' ? [] : [each]));
  return batches.flatMap((batch) => batch.documents.map((_document, at) => batch.event(at).audit!));
}

auditLogContract('embedded', async () => {
  const disk = new FaultyFiles();
  const log = openLog(scratchDirectory('audit'), {
    name: 'audit',
    bytesMax: 64 * KiB,
    givesWay: false,
    files: disk.ops,
  });
  return {
    open: () => new AuditDocuments(log),
    entries: async () => (await entriesIn(log)).map(({ details }) => details as unknown as { number: number }),
    breakIt: async () => {
      disk.space = 0;
    },
    destroy: () => log.close(),
  };
});

test('whoever is refused again and again fills a share of the log, and what is dropped is counted and told', async () => {
  const bounds = { bytesMax: MiB, ageMsMax: 3_600_000 };
  const log = openLog(scratchDirectory('audit'), { name: 'audit', givesWay: false, ...bounds });
  await new AuditDocuments(log).append([
    { action: 'set_budget', peer: '127.0.0.1:1', set: { liveEventsPerSecond: 20n } },
  ]);
  const refusals = new RefusalDocuments(log, bounds);
  const refusal = {
    action: 'set_budget',
    peer: '127.0.0.1',
    code: 'not_found',
    refused: 'x'.repeat(400),
    count: 3,
    time: 'now',
  };
  let appended = 0;
  while (refusals.dropped < 100) {
    await refusals.append([refusal, refusal]);
    appended += 2;
  }
  const entries = await entriesIn(log);
  assert.deepEqual(
    [entries[0]?.action, entries[0]?.outcome, entries[0]?.details, entries.length],
    ['set_budget', 'done', { set: { liveEventsPerSecond: '20' } }, 1 + appended - refusals.dropped],
  );
  const { outcome, code, message, count, details } = entries.at(-1)!;
  assert.deepEqual([outcome, code, message?.length, count, details], ['refused', 'not_found', 400, 3, {}]);
  assert.ok(log.bytes < MiB / 4, `${log.bytes}`);
  await log.close();
});

/** What operators changed is on record before it holds, or is not done. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { AuditDocuments, RefusalDocuments } from '../../../src/broker/cluster/audit-documents.js';
import type { AuditLog } from '../../../src/broker/cluster/audit-log.js';
import { AuditTrail } from '../../../src/broker/cluster/audit-trail.js';
import type { EmbeddedDocumentLog } from '../../../src/broker/log/documents/embedded-document-log.js';
import type { AuditContext } from '../../../src/wire/event/event.js';
import { openLog, readLog } from '../../harness/broker/documents.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { until } from '../../harness/until.js';

const silent = pino({ level: 'silent' });
const BOUNDS = { bytesMax: 1 << 28, ageMsMax: 3_600_000 };

function logIn(disk = new FaultyFiles()): EmbeddedDocumentLog {
  return openLog(scratchDirectory('audit'), { name: 'audit', givesWay: false, files: disk.ops });
}

function trailOf(log: EmbeddedDocumentLog): AuditTrail {
  return new AuditTrail(new AuditDocuments(log), new RefusalDocuments(log, BOUNDS), silent);
}

async function entriesIn(log: EmbeddedDocumentLog): Promise<AuditContext[]> {
  const batches = (await readLog(log)).flatMap((each) => (typeof each === 'string' ? [] : [each]));
  return batches.flatMap((batch) => batch.documents.map((_document, at) => batch.event(at).audit!));
}

test('an entry is on the disk when it is recorded, and entries that come together share a sync', async () => {
  const disk = new FaultyFiles();
  const log = logIn(disk);
  const trail = trailOf(log);
  await trail.record({ action: 'set_budget', peer: 'peer', number: 0 });
  disk.powerLoss('cut', () => 0);
  assert.deepEqual(
    (await entriesIn(log)).map(({ details }) => details),
    [{ number: 0 }],
  );
  const { syncs } = disk;
  const numbers = Array.from({ length: 100 }, (_, at) => at + 1);
  await Promise.all(numbers.map((number) => trail.record({ action: 'set_budget', peer: 'peer', number })));
  assert.ok(disk.syncs - syncs < 10, `${disk.syncs - syncs}`);
  assert.deepEqual(
    (await entriesIn(log)).map(({ action, outcome, details }) => [action, outcome, details]),
    [0, ...numbers].map((number) => ['set_budget', 'done', { number }]),
  );
  await log.close();
});

test('an entry that cannot be written is refused with the reason', async () => {
  const disk = new FaultyFiles();
  const log = logIn(disk);
  const trail = trailOf(log);
  disk.space = 0;
  await assert.rejects(
    trail.record({ action: 'set_budget', peer: 'peer' }),
    /the log of the audit cannot be written \(.*no space.*\): nothing was changed/,
  );
  await log.close();
});

const refusal = (peer: string, nodes: string) => {
  return { action: 'set_budget', peer, nodes, code: 'not_found', refused: `no node matches ${nodes}` } as const;
};

test('many refusals of one kind take one entry', async () => {
  const log = logIn();
  const trail = trailOf(log);
  // Of other connections, about other names.
  for (let at = 0; at < 9_000; at += 1) trail.refuse(refusal(`127.0.0.1:${at}`, `fake-${at}`));
  trail.refuse({ ...refusal('127.0.0.1:5', 'x'), code: 'invalid_argument' });
  trail.refuse(refusal('10.0.0.9:5', 'y'.repeat(5_000)));
  await trail.close();
  assert.deepEqual(
    (await entriesIn(log)).map(({ peer, outcome, count, details }) => {
      return [peer, outcome, count, (details as { nodes: string }).nodes.length];
    }),
    [
      ['127.0.0.1', 'refused', 9_000, 6],
      ['127.0.0.1', 'refused', 1, 1],
      ['10.0.0.9', 'refused', 1, 512],
    ],
  );
  await log.close();
});

test('refusals from ever new addresses are bounded in entries', async () => {
  const log = logIn();
  const trail = trailOf(log);
  for (let at = 0; at < 200; at += 1) trail.refuse(refusal(`10.0.0.${at}:5`, 'x'));
  await trail.close();
  const entries = await entriesIn(log);
  assert.deepEqual(
    [entries.length, entries[0]?.peer, entries.at(-1)?.peer, entries.at(-1)?.count],
    [17, '10.0.0.0', 'others', 184],
  );
  await log.close();
});

test('refusals are written in the background, and a disk that takes none does not stop the broker', async () => {
  const disk = new FaultyFiles();
  const log = logIn(disk);
  const refusals = new RefusalDocuments(log, BOUNDS);
  const trail = new AuditTrail(new AuditDocuments(log), refusals, silent);
  trail.refuse(refusal('10.0.0.1:5', 'x'));
  await until('the entry', async () => (await entriesIn(log)).length === 1);
  disk.space = 0;
  trail.refuse(refusal('10.0.0.1:5', 'x'));
  await trail.close();
  assert.equal(refusals.dropped, 1);
  await log.close();
});

/** Counts its appends, and can be told to fail. */
class CountedLog implements AuditLog {
  readonly place = 'somewhere';
  readonly appends: number[] = [];
  fails = false;

  async append(entries: readonly object[]): Promise<void> {
    await sleep(1);
    if (this.fails) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    this.appends.push(entries.length);
  }
}

test('what comes together is written with one sync, and what comes meanwhile with the next', async () => {
  const log = new CountedLog();
  const trail = new AuditTrail(log, new CountedLog(), silent);
  const record = (number: number) => trail.record({ action: 'set_budget', peer: 'peer', number });
  const first = Array.from({ length: 100 }, (_, number) => record(number));
  await sleep(0);
  const second = Array.from({ length: 50 }, (_, number) => record(number));
  await Promise.all([...first, ...second]);
  assert.equal(
    log.appends.reduce((sum, count) => sum + count, 0),
    150,
  );
  assert.ok(log.appends.length <= 3, `${log.appends}`);
});

test('a reading that cannot be put on record is refused, but for the holder of the broker’s own token', async () => {
  const log = new CountedLog();
  log.fails = true;
  const trail = new AuditTrail(log, new CountedLog(), silent);
  const read = (kind: 'local' | 'token') =>
    trail.recordReading({ action: 'subscribe', peer: 'peer', identity: { name: 'x', kind } });
  await assert.rejects(read('token'), { code: 'resource_exhausted', message: /ENOSPC.*: nothing is told$/ });
  await read('local');
  trail.note({ action: 'history', peer: 'peer' });
  await trail.close();
  assert.equal(trail.dropped, 2);
});

test('an entry names who it was, and neither the groups nor the hash of a token', async () => {
  const log = logIn();
  const trail = trailOf(log);
  const identity = { name: 'alice', kind: 'token', groups: ['g'], token: { id: 'i', sha256: 'secret' } } as const;
  await trail.record({ action: 'set_budget', peer: 'peer', identity });
  const [entry] = await entriesIn(log);
  assert.deepEqual(
    [entry?.action, entry?.peer, entry?.identity, entry?.details],
    [...['set_budget', 'peer', 'alice'], { kind: 'token' }],
  );
  await log.close();
});

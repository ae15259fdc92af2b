/** Logs of documents in files: the contract, and what is acknowledged stays, whole, and within a bound of its own. */
import assert from 'node:assert/strict';
import { readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { PUBLISHING } from '../../../src/broker/app/publisher.js';
import { DOCUMENT_BOUNDS } from '../../../src/broker/log/documents/document-logs.js';
import { openEmbeddedDocuments } from '../../../src/broker/log/documents/embedded-document-logs.js';
import { DOCUMENT_TOPICS_NOTED_MAX, KiB, MiB } from '../../../src/limits.js';
import { nsToMs } from '../../../src/nanoseconds.js';
import type { DocumentLogName } from '../../../src/wire/event/document-topics.js';
import { documentLogContract } from '../../contract/document-log.js';
import { batchOf, idsIn, openLog, readLog } from '../../harness/broker/documents.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { UNSYNCED } from '../../harness/files/scratch.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { runs } from '../../harness/runs.js';

documentLogContract('embedded', async ({ ids = PUBLISHING, bytesMax = 16 * MiB } = {}) => {
  const dir = scratchDirectory('documents');
  const open = () => openLog(dir, { bytesMax, ids });
  let log = open();
  return {
    get log() {
      return log;
    },
    another: async () => {
      await log.close();
      log = open();
      await log.settled();
      return log;
    },
    enforce: async () => log.enforceRetention(),
    destroy: () => log.close(),
  };
});

test('a batch is read and told once it is on the disk, in the order of the appends; a topic is read alone', async () => {
  const disk = new FaultyFiles();
  const log = openLog(scratchDirectory('documents'), { files: disk.ops });
  let open = () => {};
  disk.gate = new Promise((resolve) => {
    open = resolve;
  });
  const told: string[] = [];
  log.follow({ stored: ({ documents }) => told.push(...documents.map(({ id }) => id)) });
  const first = log.append(batchOf('app.a', ['1', '2']));
  const second = log.append(batchOf('app.b', ['3']));
  assert.deepEqual([told, await readLog(log)], [[], []]);
  assert.ok(log.pending);
  open();
  await Promise.all([first, second]);
  assert.deepEqual([told, log.pending], [['1', '2', '3'], false]);
  const read = await readLog(log);
  assert.deepEqual(idsIn(read), ['1', '2', '3']);
  assert.ok(typeof read[0] !== 'string' && typeof read[1] !== 'string' && read[0]!.timeNs < read[1]!.timeNs);
  const reader = log.reader(0, ['app.b']);
  const item = await reader.next(log.deliverableOffset);
  assert.deepEqual(item?.kind === 'batch' && idsIn([item.batch]), ['3']);
  reader.close();
  await log.close();
});

test('a batch that the power cut through is gone as a whole; what was acknowledged is there; names of events stay', async () => {
  for (const keep of [0, 1, 200, 900]) {
    const dir = scratchDirectory('documents');
    const disk = new FaultyFiles();
    const log = openLog(dir, { files: disk.ops });
    await log.append(batchOf('app.a', ['1', '2']));
    const { epoch } = log;
    const [before] = await readLog(log);
    log
      .append(
        batchOf(
          'app.a',
          Array.from({ length: 9 }, (_, at) => `lost-${at}`),
        ),
      )
      .catch(() => {});
    disk.powerLoss('cut', (bytes) => Math.min(bytes - 1, keep));
    const again = openLog(dir);
    await again.settled();
    const read = await readLog(again);
    assert.deepEqual(idsIn(read), ['1', '2']);
    assert.deepEqual(
      typeof read[0] !== 'string' && read[0]?.position(1),
      typeof before !== 'string' && before?.position(1),
    );
    assert.equal(again.epoch, epoch);
    await again.append(batchOf('app.a', ['3']));
    assert.deepEqual(idsIn(await readLog(again)), ['1', '2', '3']);
    await again.close();
  }
});

test('retention goes by the log alone, and a reader is told; the epoch outlives the batches', async () => {
  const dir = scratchDirectory('documents');
  const log = openLog(dir, { bytesMax: 64 * KiB, files: UNSYNCED });
  for (let at = 0; at < 400; at++) log.append(batchOf('app.a', [String(at)], 'x'.repeat(500)));
  await log.settled();
  assert.ok(log.bytes <= 64 * KiB);
  const [first, second, ...others] = idsIn(await readLog(log));
  assert.equal(first, 'expired');
  assert.deepEqual(
    [second, ...others],
    Array.from({ length: others.length + 1 }, (_, at) => String(399 - others.length + at)),
  );
  assert.ok(log.firstOffset > 0);
  const { epoch } = log;
  await log.close();
  const again = openLog(dir, { bytesMax: 64 * KiB, files: UNSYNCED });
  assert.equal(again.epoch, epoch);
  await again.close();
});

test('property: the log knows of each topic what retention took last, also when it is opened again', async () => {
  const step = fc.record({
    topic: fc.constantFrom('app.a', 'app.b', 'app.c', 'app.d'),
    count: fc.integer({ min: 1, max: 25 }),
    reopen: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const dir = scratchDirectory('documents');
      const options = { bytesMax: 32 * KiB, files: UNSYNCED };
      let log = openLog(dir, options);
      const written: { topic: string; offset: number; events: number }[] = [];
      for (const { topic, count, reopen } of steps) {
        for (let at = 0; at < count; at++) {
          const ids = range(0, 1 + (at % 3));
          const { offset } = await log.append(batchOf(topic, ids, 'x'.repeat(400)));
          written.push({ topic, offset, events: ids.length });
        }
        await log.settled();
        if (reopen) {
          await log.close();
          log = openLog(dir, options);
          await log.settled();
        }
        const gone = written.filter(({ offset }) => offset < log.firstOffset);
        for (const asked of ['app.a', 'app.b', 'app.c', 'app.d', 'app.e', 'app.*']) {
          const last = gone.findLast((each) => asked === 'app.*' || each.topic === asked);
          const { offset, events, timeNs } = log.taken(asked) ?? {};
          assert.deepEqual([offset, events], [last?.offset, last?.events], asked);
          assert.ok(timeNs === undefined || timeNs > 0n);
        }
      }
      await log.close();
    }),
    { numRuns: runs(15) },
  );
});

test('topics beyond those that are noted may be told a loss that they have not had, and never lack one', async () => {
  const dir = scratchDirectory('documents');
  const options = { bytesMax: 256 * KiB, files: UNSYNCED };
  const log = openLog(dir, options);
  const topics = Array.from({ length: DOCUMENT_TOPICS_NOTED_MAX + 50 }, (_, at) => `app.${at}`);
  for (const topic of topics) log.append(batchOf(topic, ['1'], 'x'.repeat(200)));
  for (let at = 0; at < 300; at++) log.append(batchOf('app.flood', [String(at)], 'x'.repeat(2_000)));
  await log.settled();
  await log.close();
  const again = openLog(dir, options);
  for (const topic of topics) assert.ok(again.taken(topic) !== undefined, topic);
  assert.ok(again.taken('app.other')!.offset < again.taken(topics.at(-1)!)!.offset);
  await again.close();
});

test('batches are found by their times, also where the clock was set back', async () => {
  const log = openLog(scratchDirectory('documents'), { bytesMax: 32 * MiB, files: UNSYNCED });
  const { now } = Date;
  try {
    for (let at = 0; at < 50; at++) {
      // Each time an hour earlier.
      Date.now = () => now() - at * 3_600_000;
      log.append(batchOf('app.a', [String(at)], 'x'.repeat(20_000)));
    }
  } finally {
    Date.now = now;
  }
  await log.settled();
  const read = await readLog(log);
  const times = read.map((each) => (typeof each === 'string' ? 0n : each.timeNs));
  assert.deepEqual(
    times,
    times.toSorted((a, b) => (a < b ? -1 : 1)),
  );
  const offsets = await Promise.all(times.map((timeNs) => log.offsetAt(timeNs)));
  for (const [at, timeNs] of times.entries()) {
    const later = read.filter(
      (each) => typeof each !== 'string' && each.offset >= offsets[at]! && each.timeNs >= timeNs,
    );
    assert.deepEqual(idsIn(later), range(at, 50));
  }
  assert.ok(nsToMs(times[0]!) > 0);
  await log.close();
});

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => String(from + at));

test('damage in the middle is told, and what is whole is read', async () => {
  const dir = scratchDirectory('documents');
  const log = openLog(dir, { bytesMax: 256 * KiB });
  for (let at = 0; at < 100; at++) log.append(batchOf('app.a', [String(at)], 'x'.repeat(500)));
  await log.settled();
  await log.close();
  const files = readdirSync(dir)
    .filter((name) => name.endsWith('.log'))
    .sort();
  const torn = join(dir, files[1]!);
  truncateSync(torn, statSync(torn).size - 700);
  const again = openLog(dir, { bytesMax: 256 * KiB });
  await again.settled();
  const ids = idsIn(await readLog(again));
  const at = ids.indexOf('damaged');
  assert.ok(at > 0);
  assert.deepEqual([ids.slice(0, at), ids.at(-1)], [range(0, at), '99']);
  await again.close();
});

test('property: whoever floods one log pushes nothing out of another', async () => {
  const names = fc.constantFrom<DocumentLogName>('app', 'alert');
  const flood = fc.array(
    fc.record({ name: names, count: fc.integer({ min: 1, max: 60 }), size: fc.integer({ min: 1, max: 8_000 }) }),
  );
  await fc.assert(
    fc.asyncProperty(flood, async (floods) => {
      const small = { bytesMax: 64 * KiB, ageMsMax: 3_600_000 };
      const bounds = { app: small, alert: small, audit: small };
      const logs = await openEmbeddedDocuments({
        dir: scratchDirectory('documents'),
        bounds,
        files: UNSYNCED,
        onFailure: () => {},
      });
      const audited = range(0, 20);
      for (const id of audited) await logs.of('audit').append(batchOf('audit', [id]));
      for (const { name, count, size } of floods) {
        const topic = name === 'app' ? 'app.flood' : name;
        for (let at = 0; at < count; at++) logs.of(name).append(batchOf(topic, [String(at)], 'x'.repeat(size)));
        await logs.of(name).settled();
        assert.ok(logs.of(name).bytes <= small.bytesMax + 16 * KiB);
      }
      assert.deepEqual(idsIn(await readLog(logs.of('audit'))), audited);
      await logs.close();
    }),
    { numRuns: runs(15) },
  );
});

test('a full disk takes the oldest of what may go, and nothing of the audit', async () => {
  const disk = new FaultyFiles();
  const bounds = { ...DOCUMENT_BOUNDS, app: { bytesMax: 64 * KiB, ageMsMax: 3_600_000 } };
  const logs = await openEmbeddedDocuments({
    dir: scratchDirectory('documents'),
    bounds,
    files: disk.ops,
    onFailure: () => {},
  });
  await logs.of('audit').append(batchOf('audit', ['kept']));
  for (let at = 0; at < 40; at++) logs.of('app').append(batchOf('app.a', [String(at)], 'x'.repeat(1_000)));
  await logs.of('app').settled();
  disk.space = 0;
  await logs.of('app').append(batchOf('app.a', ['last'], 'x'.repeat(1_000)));
  disk.space = 0;
  await assert.rejects(logs.of('audit').append(batchOf('audit', ['refused'], 'x'.repeat(8_000))), /no space/);
  assert.equal(idsIn(await readLog(logs.of('app'))).at(-1), 'last');
  assert.deepEqual(idsIn(await readLog(logs.of('audit'))), ['kept']);
  await logs.close();
});

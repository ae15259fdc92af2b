/** What was promised durable is there after the power goes, whatever becomes of the rest. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../src/errors.js';
import { SegmentLog } from '../../src/storage/segment-log/segment-log.js';
import { FaultyFiles, type Loss } from '../harness/files/faulty-files.js';
import { assertContiguous, payloads, ROOMY, readAll, record } from '../harness/files/scratch.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { runs } from '../harness/runs.js';

const step = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constant('append' as const), size: fc.nat(400) }) },
  { weight: 3, arbitrary: fc.constant({ do: 'sync' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'unawaited' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'roll' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('power' as const),
      loss: fc.constantFrom<Loss>('cut', 'zeros', 'noise'),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      namesStay: fc.boolean(),
    }),
  },
);

test('everything below durableOrdinal survives the loss of unsynced data', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const dir = scratchDirectory();
      let files = new FaultyFiles();
      const open = () => SegmentLog.open({ ...ROOMY, dir, segmentBytesMax: 1200, files: files.ops, ordered: true });
      let log = open();
      const model = new Map<number, string>();
      const unawaited: Promise<void>[] = [];
      let relied = false;
      let opened = 0;
      for (const [at, todo] of steps.entries()) {
        if (todo.do === 'append') {
          const text = `step ${at} `.padEnd(todo.size, 'x');
          model.set(log.append(record(text)), text);
        } else if (todo.do === 'sync') {
          const next = log.nextOrdinal;
          await log.sync();
          assert.equal(log.durableOrdinal, next);
          relied = true;
        } else if (todo.do === 'unawaited') unawaited.push(log.sync());
        else if (todo.do === 'roll') log.roll();
        else {
          await Promise.all(unawaited);
          const promised = log.durableOrdinal;
          files.powerLoss(todo.loss, (bytes) => Math.floor(bytes * todo.share), todo.namesStay);
          const { identity } = log;
          files = new FaultyFiles();
          log = open();
          assert.equal(log.identity, identity);
          assert.ok(log.nextOrdinal >= promised, `next ${log.nextOrdinal}, promised ${promised}`);
          const items = readAll(log, 0);
          assertContiguous(items, 0, log.nextOrdinal);
          const found = payloads(items);
          for (const [ordinal, text] of found) assert.equal(text, model.get(ordinal));
          // Whoever appended it would take what is behind a loss for proof of what is before.
          const since = [...found.keys()].filter((ordinal) => ordinal >= opened);
          if (relied) assert.equal(since.length, Math.max(0, ...since.map((ordinal) => ordinal + 1 - opened)));
          opened = log.nextOrdinal;
          relied = false;
          for (const [ordinal, text] of model) {
            if (ordinal < promised) assert.equal(found.get(ordinal), text, `promised ${ordinal}`);
            else if (!found.has(ordinal)) model.delete(ordinal);
          }
        }
      }
      await Promise.all(unawaited);
      fs.rmSync(dir, { recursive: true });
    }),
    { numRuns: runs(120) },
  );
});

test('concurrent callers share syncs, and each is covered', async () => {
  const files = new FaultyFiles();
  const log = SegmentLog.open({ ...ROOMY, dir: scratchDirectory(), files: files.ops });
  let open = () => {};
  files.gate = new Promise((resolve) => {
    open = resolve;
  });
  log.append(record('first'));
  const done: number[] = [];
  const waits = [1, 2, 3].map(() => log.sync().then(() => done.push(log.durableOrdinal)));
  // Now the sync of this turn has begun: it may miss what is appended from here on.
  await new Promise((resolve) => setImmediate(resolve));
  for (let at = 1; at <= 100; at++) {
    const ordinal = log.append(record(`${at}`));
    waits.push(
      log.sync().then(() => {
        assert.ok(log.durableOrdinal > ordinal);
        return done.push(ordinal);
      }),
    );
  }
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(log.durableOrdinal, 0);
  open();
  await Promise.all(waits);
  assert.equal(files.syncs, 2);
  assert.equal(done[0], 1);
  assert.equal(done.length, 103);
  assert.equal(log.durableOrdinal, 101);
  await log.sync();
  assert.equal(files.syncs, 2, 'nothing new: nothing to sync');
});

test('records that are appended, rolled and synced during a running sync are not forgotten', async () => {
  const dir = scratchDirectory();
  const files = new FaultyFiles();
  const log = SegmentLog.open({ ...ROOMY, dir, segmentBytesMax: 300, files: files.ops });
  const syncs: Promise<void>[] = [];
  for (let at = 0; at < 200; at++) {
    log.append(record(`${at}`.padEnd(50)));
    if (at % 3 === 0) syncs.push(log.sync());
    if (at % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(syncs);
  await log.sync();
  files.powerLoss('cut', () => 0);
  const again = SegmentLog.open({ ...ROOMY, dir });
  assert.deepEqual(again.notes, []);
  assert.equal(payloads(readAll(again, 0)).size, 200);
});

test('after a failed sync the log promises nothing more, and works again when reopened', async () => {
  const dir = scratchDirectory();
  const files = new FaultyFiles();
  const log = SegmentLog.open({ ...ROOMY, dir, files: files.ops });
  log.append(record('durable'));
  await log.sync();
  log.append(record('lost'));
  files.failNext = { operation: 'sync', code: 'EIO' };
  const both = [log.sync(), log.sync()];
  const failed = (cause: unknown) =>
    cause instanceof BackplaneError && cause.code === 'unavailable' && /EIO/.test(cause.message);
  for (const sync of both) await assert.rejects(sync, failed);
  await assert.rejects(log.sync(), failed);
  assert.throws(() => log.append(record('more')), failed);
  assert.equal(log.durableOrdinal, 1);
  assert.equal(readAll(log).length, 2, 'reading goes on');
  await log.close();
  files.powerLoss('cut', () => 0);
  const again = SegmentLog.open({ ...ROOMY, dir });
  assert.deepEqual([...payloads(readAll(again, 0))], [[0, 'durable']]);
  assert.equal(again.durableOrdinal, again.nextOrdinal);
  again.append(record('on'));
  await again.sync();
});

test('when one sync takes the error of another, neither promises anything', async () => {
  const dir = scratchDirectory();
  const files = new FaultyFiles();
  const log = SegmentLog.open({ ...ROOMY, dir, segmentBytesMax: 2_000, files: files.ops, ordered: true });
  let release = () => {};
  files.gate = new Promise((resolve) => {
    release = resolve;
  });
  log.append(record('x'.repeat(500)));
  const promised = log.sync();
  files.failNext = { operation: 'syncNow', code: 'EIO' };
  assert.throws(() => {
    for (let at = 0; at < 5; at += 1) log.append(record('x'.repeat(500)));
  }, /cannot sync the log in .*: EIO/);
  release();
  await assert.rejects(promised, /EIO/);
  assert.equal(log.durableOrdinal, 0);
  await log.close();
});

test('a never synced log that is closed loses at most the data that the disk lost', async () => {
  const dir = scratchDirectory();
  const files = new FaultyFiles();
  const log = SegmentLog.open({ ...ROOMY, dir, segmentBytesMax: 1000, files: files.ops });
  for (let at = 0; at < 100; at++) log.append(record(`${at}`.padEnd(100)));
  await log.close();
  const reopened = SegmentLog.open({ ...ROOMY, dir, files: files.ops });
  assert.deepEqual(reopened.notes, []);
  assert.equal(reopened.durableOrdinal, 0, 'older segments were never synced');
  await reopened.sync();
  assert.equal(reopened.durableOrdinal, 100);
});

test('sectors of zeros where an append was not written are cut off, and are no damage', async () => {
  for (let kept = 0; kept <= 8192; kept += 512) {
    const dir = scratchDirectory();
    const files = new FaultyFiles();
    const log = SegmentLog.open({ ...ROOMY, dir, files: files.ops });
    for (let at = 0; at < 20; at++) log.append(record(`${at}`.padEnd(200)));
    await log.sync();
    const { bytes } = log;
    for (let at = 20; at < 40; at++) log.append(record(`${at}`.padEnd(200)));
    files.powerLoss('zeros', () => Math.max(0, kept - bytes));
    const again = SegmentLog.open({ ...ROOMY, dir });
    const items = readAll(again, 0);
    assert.ok(items.every(({ kind }) => kind === 'record'));
    const whole = items.length;
    assert.equal(again.nextOrdinal, whole);
    assert.ok(whole >= 20 && (kept < 8192 || whole > 30), `${whole} with ${kept} bytes kept`);
    assert.equal(again.append(record('on')), whole);
    await again.close();
  }
});

test('nothing behind lost data is kept, even if a file ended meanwhile', async () => {
  for (const share of [0, 0.3, 0.9]) {
    const dir = scratchDirectory();
    const files = new FaultyFiles();
    const log = SegmentLog.open({ ...ROOMY, dir, segmentBytesMax: 2_000, files: files.ops, ordered: true });
    log.append(record('promised'));
    await log.sync();
    for (let at = 0; at < 20; at += 1) log.append(record('x'.repeat(500)));
    assert.ok(log.segments().length > 3);
    files.powerLoss('cut', (bytes) => Math.floor(bytes * share), true);
    const kept = [...payloads(readAll(SegmentLog.open({ ...ROOMY, dir }))).keys()];
    assert.equal(kept.length, 1 + kept.at(-1)!);
    fs.rmSync(dir, { recursive: true });
  }
});

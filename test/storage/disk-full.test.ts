/** A full or failing disk: the log gives up its oldest records, then says so, and goes on when there is room. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { BackplaneError } from '../../src/errors.js';
import { isDiskFull } from '../../src/storage/cannot-write.js';
import { SegmentLog } from '../../src/storage/segment-log/segment-log.js';
import { FaultyFiles } from '../harness/files/faulty-files.js';
import { assertContiguous, payloads, ROOMY, readAll, record } from '../harness/files/scratch.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const APPENDS = 40;

function text(at: number): string {
  return `record ${at} `.padEnd(60, 'x');
}

/** Appends with so much space; returns the ordinals that were taken and how many appends were refused. */
function fill(log: SegmentLog, from: number): { taken: Map<number, string>; refused: number } {
  const taken = new Map<number, string>();
  let refused = 0;
  for (let at = from; at < from + APPENDS; at++) {
    try {
      taken.set(log.append(record(text(at))), text(at));
    } catch (cause) {
      assert.ok(cause instanceof BackplaneError && cause.code === 'resource_exhausted', String(cause));
      assert.match(cause.message, /free some/);
      refused++;
    }
  }
  return { taken, refused };
}

test('a disk that fills up at any place, in headers, heads or records, leaves a consistent log', async () => {
  let evicting = 0;
  let refusing = 0;
  for (let space = 0; space < 1500; space += 13) {
    const dir = scratchDirectory();
    const files = new FaultyFiles();
    const options = { ...ROOMY, dir, segmentBytesMax: 400, files: files.ops };
    const log = SegmentLog.open({ ...options, head: () => [record('head', 1n, { kind: 1 })] });
    files.space = space;
    const { taken, refused } = fill(log, 0);
    if (refused > 0) refusing++;
    if (log.firstOrdinal > 0) evicting++;
    assert.ok(files.refused > 0, 'the disk did fill up');
    const check = (read: SegmentLog) => {
      const items = readAll(read);
      assertContiguous(items, read.firstOrdinal, read.nextOrdinal);
      assert.ok(items.every(({ kind }) => kind === 'record'));
      for (const { path, bytes } of read.segments())
        assert.equal(fs.statSync(path).size, bytes, 'nothing half written is left');
      const found = payloads(items);
      for (const [ordinal, expected] of taken)
        if (ordinal >= read.firstOrdinal) assert.equal(found.get(ordinal), expected);
      for (const [ordinal, got] of found) assert.ok(taken.get(ordinal) === got || got === 'head');
    };
    check(log);
    files.space = Number.POSITIVE_INFINITY;
    const more = fill(log, APPENDS);
    assert.equal(more.refused, 0, 'there is room again');
    for (const [ordinal, expected] of more.taken) taken.set(ordinal, expected);
    check(log);
    assert.equal(taken.size, 2 * APPENDS - refused);
    const { nextOrdinal } = log;
    const reopened = SegmentLog.open(options);
    assert.deepEqual(reopened.notes, []);
    assert.equal(reopened.nextOrdinal, nextOrdinal);
    check(reopened);
    await log.close();
    fs.rmSync(dir, { recursive: true });
  }
  assert.ok(evicting > 5 && refusing > 5, `${evicting} logs evicted, ${refusing} refused`);
});

test('a failing write leaves the log as it was', () => {
  for (const code of ['EIO', 'EROFS']) {
    const files = new FaultyFiles();
    const log = SegmentLog.open({ ...ROOMY, dir: scratchDirectory(), files: files.ops });
    log.append(record('a'));
    files.failNext = { operation: 'writev', code };
    assert.throws(
      () => log.append(record('b')),
      (cause: unknown) =>
        cause instanceof BackplaneError && cause.code === 'unavailable' && cause.message.includes(code),
    );
    assert.equal(log.append(record('c')), 1);
    assert.deepEqual(
      [...payloads(readAll(log))],
      [
        [0, 'a'],
        [1, 'c'],
      ],
    );
  }
});

test('bytes that could not be cut off after a failure are cut off before the next record', () => {
  const dir = scratchDirectory();
  const files = new FaultyFiles();
  const log = SegmentLog.open({ ...ROOMY, dir, files: files.ops });
  log.append(record('a'));
  files.space = 50;
  files.failNext = { operation: 'truncate', code: 'EIO' };
  assert.throws(() => log.append(record('x'.repeat(100))), /no space/);
  const { path, bytes } = log.segments()[0]!;
  assert.equal(fs.statSync(path).size, bytes + 50, 'half of it stands there');
  assert.equal(readAll(log).length, 1);
  const crashed = scratchDirectory();
  fs.cpSync(dir, crashed, { recursive: true });
  assert.equal(SegmentLog.open({ ...ROOMY, dir: crashed }).append(record('b')), 1);
  files.space = Number.POSITIVE_INFINITY;
  assert.equal(log.append(record('b')), 1);
  assert.equal(fs.statSync(path).size, log.bytes);
  assert.deepEqual(
    [...payloads(readAll(SegmentLog.open({ ...ROOMY, dir })))],
    [
      [0, 'a'],
      [1, 'b'],
    ],
  );
});

test('a log that finds no room to begin says that the disk is full, and begins once there is room', async () => {
  const dir = scratchDirectory();
  const files = new FaultyFiles();
  files.space = 0;
  const open = () => SegmentLog.open({ ...ROOMY, dir, files: files.ops });
  const told = { code: 'resource_exhausted', message: `no space in ${dir} (ENOSPC): free some, or move the data` };
  assert.throws(open, told);
  assert.throws(open, (cause: unknown) => isDiskFull(cause));
  files.space = Number.POSITIVE_INFINITY;
  const log = open();
  assert.equal(fill(log, 0).refused, 0);
  await log.close();
});

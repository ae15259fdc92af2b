/** Records of a sealed segment are summed once. Whatever was read before, what happens to the file later is told. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { FILE_TIME_STEP_MS } from '../../src/limits.js';
import type { FileOps } from '../../src/storage/file-ops.js';
import { SegmentLog } from '../../src/storage/segment-log/segment-log.js';
import { ROOMY, readAll, record, UNSYNCED } from '../harness/files/scratch.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { runs } from '../harness/runs.js';

const RECORDS = 24;
const PER_SEGMENT = 8;
/** Segments were last changed an hour before they were. */
const LONG_AGO: FileOps = { ...UNSYNCED, changedMs: (fd) => UNSYNCED.changedMs(fd) - 3_600_000 };

/** Logs of three segments, their records longer than a reader's first buffer now and then. */
async function sample(): Promise<string> {
  const dir = scratchDirectory('verified');
  const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir });
  for (let at = 0; at < RECORDS; at += 1) {
    if (at > 0 && at % PER_SEGMENT === 0) log.roll();
    log.append(record(`record ${at} `.padEnd(at % 5 === 0 ? 90_000 : 20_000 + at, 'abc'), BigInt(at)));
  }
  await log.close();
  return dir;
}

function copyOf(from: string): SegmentLog {
  const dir = scratchDirectory('verified');
  for (const name of fs.readdirSync(from)) fs.copyFileSync(join(from, name), join(dir, name));
  return SegmentLog.open({ ...ROOMY, files: LONG_AGO, dir });
}

interface Change {
  /** Of the segment's bytes. */
  readonly where: number;
  readonly how: 'flip' | 'zeros' | 'cut';
}

function change(log: SegmentLog, segment: number, { where, how }: Change): void {
  const { path } = log.segments()[segment]!;
  const { size } = fs.statSync(path);
  const at = Math.floor(where * (size - 1));
  if (how === 'cut') {
    fs.truncateSync(path, at);
    return;
  }
  const fd = fs.openSync(path, 'r+');
  const bytes = Buffer.alloc(how === 'flip' ? 1 : Math.min(5_000, size - at));
  if (how === 'flip') {
    fs.readSync(fd, bytes, 0, 1, at);
    bytes[0]! ^= 0x10;
  }
  fs.writeSync(fd, bytes, 0, bytes.length, at);
  fs.closeSync(fd);
}

/** What a log tells, its directory apart. */
function told(log: SegmentLog, from: number): string[] {
  return readAll(log, from).map((item) => {
    if (item.kind === 'record') return `${item.ordinal} ${item.payload.toString('latin1').slice(0, 16)} ${item.crc}`;
    if (item.kind === 'evicted') return 'evicted';
    return `${item.kind} ${item.ordinalFrom} ${item.ordinalTo} ${item.lostBytes} ${basename(item.message)}`;
  });
}

test('a log that has read a segment tells what is changed in it as one that has not', async () => {
  const from = await sample();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat({ max: RECORDS - 1 }), { maxLength: 3 }),
      fc.nat({ max: 2 }),
      fc.record({
        where: fc.double({ min: 0, max: 1, noNaN: true }),
        how: fc.constantFrom<Change['how']>('flip', 'zeros', 'cut'),
      }),
      fc.nat({ max: RECORDS - 1 }),
      async (starts, segment, given, start) => {
        const [read, fresh] = [copyOf(from), copyOf(from)];
        for (const each of starts) assert.ok(told(read, each).length > 0);
        for (const log of [read, fresh]) change(log, segment, given);
        assert.deepEqual(told(read, start), told(fresh, start));
        assert.deepEqual(told(read, 0), told(fresh, 0), 'again');
        await Promise.all([read.close(), fresh.close()]);
      },
    ),
    { numRuns: runs(60) },
  );
});

test('a segment that is changed as soon as it was read is not taken for the one that was summed', async () => {
  // As a filesystem that keeps times in long steps, one of which has not ended: nothing shows that it was changed again.
  const stepMs = Date.now() + 3_600_000;
  const log = SegmentLog.open({
    ...{ ...ROOMY, dir: scratchDirectory('verified') },
    files: { ...UNSYNCED, changedMs: () => stepMs },
  });
  for (let at = 0; at < 4; at += 1) log.append(record(`${at}`.padEnd(30_000), BigInt(at)));
  log.roll();
  assert.ok(!readAll(log, 0).some(({ kind }) => kind === 'damage'));
  change(log, 0, { where: 0.9, how: 'flip' });
  assert.ok(readAll(log, 0).some(({ kind }) => kind === 'damage'));
  await log.close();
});

test('a segment that was changed while it was read is summed again', async () => {
  let atMs = 0;
  let whenChanged = () => {};
  const files: FileOps = {
    ...UNSYNCED,
    changedMs: () => atMs,
    read: (...given) => {
      const got = UNSYNCED.read(...given);
      whenChanged();
      return got;
    },
  };
  const log = SegmentLog.open({ ...ROOMY, files, dir: scratchDirectory('verified') });
  for (let at = 0; at < 4; at += 1) log.append(record(`${at}`.padEnd(3_000), BigInt(at)));
  log.roll();
  whenChanged = () => {
    // Between what is read, which is good, and the look at when the file was changed.
    whenChanged = () => {};
    change(log, 0, { where: 0.9, how: 'flip' });
    atMs = FILE_TIME_STEP_MS;
  };
  assert.ok(!readAll(log, 0).some(({ kind }) => kind === 'damage'));
  assert.ok(readAll(log, 0).some(({ kind }) => kind === 'damage'));
  await log.close();
});

test('a reader that stands in a segment notices what is changed behind what it has in memory', async () => {
  const log = SegmentLog.open({ ...ROOMY, files: LONG_AGO, dir: scratchDirectory('verified') });
  for (let at = 0; at < 40; at += 1) log.append(record(`${at}`.padEnd(100_000), BigInt(at)));
  log.roll();
  assert.equal(told(log, 0).length, 40);
  const reader = log.reader(0);
  assert.equal(reader.next()?.kind, 'record');
  change(log, 0, { where: 0.9, how: 'flip' });
  const kinds = [];
  for (let item = reader.next(); item !== undefined; item = reader.next()) kinds.push(item.kind);
  reader.close();
  assert.ok(kinds.includes('damage'), kinds.join());
  await log.close();
});

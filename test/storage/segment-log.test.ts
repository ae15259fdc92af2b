/** A segment log gives back what was appended, whatever happens in between. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { BackplaneError } from '../../src/errors.js';
import { RECORD_BYTES_MAX } from '../../src/limits.js';
import { HEADER_BYTES } from '../../src/storage/segment-log/format.js';
import { type NewRecord, SegmentLog } from '../../src/storage/segment-log/segment-log.js';
import { assertContiguous, payloads, ROOMY, readAll, record, UNSYNCED } from '../harness/files/scratch.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { runs } from '../harness/runs.js';

interface Kept {
  readonly kind: number;
  readonly timeNs: bigint;
  readonly anchor: boolean;
  readonly payload: string;
}

const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      kind: fc.integer({ min: 0, max: 255 }),
      timeNs: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      anchor: fc.boolean(),
      parts: fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: 'roll' as const }) },
  { weight: 2, arbitrary: fc.constant({ do: 'reopen' as const }) },
  { weight: 2, arbitrary: fc.constant({ do: 'abandon' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'sync' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('read' as const), from: fc.nat() }) },
);

function checkLog(log: SegmentLog, model: readonly Kept[], from: number): void {
  assert.equal(log.nextOrdinal, model.length);
  const items = readAll(log, from);
  assertContiguous(items, from, model.length);
  for (const item of items) {
    assert.equal(item.kind, 'record');
    if (item.kind !== 'record') continue;
    const { recordKind: kind, timeNs, anchor, payload } = item;
    assert.deepEqual({ kind, timeNs, anchor, payload: payload.toString('latin1') }, model[item.ordinal]);
  }
}

test('a log gives back the appended records, over rolls, restarts and crashes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 256, max: 2000 }),
      async (steps, segmentBytesMax) => {
        const dir = scratchDirectory();
        const open = () => SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir, segmentBytesMax });
        const model: Kept[] = [];
        let log = open();
        const { identity } = log;
        for (const todo of steps) {
          if (todo.do === 'append') {
            const { kind, timeNs, anchor, parts } = todo;
            assert.equal(log.append({ kind, timeNs, anchor, parts }), model.length);
            model.push({ kind, timeNs, anchor, payload: Buffer.concat(parts).toString('latin1') });
          } else if (todo.do === 'roll') log.roll();
          else if (todo.do === 'sync') {
            await log.sync();
            assert.equal(log.durableOrdinal, model.length);
          } else if (todo.do === 'read') checkLog(log, model, todo.from % (model.length + 1));
          else {
            if (todo.do === 'reopen') await log.close();
            log = open();
            assert.deepEqual(log.notes, []);
            assert.equal(log.identity, identity);
            assert.equal(log.durableOrdinal <= log.nextOrdinal, true);
          }
        }
        checkLog(log, model, 0);
        const anchors = model.flatMap(({ anchor, timeNs }, ordinal) => (anchor ? [{ ordinal, timeNs }] : []));
        assert.deepEqual([...log.anchors()], anchors.toReversed());
        for (const { bytes, path } of log.segments()) assert.equal(fs.statSync(path).size, bytes);
        assert.equal(
          log.bytes,
          log.segments().reduce((sum, { bytes }) => sum + bytes, 0),
        );
        await log.close();
        fs.rmSync(dir, { recursive: true });
      },
    ),
    { numRuns: runs(150) },
  );
});

test('a tailing reader sees records as they are appended, over rolls and from every start', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 80 }),
      fc.nat(79),
      (sizes, from) => {
        const dir = scratchDirectory();
        const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir, segmentBytesMax: 700 });
        let reader = log.reader(0);
        let read = 0;
        for (const [ordinal, size] of sizes.entries()) {
          log.append(record(`${ordinal}:`.padEnd(size, 'x')));
          if (ordinal === from) {
            reader.close();
            reader = log.reader(ordinal);
            read = ordinal;
          }
          if (size % 3 === 0) continue;
          for (let item = reader.next(); item; item = reader.next()) {
            assert.ok(item.kind === 'record' && item.ordinal === read);
            assert.equal(item.payload.toString(), `${read}:`.padEnd(sizes[read]!, 'x'));
            read++;
          }
          assert.equal(read, ordinal + 1);
          assert.equal(reader.ordinal, read);
        }
        reader.close();
        assert.equal(reader.next(), undefined);
        fs.rmSync(dir, { recursive: true });
      },
    ),
    { numRuns: runs(60) },
  );
});

test('the head records of a segment take at most half of it, however long they are', () => {
  const dir = scratchDirectory();
  const head = () => Array.from({ length: 10 }, () => record('head'.padEnd(200, '.')));
  const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir, segmentBytesMax: 600, head });
  for (let count = 0; count < 300; count++) log.append(record(`${count}:`.padEnd(100, 'x')));
  let heads = 0;
  let all = 0;
  for (const { bytes } of log.segments()) all += bytes;
  const reader = log.reader(0);
  for (let item = reader.next(); item; item = reader.next()) {
    if (item.kind === 'record' && item.payload.toString().startsWith('head')) heads += item.payload.length;
  }
  reader.close();
  assert.ok(log.segments().length > 3);
  assert.ok(heads < all / 2, `${heads} of ${all} bytes`);
});

test("records larger than the reader's buffer, small ones between them, and the largest are read back", () => {
  const log = SegmentLog.open({ ...ROOMY, dir: scratchDirectory() });
  const sizes = [
    0,
    10,
    65_504,
    65_536,
    300_000,
    1,
    RECORD_BYTES_MAX,
    3,
    2_000_000,
    ...Array<number>(300).fill(2000),
    70_000,
  ];
  for (const [at, size] of sizes.entries()) log.append(record(Buffer.alloc(size, at)));
  const items = readAll(log);
  assertContiguous(items, 0, sizes.length);
  for (const [at, item] of items.entries()) {
    assert.ok(item.kind === 'record');
    assert.ok(item.payload.equals(Buffer.alloc(sizes[at]!, at)), `record ${at}`);
  }
});

test('a record that cannot be stored is refused with the bound and the value, and nothing is written', () => {
  const dir = scratchDirectory();
  const log = SegmentLog.open({ ...ROOMY, dir });
  const refused: [NewRecord, RegExp][] = [
    [record(Buffer.alloc(RECORD_BYTES_MAX + 1)), /at most 8388608 bytes, got 8388609/],
    [{ kind: 256, timeNs: 0n, parts: [] }, /kind of a record must be from 0 to 255, got 256/],
    [{ kind: 0, timeNs: -1n, parts: [] }, /timeNs of a record .* got -1/],
  ];
  for (const [bad, message] of refused) {
    assert.throws(
      () => log.append(bad),
      (cause: unknown) =>
        cause instanceof BackplaneError && cause.code === 'invalid_argument' && message.test(cause.message),
    );
  }
  assert.equal(log.nextOrdinal, 0);
  assert.equal(log.append(record('good')), 0);
  assert.throws(() => log.reader(2), /fromOrdinal must be a whole number from 0 to 1, got 2/);
  assert.throws(
    () => SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir, segmentBytesMax: 1 }),
    /segmentBytesMax must be .* from 256 .* got 1/,
  );
});

test('every segment begins with the head records of its time', async () => {
  const dir = scratchDirectory();
  let state = 'none';
  const open = () =>
    SegmentLog.open({
      ...ROOMY,
      dir,
      segmentBytesMax: 600,
      head: () => [record(`head ${state}`, 5n, { kind: 1, anchor: true }), record('more', 6n, { kind: 2 })],
    });
  let log = open();
  for (let at = 0; at < 40; at++) {
    state = `at ${at}`;
    const before = log.segments().length;
    const ordinal = log.append(record('x'.repeat(40)));
    assert.equal(ordinal, log.nextOrdinal - 1);
    if (log.segments().length === before) continue;
    const first = log.segments().at(-1)!.firstOrdinal;
    assert.equal(ordinal, first + 2);
    assert.deepEqual([...payloads(readAll(log, first)).values()].slice(0, 2), [`head at ${at}`, 'more']);
  }
  assert.ok(log.segments().length >= 3);
  assert.deepEqual(
    [...log.anchors()].map(({ ordinal }) => ordinal),
    log
      .segments()
      .map(({ firstOrdinal }) => firstOrdinal)
      .toReversed(),
  );
  const all = payloads(readAll(log));
  await log.close();
  log = open();
  assert.deepEqual(payloads(readAll(log)), all);
  // A creation that was cut short leaves no segment without its head.
  log.roll();
  log.append(record('cut'));
  const { path, firstOrdinal } = log.segments().at(-1)!;
  for (const bytes of [10, 48, 60, 90, 125]) {
    fs.truncateSync(path, bytes);
    const again = open();
    assert.equal(again.nextOrdinal, firstOrdinal, `cut at ${bytes}`);
    assert.equal(again.append(record('anew')), firstOrdinal + 2);
    assert.deepEqual([...payloads(readAll(again, firstOrdinal)).values()].slice(1), ['more', 'anew']);
  }
});

test('a log directory that cannot be used is refused with the reason', () => {
  const file = join(scratchDirectory(), 'file');
  fs.writeFileSync(file, '');
  assert.throws(
    () => SegmentLog.open({ ...ROOMY, dir: join(file, 'log') }),
    (cause: unknown) =>
      cause instanceof BackplaneError && cause.code === 'failed_precondition' && /ENOTDIR/.test(cause.message),
  );
});

test('a log of which another version wrote a part is refused, and that part stays as it is', async () => {
  for (const which of [1, 2]) {
    const dir = scratchDirectory();
    const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir });
    for (let at = 0; at < 9; at++) {
      if (at === 3 || at === 6) log.roll();
      log.append(record(`record ${at}`, BigInt(at)));
    }
    const { path } = log.segments()[which]!;
    await log.close();
    const bytes = fs.readFileSync(path);
    bytes.writeUInt16LE(2, 8);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4);
    fs.writeFileSync(path, bytes);
    assert.throws(
      () => SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir }),
      (cause: BackplaneError) =>
        cause.code === 'failed_precondition' && cause.message.startsWith(`${path} is of format version 2, and`),
    );
    assert.deepEqual(fs.readFileSync(path), bytes);
  }
});

test('a closed log takes no records, and its readers still read', async () => {
  const log = SegmentLog.open({ ...ROOMY, dir: scratchDirectory() });
  log.append(record('a'));
  const reader = log.reader(0);
  await log.close();
  await log.close();
  assert.throws(() => log.append(record('b')), /is closed/);
  assert.equal(reader.next()?.kind, 'record');
  assert.equal(reader.next(), undefined);
});

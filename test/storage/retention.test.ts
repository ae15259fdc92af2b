/** What a segment log deletes by bytes and age, and how its readers see it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { LOG_NOTES_MAX, SEGMENT_ANCHORS_MAX } from '../../src/limits.js';
import { SegmentLog } from '../../src/storage/segment-log/segment-log.js';
import { assertContiguous, payloads, ROOMY, readAll, record, UNSYNCED } from '../harness/files/scratch.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { runs } from '../harness/runs.js';

test('a log stays within its bytes, and readers are told how much they missed', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ size: fc.nat(300), reads: fc.nat(6) }), { minLength: 20, maxLength: 150 }),
      (steps) => {
        const dir = scratchDirectory();
        const bytesMax = 4000;
        const log = SegmentLog.open({ files: UNSYNCED, dir, bytesMax, ageMsMax: ROOMY.ageMsMax, segmentBytesMax: 600 });
        const reader = log.reader(0);
        let next = 0;
        for (const { size, reads } of steps) {
          log.append(record(''.padEnd(size, 'x')));
          assert.ok(log.bytes <= bytesMax, `${log.bytes} bytes`);
          for (let read = 0; read < reads; read++) {
            const item = reader.next();
            if (!item) break;
            assert.notEqual(item.kind, 'damage');
            assert.equal(item.kind === 'record' ? item.ordinal : item.ordinalFrom, next);
            if (item.kind === 'evicted') assert.equal(item.ordinalTo, log.firstOrdinal);
            next = reader.ordinal;
          }
        }
        const rest = [];
        for (let item = reader.next(); item; item = reader.next()) rest.push(item);
        assertContiguous(rest, next, steps.length);
        reader.close();
        const onDisk = fs.readdirSync(dir).filter((name) => name.endsWith('.log'));
        assert.equal(onDisk.length, log.segments().length);
        fs.rmSync(dir, { recursive: true });
      },
    ),
    { numRuns: runs(60) },
  );
});

test('a reader in the middle of a deleted segment continues behind it', () => {
  const log = SegmentLog.open({
    dir: scratchDirectory(),
    bytesMax: 4000,
    ageMsMax: ROOMY.ageMsMax,
    segmentBytesMax: 1000,
  });
  for (let at = 0; at < 5; at++) log.append(record(`${at}`.padEnd(150)));
  const reader = log.reader(0);
  assert.equal(reader.next()?.kind, 'record');
  for (let at = 5; log.firstOrdinal === 0; at++) log.append(record(`${at}`.padEnd(150)));
  const { firstOrdinal } = log;
  assert.deepEqual(reader.next(), { kind: 'evicted', ordinalFrom: 1, ordinalTo: firstOrdinal });
  const item = reader.next();
  assert.ok(item?.kind === 'record' && item.ordinal === firstOrdinal);
  assert.equal(item.payload.toString().trim(), `${firstOrdinal}`);
});

const SECOND_NS = 1_000_000_000n;

test('segments are deleted by age, and an idle log drops its last records but keeps its count', async () => {
  const dir = scratchDirectory();
  let nowNs = 1000n * SECOND_NS;
  const open = () =>
    SegmentLog.open({ files: UNSYNCED, dir, bytesMax: ROOMY.bytesMax, ageMsMax: 100_000, now: () => nowNs });
  let log = open();
  for (let at = 0; at < 30; at++) {
    log.append(record(`${at}`, nowNs));
    nowNs += 10n * SECOND_NS;
    log.enforceRetention();
    const { firstTimeNs } = log.segments()[0]!;
    assert.ok(nowNs - firstTimeNs <= 140n * SECOND_NS, 'no segment spans more than a quarter of the age');
  }
  assert.ok(log.firstOrdinal > 0 && log.firstOrdinal < 25);
  nowNs += 101n * SECOND_NS;
  log.enforceRetention();
  assert.equal(log.firstOrdinal, 30);
  assert.deepEqual(readAll(log), []);
  log.enforceRetention();
  assert.equal(log.segments().length, 1);
  log = open();
  assert.equal(log.nextOrdinal, 30);
  assert.equal(log.append(record('on', nowNs)), 30);
  await log.close();
});

test('anchors are bounded in number, and still lead to one at or before the asked time', () => {
  const log = SegmentLog.open({ ...ROOMY, dir: scratchDirectory() });
  const count = SEGMENT_ANCHORS_MAX * 3;
  for (let at = 0; at < count; at++) log.append(record('', BigInt(10 * at), { anchor: at % 2 === 0 }));
  const anchors = [...log.anchors()];
  assert.ok(anchors.length <= SEGMENT_ANCHORS_MAX && anchors.length > SEGMENT_ANCHORS_MAX / 4);
  assert.equal(anchors[0]?.ordinal, count - 2);
  assert.equal(anchors.at(-1)?.ordinal, 0);
  for (const time of [0, 11, 20_000, 10 * count]) {
    const { ordinal } = anchors.find(({ timeNs }) => timeNs <= BigInt(time))!;
    assert.ok(ordinal % 2 === 0 && 10 * ordinal <= time && time - 10 * ordinal < 10 * 32, `${time}: ${ordinal}`);
  }
  assert.equal(payloads(readAll(log)).size, count);
});

test('damage notes are bounded in number', () => {
  const dir = scratchDirectory();
  const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir, segmentBytesMax: 256 });
  for (let at = 0; at < LOG_NOTES_MAX + 50; at++) log.append(record(`${at}`.padEnd(180)));
  for (const { path } of log.segments()) {
    const bytes = fs.readFileSync(path);
    bytes[60]! ^= 1;
    fs.writeFileSync(path, bytes);
    fs.rmSync(path.replace('.log', '.index'), { force: true });
  }
  const again = SegmentLog.open({ ...ROOMY, dir });
  assert.equal(again.notes.length, LOG_NOTES_MAX);
  assert.match(again.notes.at(-1)!.message, /more, and/);
});

/** Any cut or flip, anywhere: what is good is served, what is not is stated, no ordinal is given twice. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SegmentLogItem } from '../../src/storage/segment-log/log-reader.js';
import { SegmentLog } from '../../src/storage/segment-log/segment-log.js';
import { FaultyFiles } from '../harness/files/faulty-files.js';
import { assertContiguous, payloads, ROOMY, readAll, record, UNSYNCED } from '../harness/files/scratch.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';
import { runs } from '../harness/runs.js';

const HEADER_BYTES = 48;
const RECORD_HEADER_BYTES = 32;

interface Sample {
  readonly dir: string;
  /** All of the directory, by name. */
  readonly files: ReadonlyMap<string, Buffer>;
  readonly texts: readonly string[];
  /** Where each record of the chosen segment begins, by ordinal, and where the last one ends. */
  readonly offsets: ReadonlyMap<number, number>;
  readonly path: string;
  readonly first: number;
  readonly end: number;
}

/** A log of three segments, four records each. */
async function sample(which: 'middle' | 'newest', closed: boolean, synced = closed): Promise<Sample> {
  const dir = scratchDirectory();
  const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir });
  const texts: string[] = [];
  for (let at = 0; at < 12; at++) {
    if (at === 4 || at === 8) log.roll();
    texts.push(`record ${at} `.padEnd(12 + 2 * at, 'abc'));
    log.append(record(texts[at]!, BigInt(at), { anchor: at % 3 === 0 }));
  }
  if (synced) await log.sync();
  if (closed) await log.close();
  const first = which === 'middle' ? 4 : 8;
  const offsets = new Map<number, number>();
  let offset = HEADER_BYTES;
  for (let ordinal = first; ordinal <= first + 4; ordinal++) {
    offsets.set(ordinal, offset);
    offset += RECORD_HEADER_BYTES + (texts[ordinal]?.length ?? 0);
  }
  const files = new Map(fs.readdirSync(dir).map((name) => [name, fs.readFileSync(join(dir, name))]));
  return { dir, files, texts, offsets, path: log.segments()[first / 4]!.path, first, end: first + 4 };
}

/** A copy of a sample's directory with the chosen segment's bytes replaced. */
function damaged(from: Sample, bytes: Buffer, keepIndex: boolean): string {
  const dir = scratchDirectory();
  for (const [name, content] of from.files) fs.writeFileSync(join(dir, name), content);
  const path = join(dir, basename(from.path));
  fs.writeFileSync(path, bytes);
  if (!keepIndex) fs.rmSync(path.replace('.log', '.index'), { force: true });
  return dir;
}

function checkDamaged(from: Sample, dir: string, bad: ReadonlySet<number>, label: string): SegmentLogItem[] {
  const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir });
  const items = readAll(log, 0);
  assertContiguous(items, 0, log.nextOrdinal);
  const found = payloads(items);
  for (const [ordinal, text] of from.texts.entries()) {
    if (!bad.has(ordinal)) assert.equal(found.get(ordinal), text, `${label}: record ${ordinal}`);
    else assert.ok(!found.has(ordinal) || found.get(ordinal) === text, `${label}: record ${ordinal} served falsely`);
  }
  assert.equal(
    [...found.keys()].every((ordinal) => ordinal < from.texts.length),
    true,
  );
  const next = log.append(record('after'));
  const again = readAll(log, next);
  assert.equal(payloads(again).get(next), 'after', label);
  const reopened = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir });
  assert.equal(reopened.nextOrdinal, next + 1, label);
  assert.equal(payloads(readAll(reopened)).get(next), 'after', label);
  fs.rmSync(dir, { recursive: true });
  return items;
}

function hit(from: Sample, at: number): Set<number> {
  for (const [ordinal, offset] of from.offsets) {
    const end = from.offsets.get(ordinal + 1);
    if (end !== undefined && at >= offset && at < end) return new Set([ordinal]);
  }
  return new Set();
}

/** An index on disk is of use to a segment in the middle, and tells of a newest one what it held when it was closed. */
const CASES = [
  { which: 'middle', closed: true, synced: true, keepIndex: true },
  { which: 'middle', closed: true, synced: true, keepIndex: false },
  { which: 'newest', closed: true, synced: true, keepIndex: true },
  { which: 'newest', closed: false, synced: true, keepIndex: false },
  { which: 'newest', closed: false, synced: false, keepIndex: false },
] as const;

for (const { which, closed, synced, keepIndex } of CASES) {
  const ended = closed ? 'closed' : synced ? 'crashed after a sync' : 'crashed';
  const name = `${which} segment, ${ended}, ${keepIndex ? 'with' : 'without'} its index`;
  /** How far it went is written down. */
  const known = which === 'middle' || synced;

  test(`a bit flip at every byte: ${name}`, async () => {
    const from = await sample(which, closed, synced);
    const good = fs.readFileSync(from.path);
    for (let at = 0; at < good.length; at++) {
      const bytes = Buffer.from(good);
      bytes[at]! ^= 1 << (at % 8);
      const bad = hit(from, at);
      const items = checkDamaged(from, damaged(from, bytes, keepIndex), bad, `flip at ${at}`);
      const damage = items.filter((item) => item.kind === 'damage');
      const [ordinal] = bad;
      if (ordinal === undefined) assert.deepEqual(damage, [], `flip at ${at}`);
      else {
        const size = from.offsets.get(ordinal + 1)! - from.offsets.get(ordinal)!;
        const stated = damage.map(({ ordinalFrom, ordinalTo, bytes }) => [ordinalFrom, ordinalTo, bytes]);
        // A damaged last record of the newest segment: nobody knows how many there were.
        const open = ordinal === 11 && !known;
        if (open) assert.ok(stated.length === 1 && stated[0]![1]! >= 12 && stated[0]![2] === size, `flip at ${at}`);
        else assert.ok(stated.length === 1 && stated[0]![0] === ordinal && stated[0]![2] === size, `flip at ${at}`);
      }
    }
  });

  test(`a cut at every byte: ${name}`, async () => {
    const from = await sample(which, closed, synced);
    const good = fs.readFileSync(from.path);
    for (let at = 0; at < good.length; at++) {
      const bad = new Set<number>();
      for (let ordinal = from.first; ordinal < from.end; ordinal++) {
        if (from.offsets.get(ordinal + 1)! > at) bad.add(ordinal);
      }
      const items = checkDamaged(from, damaged(from, good.subarray(0, at), keepIndex), bad, `cut at ${at}`);
      const lost = items.flatMap((item) => (item.kind === 'damage' ? [item.ordinalFrom, item.ordinalTo] : []));
      if (known) {
        assert.equal(lost[0], Math.min(...bad), `cut at ${at}`);
        assert.equal(lost.at(-1)! >= from.end, true, `cut at ${at}`);
      } else assert.deepEqual(lost, [], `cut at ${at}`);
    }
  });
}

test('a torn last record is noted and cut off, and its ordinal is used again', async () => {
  const from = await sample('newest', false);
  const good = fs.readFileSync(from.path);
  const dir = damaged(from, good.subarray(0, good.length - 3), false);
  const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir });
  const offset = from.offsets.get(11)!;
  assert.deepEqual(
    log.notes.map(({ segment, byteOffset, bytes }) => [segment, byteOffset, bytes]),
    [[basename(from.path), offset, good.length - 3 - offset]],
  );
  assert.equal(fs.statSync(join(dir, basename(from.path))).size, offset);
  assert.equal(log.append(record('anew')), 11);
});

test('a complete but damaged last record keeps its ordinal, and the next record gets another', async () => {
  const from = await sample('newest', false);
  const bytes = fs.readFileSync(from.path);
  bytes[bytes.length - 1]! ^= 1;
  const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir: damaged(from, bytes, false) });
  assert.equal(log.append(record('next')), 12);
});

test('after any number of flips, even while the log is open, reads are true, losses stated, and nothing throws', async () => {
  const from = await sample('middle', true);
  const flips = fc.array(fc.tuple(fc.nat(2), fc.nat(600), fc.integer({ min: 1, max: 255 })), { maxLength: 12 });
  fc.assert(
    fc.property(flips, fc.boolean(), fc.nat(12), (places, whileOpen, start) => {
      const dir = damaged(from, fs.readFileSync(from.path), true);
      const early = whileOpen ? SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir }) : undefined;
      const paths = fs.readdirSync(dir).filter((name) => name.endsWith('.log'));
      for (const [file, at, mask] of places) {
        const path = join(dir, paths[file]!);
        const bytes = fs.readFileSync(path);
        bytes[at % bytes.length]! ^= mask;
        const fd = fs.openSync(path, 'r+');
        fs.writeSync(fd, bytes, 0, bytes.length, 0);
        fs.closeSync(fd);
      }
      const log = early ?? SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir });
      const items = readAll(log, start);
      assertContiguous(items, start, log.nextOrdinal);
      for (const [ordinal, text] of payloads(items)) assert.equal(text, from.texts[ordinal]);
      fs.rmSync(dir, { recursive: true });
    }),
    { numRuns: runs(100) },
  );
});

test('a payload that holds whole records of another log does not pass for records', () => {
  const other = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir: scratchDirectory() });
  for (let at = 0; at < 20; at++) other.append(record(`forged ${at}`));
  const forged = fs.readFileSync(other.segments()[0]!.path);
  const dir = scratchDirectory();
  const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir });
  for (const payload of ['a', forged, 'b', 'c']) log.append(record(payload));
  const { path } = log.segments()[0]!;
  const bytes = fs.readFileSync(path);
  bytes[HEADER_BYTES + RECORD_HEADER_BYTES + 1 + 4]! ^= 1;
  fs.writeFileSync(path, bytes);
  const items = readAll(SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir }), 0);
  assert.deepEqual(
    [...payloads(items)],
    [
      [0, 'a'],
      [2, 'b'],
      [3, 'c'],
    ],
  );
  assert.deepEqual(
    items.map(({ kind }) => kind),
    ['record', 'damage', 'record', 'record'],
  );
});

test('a lost identity is restored from the segments, and a lost segment is a stated gap', async () => {
  const from = await sample('middle', true);
  const { identity } = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir: from.dir });
  fs.rmSync(join(from.dir, 'identity'));
  fs.rmSync(from.path);
  const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir: from.dir });
  assert.equal(log.identity, identity);
  const gaps = readAll(log, 0).filter((item) => item.kind === 'damage');
  assert.deepEqual(
    gaps.map(({ ordinalFrom, ordinalTo, bytes }) => [ordinalFrom, ordinalTo, bytes]),
    [[4, 8, 0]],
  );
});

test('a block that cannot be read is a stated gap, and a later read may succeed', () => {
  const files = new FaultyFiles();
  const log = SegmentLog.open({ ...ROOMY, dir: scratchDirectory(), files: files.ops });
  for (let at = 0; at < 100; at++) log.append(record(`record ${at}`.padEnd(1000)));
  files.failNext = { operation: 'read', code: 'EIO' };
  const items = readAll(log);
  assertContiguous(items, 0, 100);
  const [gap] = items;
  assert.ok(gap?.kind === 'damage' && /EIO/.test(gap.message), 'the gap says why');
  assert.equal(gap.bytes % (RECORD_HEADER_BYTES + 1000), 0);
  assert.equal(items.length > 90, true);
  assert.equal(readAll(log).length, 100);
});

const lossesOf = (items: readonly SegmentLogItem[]) =>
  items.flatMap((item) => (item.kind === 'damage' ? [[item.ordinalFrom, item.ordinalTo, item.lostBytes]] : []));

test('a missing segment file is a stated loss, with its index or without, after a close or a crash', async () => {
  for (const closed of [true, false]) {
    const from = await sample('newest', closed, true);
    const names = [...from.files.keys()].filter((name) => name.endsWith('.log')).sort();
    for (const [at, name] of names.entries()) {
      for (const withIndex of [false, true]) {
        const dir = damaged(from, fs.readFileSync(from.path), true);
        fs.rmSync(join(dir, name));
        if (withIndex) fs.rmSync(join(dir, name.replace('.log', '.index')), { force: true });
        const bad = new Set([0, 1, 2, 3].map((record) => 4 * at + record));
        const label = `${name} removed${withIndex ? ' with its index' : ''}, ${closed ? 'closed' : 'crashed'}`;
        const [loss] = lossesOf(checkDamaged(from, dir, bad, label));
        const bytes = from.files.get(name)!.length;
        // Without an index nobody knows how long an older one was: its records had their headers at least.
        const known = at === names.length - 1 || !withIndex;
        assert.deepEqual(loss!.slice(0, 1), [4 * at], label);
        assert.equal(loss![2], known ? bytes : 4 * RECORD_HEADER_BYTES, label);
      }
    }
    const dir = damaged(from, fs.readFileSync(from.path), false);
    for (const name of fs.readdirSync(dir)) if (/log$|index$/.test(name)) fs.rmSync(join(dir, name));
    const items = checkDamaged(from, dir, new Set(from.texts.keys()), 'all removed');
    assert.equal(lossesOf(items)[0]![0], 0);
  }
});

test('a cut states how many bytes it took, at every start', async () => {
  for (const which of ['middle', 'newest'] as const) {
    const from = await sample(which, true);
    const { length } = fs.readFileSync(from.path);
    const dir = damaged(from, fs.readFileSync(from.path), true);
    const at = from.offsets.get(from.first + 1)! + 3;
    fs.truncateSync(join(dir, basename(from.path)), at);
    for (let start = 0; start < 3; start++) {
      const log = SegmentLog.open({ ...ROOMY, files: UNSYNCED, dir });
      const losses = lossesOf(readAll(log, 0));
      assert.deepEqual(losses, [[from.first + 1, from.end, length - at + 3]], `${which}, start ${start}`);
      log.append(record(`start ${start}`));
    }
  }
});

test('segments deleted by retention count as evicted, not lost, even if the log is killed meanwhile', async () => {
  const dir = scratchDirectory();
  const options = { ...ROOMY, files: UNSYNCED, dir, bytesMax: 8192, segmentBytesMax: 1024 };
  for (let start = 0; start < 4; start++) {
    const log = SegmentLog.open(options);
    for (let at = 0; at < 100; at++) log.append(record(`record ${at}`.padEnd(100)));
    if (start % 2 === 0) await log.sync();
    assert.ok(log.firstOrdinal > 0);
    const items = readAll(SegmentLog.open(options), 0);
    assert.deepEqual(lossesOf(items), []);
    assert.equal(items[0]?.kind, 'evicted');
  }
});

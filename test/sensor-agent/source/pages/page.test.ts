/** The page scanner against a model, against hand-made pages and against garbage. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BUILTIN_FORMATS } from '../../../../src/sensor-agent/source/builtin-formats.js';
import {
  type LaneCursor,
  PageEntries,
  readPageHeader,
  scanPage,
  startCursor,
} from '../../../../src/sensor-agent/source/pages/page.js';
import { PageWriter } from '../../../../src/sensor-agent/source/synthetic/page-writer.js';
import { runs } from '../../../harness/runs.js';

const ALL = new Uint8Array(65_536).fill(1);
const EXIT = BUILTIN_FORMATS.byName('sched_process_exit')!;
const ENTER = BUILTIN_FORMATS.byName('sys_enter')!;
const EXEC = BUILTIN_FORMATS.byName('sched_process_exec')!;

interface Seen {
  readonly id: number;
  readonly timeNs: bigint;
  readonly tie: number;
}

function scanned(page: Buffer, cursor: LaneCursor, wanted: Uint8Array = ALL): { seen: Seen[]; entries: PageEntries } {
  const entries = new PageEntries();
  scanPage(page, wanted, cursor, entries);
  const seen = Array.from({ length: entries.count }, (_, i) => ({
    id: entries.ids[i]!,
    timeNs: entries.timeNs(i),
    tie: entries.ties[i]!,
  }));
  return { seen, entries };
}

/** Steps of time that matter: none, small, at and over 27 bits, days. */
const step = fc.oneof(
  fc.constant(0n),
  fc.bigInt(1n, 5000n),
  fc.bigInt((1n << 27n) - 2n, (1n << 27n) + 2n),
  fc.bigInt(0n, 1n << 50n),
);
const script = fc.record({
  startNs: fc.bigInt(0n, 1n << 58n),
  entries: fc.array(
    fc.record({ step, format: fc.constantFrom(EXIT, ENTER, EXEC), text: fc.string({ maxLength: 200 }) }),
    {
      maxLength: 60,
    },
  ),
});

test('pages of a lane yield the written entries, with ties counted across pages and unwanted entries', () => {
  fc.assert(
    fc.property(script, fc.boolean(), ({ startNs, entries }, misaligned) => {
      const writer = new PageWriter(512);
      const pages: Buffer[] = [];
      const expected: Seen[] = [];
      let timeNs = startNs;
      let tie = -1;
      let lastNs = -1n;
      for (const entry of entries) {
        timeNs += entry.step;
        tie = timeNs === lastNs ? tie + 1 : 0;
        lastNs = timeNs;
        expected.push({ id: entry.format.id, timeNs, tie });
        const values = entry.format === EXEC ? { filename: entry.text } : {};
        const added = { format: entry.format, timeNs, pid: 1, values };
        if (writer.append(added)) continue;
        pages.push(Buffer.from(writer.take()!));
        assert.ok(writer.append(added));
      }
      const rest = writer.take();
      if (rest !== undefined) pages.push(Buffer.from(rest));
      const everything = startCursor();
      const some = startCursor();
      const seen: Seen[] = [];
      const seenSome: Seen[] = [];
      const onlyExits = BUILTIN_FORMATS.wanted(['sched_process_exit']);
      for (const page of pages) {
        const placed = misaligned ? Buffer.concat([Buffer.alloc(1), page]).subarray(1) : page;
        const result = scanned(placed, everything);
        assert.equal(result.entries.malformed, false);
        seen.push(...result.seen);
        seenSome.push(...scanned(placed, some, onlyExits).seen);
        // A page read again later, from its first entry's tie alone, names its events alike.
        assert.deepEqual(scanned(placed, startCursor(result.entries.firstTie)).seen, result.seen);
      }
      assert.deepEqual(seen, expected);
      assert.deepEqual(
        seenSome,
        expected.filter(({ id }) => id === EXIT.id),
      );
    }),
  );
});

/** A page of raw words at a time. */
function pageOf(timeNs: bigint, words: readonly number[]): Buffer {
  const page = Buffer.alloc(16 + words.length * 4);
  page.writeBigUInt64LE(timeNs, 0);
  page.writeBigUInt64LE(BigInt(words.length * 4), 8);
  words.forEach((word, i) => {
    page.writeUInt32LE(word >>> 0, 16 + i * 4);
  });
  return page;
}

const word = (type: number, delta: number) => ((delta << 5) | type) >>> 0;

test('padding, time extends, time stamps and length words are skipped as the kernel defines them', () => {
  const timeNs = (3n << 59n) + (5n << 27n) + 100n;
  const page = pageOf(timeNs, [
    word(2, 0),
    7,
    0, // at the page's time
    word(29, 3),
    4, // a discarded event: array[0] bytes follow the header word
    word(1, 4),
    8, // 3 + 4 later
    word(30, 1),
    2, // extends by 2 << 27 | 1
    word(1, 0),
    9,
    word(31, 50),
    9, // stamp 9 << 27 | 50: upper bits are the page's
    word(0, 1),
    8,
    10, // a length word that counts itself
    word(29, 0),
    0xffffffff, // ends the page
    word(1, 0),
    11,
  ]);
  const { seen, entries } = scanned(page, startCursor());
  assert.equal(entries.malformed, false);
  assert.deepEqual(
    seen.map(({ id, timeNs: at }) => [id, at - timeNs]),
    [
      [7, 0n],
      [8, 7n],
      [9, 7n + (2n << 27n) + 1n],
      [10, (4n << 27n) - 50n + 1n],
    ],
  );
});

test('a time stamp whose 59 bits have wrapped is after the page, and an older one before it', () => {
  const nearWrap = (1n << 59n) - 10n;
  const wrapped = scanned(pageOf(nearWrap, [word(31, 5), 0, word(1, 0), 7]), startCursor());
  assert.equal(wrapped.seen[0]!.timeNs, (1n << 59n) + 5n);
  const back = scanned(pageOf(1000n, [word(31, 5), 0, word(1, 0), 7]), startCursor());
  assert.equal(back.seen[0]!.timeNs, 1000n);
});

test('an entry that breaks the grammar is malformed, and the rest of the page is not read', () => {
  const good = [word(1, 0), 7];
  for (const [name, words] of [
    ['payload past the end', [...good, word(20, 0), 8]],
    ['length word missing', [...good, word(0, 0)]],
    ['length word zero', [...good, word(0, 0), 0, 8]],
    ['length word huge', [...good, word(0, 0), 0xffffffff, 8]],
    ['padding past the end', [...good, word(29, 1), 0xffffffff]],
    ['padding without its length', [...good, word(29, 1)]],
    ['extend without its word', [...good, word(30, 1)]],
    ['extend by 18 years', [...good, word(30, 0), 0x7fffffff]],
  ] as const) {
    const { seen, entries } = scanned(pageOf(5n, words), startCursor());
    assert.equal(entries.malformed, true, name);
    assert.equal(seen.length, 1, name);
  }
  const short = pageOf(5n, good);
  short.writeUInt32LE(64, 8);
  assert.equal(scanned(short, startCursor()).entries.malformed, true);
  assert.equal(scanned(Buffer.alloc(15), startCursor()).entries.malformed, true);
});

test('garbage never throws, and entries found in it lie inside the page', () => {
  const entries = new PageEntries();
  const decoders = BUILTIN_FORMATS.all().map((format) => format.decode);
  const garbage = fc.uint8Array({ maxLength: 600 });
  fc.assert(
    fc.property(garbage, fc.boolean(), (bytes, wholeCommit) => {
      const page = Buffer.from(bytes);
      if (wholeCommit && page.length >= 16) page.writeUInt32LE(page.length - 16, 8);
      scanPage(page, ALL, startCursor(), entries);
      for (let i = 0; i < entries.count; i++) {
        const at = entries.offsets[i]!;
        const length = entries.lengths[i]!;
        assert.ok(at >= 20 && length > 0 && at + length <= page.length);
        for (const decode of decoders) decode(page, at, length);
      }
    }),
    { numRuns: runs(2000) },
  );
});

test('the page header tells losses with a count, without a count, and none', () => {
  const page = Buffer.concat([pageOf(9n, [word(1, 0), 7]), Buffer.alloc(8)]);
  assert.deepEqual(readPageHeader(page), { timeNs: 9n, dataBytes: 8, lost: 0, lostUnknown: false });
  page.writeUInt32LE((8 | 0x80000000) >>> 0, 8);
  assert.deepEqual(readPageHeader(page), { timeNs: 9n, dataBytes: 8, lost: 0, lostUnknown: true });
  page.writeUInt32LE((8 | 0xc0000000) >>> 0, 8);
  page.writeBigUInt64LE(78_878n, 24);
  assert.deepEqual(readPageHeader(page), { timeNs: 9n, dataBytes: 8, lost: 78_878, lostUnknown: false });
});

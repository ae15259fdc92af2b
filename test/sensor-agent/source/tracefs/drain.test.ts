/** Draining without a kernel: a file of pages stands for what the descriptor gives. */
import assert from 'node:assert/strict';
import { appendFileSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { SourcePage } from '../../../../src/sensor-agent/source/source.js';
import { PageDrain } from '../../../../src/sensor-agent/source/tracefs/drain.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';

const dir = scratchDirectory('drain');
const PAGE_BYTES = 4096;
const BUFFER_BYTES = 8 * PAGE_BYTES;
let serial = 0;

/** A full page of one long entry, so that a drain goes on behind it. */
function page(missed?: number | 'uncounted', timeNs = 1_000n): Buffer {
  const bytes = Buffer.alloc(PAGE_BYTES);
  const dataBytes = missed === 'uncounted' ? PAGE_BYTES - 16 : PAGE_BYTES - 64;
  let commit = dataBytes;
  if (missed !== undefined) commit += 2 ** 31;
  if (typeof missed === 'number') {
    commit += 2 ** 30;
    bytes.writeBigUInt64LE(BigInt(missed), 16 + dataBytes);
  }
  bytes.writeBigUInt64LE(timeNs, 0);
  bytes.writeUInt32LE(commit, 8);
  bytes.writeUInt32LE(0, 16);
  bytes.writeUInt32LE(dataBytes - 4, 20);
  return bytes;
}

/** Drains the pages; overruns are what the lane's statistics say at each look. */
function drained(pages: readonly Buffer[], overruns: readonly (number | undefined)[]) {
  const path = join(dir, String(serial++));
  writeFileSync(path, Buffer.concat(pages));
  const looks = [...overruns];
  const told: Pick<SourcePage, 'lost' | 'lostUnknown'>[] = [];
  const drain = new PageDrain(new Map([[0, openSync(path, 'r')]]), {
    pageBytes: PAGE_BYTES,
    bufferBytes: BUFFER_BYTES,
    nowNs: () => 2_000_000_000n,
    overrun: () => looks.shift(),
  });
  const sink = {
    page: ({ lost, lostUnknown }: SourcePage) => void told.push({ lost, lostUnknown }),
    horizon: () => {},
    exec: () => {},
    note: () => {},
  };
  while (!drain.run(sink).empty);
  drain.close();
  assert.equal(drain.malformedPages, 0);
  return { told, looksLeft: looks.length };
}

test('losses that the kernel counts are passed on as counted, without reading the statistics', () => {
  const { told, looksLeft } = drained([page(7), page(), page(3)], [99]);
  assert.deepEqual(
    told.map(({ lost }) => lost),
    [7, 0, 3],
  );
  assert.ok(told.every(({ lostUnknown }) => !lostUnknown));
  assert.equal(looksLeft, 1);
});

test('a page without room for its count gets it from the statistics, and no loss is counted twice', () => {
  // 5 counted; 20 uncounted, of which the statistics already include 4 of the next page's 10.
  const { told } = drained([page(5), page('uncounted'), page(), page(10), page(1)], [29, 35, 36]);
  assert.deepEqual(
    told.map(({ lost }) => lost),
    [5, 24, 0, 6, 1],
  );
  assert.ok(told.every(({ lostUnknown }) => !lostUnknown));
});

test('in an adopted buffer a loss without a count stays unknown', () => {
  const { told } = drained([page(5), page('uncounted'), page(4)], [undefined, undefined]);
  assert.deepEqual(told, [
    { lost: 5, lostUnknown: false },
    { lost: 0, lostUnknown: true },
    { lost: 4, lostUnknown: false },
  ]);
});

test('after an event from behind its horizon, the horizon keeps a greater distance for ten minutes', () => {
  const path = join(dir, String(serial++));
  writeFileSync(path, '');
  let nowNs = 0n;
  const drain = new PageDrain(new Map([[0, openSync(path, 'r')]]), {
    pageBytes: PAGE_BYTES,
    bufferBytes: BUFFER_BYTES,
    nowNs: () => nowNs,
    overrun: () => undefined,
  });
  const distanceMs = (atMs: number) => {
    nowNs = BigInt(atMs) * 1_000_000n;
    let horizonNs = 0n;
    const horizon = (ns: bigint) => {
      horizonNs = ns;
    };
    drain.run({ page: () => {}, horizon });
    return Number(nowNs - horizonNs) / 1e6;
  };
  const committed = (timeMs: number) => appendFileSync(path, page(undefined, BigInt(timeMs) * 1_000_000n));
  assert.equal(distanceMs(100), 1);
  committed(99);
  assert.equal(distanceMs(110), 1);
  committed(107);
  distanceMs(120);
  // It came two milliseconds behind the one that was allowed for.
  assert.equal(distanceMs(130), 6);
  committed(110);
  distanceMs(140);
  assert.equal(distanceMs(160), 20);
  assert.equal(distanceMs(599_000), 20);
  assert.equal(distanceMs(601_000), 1);
  drain.close();
});

test('a page written with another clock is left out, which is stated as a loss, and does not move the horizon', () => {
  const path = join(dir, String(serial++));
  const times = [1_000n, 1_500n, 2n ** 62n, 1_400n, 1_600n];
  writeFileSync(path, Buffer.concat(times.map((timeNs) => page(undefined, timeNs))));
  const drain = new PageDrain(new Map([[0, openSync(path, 'r')]]), {
    pageBytes: PAGE_BYTES,
    bufferBytes: BUFFER_BYTES,
    nowNs: () => 2_000_000_000n,
    overrun: () => undefined,
  });
  const told: (bigint | 'lost')[] = [];
  let horizonNs = 0n;
  const sink = {
    page: ({ bytes, lostUnknown }: SourcePage) => void told.push(lostUnknown ? 'lost' : bytes.readBigUInt64LE(0)),
    horizon: (ns: bigint) => {
      horizonNs = ns;
    },
  };
  while (!drain.run(sink).empty);
  assert.deepEqual(told, [1_000n, 1_500n, 'lost', 'lost', 1_600n]);
  assert.equal(drain.misplacedPages, 2);
  assert.equal(drain.entriesRead, 5, 'the kernel counts them as read');
  assert.ok(horizonNs < 2_000_000_000n);
  drain.close();
});

/** Drains the pages by a clock. */
function drainedBy(
  pages: readonly Buffer[],
  clock: { readonly nowNs: () => bigint; readonly renewedNs?: () => bigint },
) {
  const path = join(dir, String(serial++));
  writeFileSync(path, Buffer.concat(pages));
  const drain = new PageDrain(new Map([[0, openSync(path, 'r')]]), {
    ...{ pageBytes: PAGE_BYTES, bufferBytes: BUFFER_BYTES, overrun: () => undefined },
    ...clock,
  });
  const told: SourcePage[] = [];
  let horizonNs = 0n;
  const horizon = (ns: bigint) => {
    horizonNs = ns;
  };
  while (!drain.run({ page: (one) => void told.push({ ...one, bytes: Buffer.from(one.bytes) }), horizon }).empty);
  drain.close();
  return { told, horizonNs, drain };
}

const SECOND_NS = 1_000_000_000n;

test('what is recorded while a drain is held up for long is read by it all the same', () => {
  // Others have the CPU for a minute, or the agent is stopped, between the drain's begin and its second page.
  const times = [1_000n, 61n * SECOND_NS];
  let nowNs = SECOND_NS;
  const pages = times.map((timeNs) => page(undefined, timeNs));
  const { told, drain } = drainedBy(pages, {
    nowNs: () => {
      const before = nowNs;
      nowNs = 62n * SECOND_NS;
      return before;
    },
  });
  assert.deepEqual(
    told.map(({ bytes, lostUnknown }) => [bytes.readBigUInt64LE(0), lostUnknown]),
    times.map((timeNs) => [timeNs, false]),
  );
  assert.equal(drain.misplacedPages, 0);
});

test('what is recorded behind a suspend is read, although the clock was not told of it', () => {
  let suspendedNs = 0n;
  const clock = {
    nowNs: () => SECOND_NS + suspendedNs,
    renewedNs: () => {
      suspendedNs = 3_600n * SECOND_NS;
      return SECOND_NS + suspendedNs;
    },
  };
  const { told, drain } = drainedBy([page(undefined, 3_600n * SECOND_NS)], clock);
  assert.deepEqual(
    told.map(({ lostUnknown }) => lostUnknown),
    [false],
  );
  assert.equal(drain.misplacedPages, 0);
});

test('a page that breaks the grammar of pages, and one that is no page, are stated as losses', () => {
  const broken = page();
  // Its entry says that it is longer than the page.
  broken.writeUInt32LE(2 * PAGE_BYTES, 20);
  const none = page();
  none.writeUInt32LE(PAGE_BYTES, 8);
  const { told, drain } = drainedBy([page(), broken, none, page()], { nowNs: () => SECOND_NS });
  assert.deepEqual(
    told.map(({ lostUnknown }) => lostUnknown),
    [false, true, true, false],
  );
  assert.equal(drain.malformedPages, 2);
});

test('a page of another clock at the end of what is read at once moves no horizon', () => {
  // So many pages of a lane are read before it is looked how far it is.
  const times = [...Array.from({ length: 15 }, (_, at) => BigInt(at)), 2n ** 62n, 20n];
  const pages = times.map((timeNs) => page(undefined, timeNs));
  const { told, horizonNs } = drainedBy(pages, { nowNs: () => SECOND_NS });
  assert.equal(told.filter(({ lostUnknown }) => lostUnknown).length, 1);
  assert.ok(horizonNs <= SECOND_NS, String(horizonNs));
});

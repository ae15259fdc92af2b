/** The contract of partition logs, which every implementation must keep. */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import type { LogItem, PartitionLog, PartitionReader } from '../../src/broker/log/partition-log.js';
import { BackplaneError } from '../../src/errors.js';
import { encodeFrame, type Frame } from '../../src/wire/frame/frame.js';
import type { Position } from '../../src/wire/position.js';
import { element } from '../harness/arbitrary/frame-arbitrary.js';
import { frameOver } from '../harness/frames.js';
import { until } from '../harness/until.js';
import { type Each, eachWith } from './each.js';

export interface LogUnderTest {
  /** The same log at every call, as after a restart. `bytesMax` bounds it by retention. */
  open(bytesMax?: number): Promise<PartitionLog>;
  /** Ends it as a kill would. */
  kill(log: PartitionLog): Promise<void>;
  /** Applies retention, which deletes old frames. */
  enforce(log: PartitionLog): void | Promise<void>;
  /** The log of another broker, where brokers can be many. */
  another?(): Promise<PartitionLog>;
  destroy(): Promise<void>;
}

const position = (time: number): Position => ({ epoch: 1, timeNs: BigInt(time), lane: 0, tie: 0 });

/** What a reader of `frameOf`'s default topic reads. */
export const PROCESS: ReadonlySet<string> = new Set(['process']);

/** Covers (from, to], with `bytes` of one event when given. */
export function frameOf(from: number, to: number, bytes = 0, topic = 'process'): Frame {
  if (bytes === 0) return frameOver(position(from), position(to), { topic });
  const events = element(bytes, to);
  return frameOver(position(from), position(to), {
    topic,
    count: 1,
    eventSizes: [events.length],
    timesNs: BigUint64Array.of(BigInt(to)),
    lanes: [0],
    ties: [0],
    events,
  });
}

function append(log: PartitionLog, node: string, from: number, to: number, bytes = 0, topic = 'process') {
  const frame = frameOf(from, to, bytes, topic);
  return log.append(node, frame, encodeFrame(frame));
}

async function drain(reader: PartitionReader): Promise<LogItem[]> {
  const items: LogItem[] = [];
  for (let item = await reader.next(); item; item = await reader.next()) items.push(item);
  return items;
}

const shown = (item: LogItem) => (item.kind === 'frame' ? `${item.node}:${item.frame.coveredTo.timeNs}` : item.kind);

export function partitionLogContract(name: string, create: () => Promise<LogUnderTest>): void {
  const each = eachWith(name, create);

  readersPromises(each);
  lateFollowers(each);
  followersPromises(each);
  positionsPromises(each);
  storagePromises(each);
  chainPromises(each);
}

function readersPromises(each: Each<LogUnderTest>): void {
  each('frames come back in order from any offset, with their contents', async (under) => {
    const log = await under.open();
    const offsets: number[] = [];
    for (let i = 0; i < 20; i++) offsets.push(await append(log, i % 2 ? 'a' : 'b', i, i + 1, 200));
    assert.deepEqual(
      offsets,
      [...new Set(offsets)].sort((x, y) => x - y),
    );
    const items = await drain(log.reader(log.firstOffset, PROCESS));
    assert.deepEqual(
      items.map((item) => item.kind === 'frame' && item.offset),
      offsets,
    );
    const [first] = items;
    assert.ok(first?.kind === 'frame');
    assert.deepEqual(first.frame, frameOf(0, 1, 200));
    const tail = await drain(log.reader(offsets[15]!, PROCESS));
    assert.deepEqual(tail.map(shown), ['a:16', 'b:17', 'a:18', 'b:19', 'a:20']);
  });

  each('a reader gets the frames of its topics, and passes over the others', async (under) => {
    const log = await under.open();
    for (let i = 0; i < 30; i++) await append(log, 'a', i, i + 1, 2000, ['process', 'syscall', 'host'][i % 3]);
    const read = async (...topics: string[]) => {
      const reader = log.reader(log.firstOffset, new Set(topics));
      const items = await drain(reader);
      assert.equal(reader.offset, log.deliverableOffset, 'it has passed the rest');
      return items.map((item) => item.kind === 'frame' && item.frame.topic);
    };
    assert.deepEqual(await read('host'), Array(10).fill('host'));
    assert.deepEqual((await read('process', 'host')).slice(0, 3), ['process', 'host', 'process']);
    assert.deepEqual(await read('network'), []);
    assert.deepEqual(
      ['process', 'syscall', 'host', 'network'].map((topic) => log.coveredTo('a', topic)?.timeNs),
      [28n, 29n, 30n, undefined],
    );
  });

  each('nothing is delivered before it is durable, and a reader at the end waits for more', async (under) => {
    const log = await under.open();
    const told: number[] = [];
    log.follow(({ offset }) => told.push(offset));
    const reader = log.reader(log.firstOffset, PROCESS);
    assert.equal(await reader.next(), undefined);
    const appending = append(log, 'a', 0, 1);
    if (log.deliverableOffset === log.firstOffset) assert.equal(await reader.next(), undefined);
    const offset = await appending;
    assert.deepEqual(told, [offset]);
    assert.ok(log.deliverableOffset > offset);
    assert.deepEqual((await drain(reader)).map(shown), ['a:1']);
    await append(log, 'a', 1, 2);
    assert.deepEqual((await drain(reader)).map(shown), ['a:2']);
    reader.close();
  });
}

function lateFollowers(each: Each<LogUnderTest>): void {
  each(
    'what is appended while nobody follows is told to nobody later, and what comes then is told whole',
    async (under) => {
      const log = await under.open();
      for (let i = 0; i < 5; i++) await append(log, 'a', i, i + 1, 300);
      const told: string[] = [];
      const tell = (item: LogItem) => told.push(`${shown(item)} ${item.kind === 'frame' ? item.bytes > 300 : ''}`);
      const writing = (async () => {
        for (let i = 5; i < 45; i++) await append(log, 'a', i, i + 1, 300);
      })();
      const from = log.deliverableOffset;
      log.follow(tell);
      await writing;
      const read = await drain(log.reader(from, PROCESS));
      assert.deepEqual(
        told,
        read.map((item) => `${shown(item)} true`),
      );
      assert.ok(told.length >= 39);
    },
  );
}

function followersPromises(each: Each<LogUnderTest>): void {
  each('with two writers, a follower is told every frame once, in the order of the offsets', async (under) => {
    const log = await under.open();
    const told: string[] = [];
    const offsets: number[] = [];
    log.follow((entry) => {
      told.push(shown(entry));
      offsets.push(entry.offset);
      assert.deepEqual(log.coveredTo(entry.node, 'process'), entry.frame.coveredTo, 'known by the time it is told');
    });
    const write = async (node: string) => {
      for (let i = 0; i < 40; i++) await append(log, node, i, i + 1, 300);
    };
    let grown = 0;
    const lateOffsets: number[] = [];
    log.onGrown((bytes) => {
      grown += bytes;
      if (offsets.length !== 30) return;
      // One that comes while frames are appended is told of all from then on, and of none when it went.
      const end = log.follow(({ offset }) => {
        lateOffsets.push(offset);
        if (lateOffsets.length === 20) end();
      });
    });
    await Promise.all([write('a'), write('b')]);
    assert.ok(grown > 80 * 300);
    assert.deepEqual(lateOffsets, offsets.slice(30, 50));
    assert.deepEqual(
      offsets,
      [...offsets].sort((x, y) => x - y),
    );
    assert.deepEqual(told, (await drain(log.reader(log.firstOffset, PROCESS))).map(shown));
    for (const node of ['a', 'b']) {
      const own = told.filter((text) => text.startsWith(node));
      assert.deepEqual(
        own,
        Array.from({ length: 40 }, (_, i) => `${node}:${i + 1}`),
      );
    }
  });

  each('a snapshot covers exactly the frames before its offset', async (under) => {
    const log = await under.open();
    const writing: Promise<number>[] = [];
    const seen: { offset: number; to: bigint }[] = [];
    for (let i = 0; i < 60; i++) {
      writing.push(append(log, 'a', i, i + 1, 100));
      const { offset, covered } = log.snapshot();
      seen.push({ offset, to: covered.to('a', 'process')?.timeNs ?? 0n });
      if (i % 7 === 0) await turn();
    }
    await Promise.all(writing);
    await append(log, 'a', 60, 61, 100);
    for (const { offset, to } of seen) {
      const [next] = await drain(log.reader(offset, PROCESS));
      assert.equal(next?.kind === 'frame' && next.frame.coveredFrom.timeNs, to);
    }
  });
}

function positionsPromises(each: Each<LogUnderTest>): void {
  each('the log knows the position that it has of each node, at once and after a kill', async (under) => {
    let log = await under.open();
    for (let i = 0; i < 50; i++) await append(log, `n${i % 5}`, i, i + 1, 100);
    await append(log, 'n0', 50, 99);
    assert.deepEqual(log.coveredTo('n0', 'process'), position(99));
    await under.kill(log);
    log = await under.open();
    assert.deepEqual(log.coveredTo('n0', 'process'), position(99));
    assert.deepEqual(log.coveredTo('n4', 'process'), position(50));
    assert.equal(log.coveredTo('n9', 'process'), undefined);
    const items = await drain(log.reader(log.firstOffset, PROCESS));
    assert.equal(items.length, 51);
    assert.ok(log.deliverableOffset > (items.at(-1) as { offset: number }).offset);
  });

  each('an offset tells the position of each node before it', async (under) => {
    const log = await under.open();
    const expected: [number, Map<string, Position>][] = [];
    const reached = new Map<string, Position>();
    for (let i = 0; i < 30; i++) {
      const node = `n${(i * i) % 4}`;
      const topic = i % 3 === 0 ? 'host' : 'process';
      const before = new Map(reached);
      expected.push([await append(log, node, i, i + 1, 3000, topic), before]);
      reached.set(`${node} ${topic}`, position(i + 1));
    }
    for (const [offset, positions] of [...expected, [log.deliverableOffset, reached] as const]) {
      const covered = await log.coveredBefore(offset);
      const found = [...covered.entries()].flatMap(([node, byTopic]) =>
        [...byTopic].map(([topic, to]) => [`${node} ${topic}`, to] as const),
      );
      assert.deepEqual(new Map(found.sort()), new Map([...positions].sort()));
    }
  });

  each('a frame is recognised as already stored only if it lies before the offset', async (under) => {
    let log = await under.open();
    const offsets: number[] = [];
    for (let i = 0; i < 20; i++) offsets.push(await append(log, 'a', i, i + 1, 100));
    const marks = offsets.map((offset) => log.markBefore(offset + 1));
    assert.ok(marks.every((mark) => mark !== undefined));
    await log.settled();
    await under.kill(log);
    log = await under.open();
    for (const [at, offset] of offsets.entries()) {
      assert.equal(await log.hasMark(offset + 1, marks[at]!), true);
      assert.equal(await log.hasMark(offset + 1, (marks[at]! ^ 1) >>> 0), false);
    }
    const reader = log.reader(offsets[5]!, PROCESS);
    await reader.next();
    assert.equal(reader.mark, marks[5]);
    reader.close();
    assert.equal(await log.hasMark(log.deliverableOffset + 5, marks[0]!), false);
  });
}

function storagePromises(each: Each<LogUnderTest>): void {
  each('offsets that never existed are invalid, and offsets that retention deleted are expired', async (under) => {
    const log = await under.open(64 * 1024);
    const first = await append(log, 'a', 0, 1, 1000);
    const reader = log.reader(first, PROCESS);
    for (let i = 1; i < 200; i++) await append(log, 'a', i, i + 1, 1000);
    await under.enforce(log);
    assert.ok(log.bytes < 150 * 1024 && log.firstOffset > first);
    const code = async (offset: number) => {
      const error = await log.coveredBefore(offset).then(
        () => undefined,
        (cause: unknown) => cause,
      );
      return error instanceof BackplaneError ? error.code : undefined;
    };
    assert.equal(await code(log.deliverableOffset + 1), 'cursor_invalid');
    assert.equal(await code(first), 'cursor_expired');
    assert.equal(await code(log.firstOffset), undefined);
    const [gone, next] = await drain(reader);
    assert.equal(gone?.kind, 'evicted');
    assert.ok(next?.kind === 'frame' && next.offset >= log.firstOffset);
    const before = await log.coveredBefore(log.firstOffset);
    assert.deepEqual(before.to('a', 'process'), next.frame.coveredFrom, 'also where all before it is gone');
    assert.deepEqual(log.coveredTo('a', 'process'), position(200));
  });

  each('concurrent appends are all durable, in order', async (under) => {
    const log = await under.open();
    const appended: Promise<number>[] = [];
    for (let i = 0; i < 200; i++) {
      appended.push(append(log, 'a', i, i + 1, 50));
      if (i % 20 === 0) await turn();
    }
    const offsets = await Promise.all(appended);
    const items = await drain(log.reader(log.firstOffset, PROCESS));
    assert.deepEqual(
      items.map(shown),
      Array.from({ length: 200 }, (_, i) => `a:${i + 1}`),
    );
    assert.deepEqual(
      items.map((item) => item.kind === 'frame' && item.offset),
      offsets,
    );
  });

  each('notes are kept beside the frames, and readers do not see them', async (under) => {
    let log = await under.open();
    await append(log, 'a', 0, 1, 100);
    const offset = await log.appendNote(Buffer.from('a note'));
    await append(log, 'a', 1, 2, 100);
    await log.settled();
    await under.kill(log);
    log = await under.open();
    assert.equal((await log.readNote(offset))?.toString(), 'a note');
    assert.equal(await log.readNote(offset + 1), undefined);
    assert.equal(await log.readNote(offset + 100), undefined);
    assert.deepEqual((await drain(log.reader(log.firstOffset, PROCESS))).map(shown), ['a:1', 'a:2']);
  });
}

function chainPromises(each: Each<LogUnderTest>): void {
  each('what is covered never goes back, whatever is appended', async (under) => {
    const log = await under.open();
    const first = await append(log, 'a', 0, 10);
    // Whether such a frame is stored or not is the engine's choice: ingest lets none through.
    const refused = (cause: BackplaneError) => assert.equal(cause.code, 'failed_precondition');
    await append(log, 'a', 0, 10);
    await append(log, 'a', 2, 7);
    await append(log, 'a', 5, 15).catch(refused);
    const to = log.coveredTo('a', 'process')!;
    assert.ok(to.timeNs === 10n || to.timeNs === 15n);
    await append(log, 'a', 20, 30);
    assert.deepEqual(log.coveredTo('a', 'process'), position(30));
    assert.deepEqual((await log.coveredBefore(first + 1)).to('a', 'process'), position(10));
    assert.deepEqual((await log.coveredBefore(log.deliverableOffset)).to('a', 'process'), position(30));
  });

  each('two brokers append to one log: both know the same, and each frame is there once', async (under) => {
    if (under.another === undefined) return;
    const logs = [await under.open(), await under.another()] as const;
    const told = logs.map((log) => {
      const seen: string[] = [];
      log.follow((entry) => seen.push(`${entry.offset} ${shown(entry)}`));
      return seen;
    });
    for (let i = 0; i < 20; i++) {
      // A node that has moved: both brokers have the same frame of it, and both may acknowledge it.
      const [one, other] = await Promise.all(logs.map((log) => append(log, 'moves', i, i + 1, 200)));
      assert.equal(one, other, 'one of them was first');
      await Promise.all(logs.map((log, at) => append(log, `stays-${at}`, i, i + 1, 200)));
    }
    assert.deepEqual(logs[0].coveredTo('moves', 'process'), position(20));
    await Promise.all(logs.map((log) => log.settled()));
    const end = Math.max(...logs.map((log) => log.deliverableOffset));
    await until('both have read all', () => logs.every((log) => log.deliverableOffset === end));
    assert.deepEqual(told[0], told[1]);
    assert.equal(told[0]!.length, 60);
  });
}

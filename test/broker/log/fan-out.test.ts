/** Places in a log that other machines keep: it may give nothing at a moment, and go back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DocumentPlace } from '../../../src/broker/delivery/documents/document-place.js';
import type { DocumentLog } from '../../../src/broker/log/documents/document-log.js';
import { FanOut, type LogPlace } from '../../../src/broker/log/fan-out.js';
import type { LogEntry, LogItem, LogLoss, PartitionLog } from '../../../src/broker/log/partition-log.js';
import type { TopicEnd } from '../../../src/broker/log/topic-ends.js';
import { LOG_FILL_OFFSETS_MAX } from '../../../src/limits.js';
import { frameOver } from '../../harness/frames.js';

/** Where a reader stands, and what it gives next; nothing unless it is told. */
class TestReader {
  mark: number | undefined;
  isClosed = false;
  readonly gives: (LogItem | number)[] = [];

  constructor(public offset: number) {}

  async next(): Promise<LogItem | undefined> {
    const item = this.gives.shift();
    if (typeof item === 'number') this.offset = item;
    return typeof item === 'object' ? item : undefined;
  }

  close(): void {
    this.isClosed = true;
  }
}

/** A log with an end, whose cached tail begins there. */
function placeIn(offset: number, end: number, isRemote = false) {
  const readers: TestReader[] = [];
  let lose: (loss: LogLoss) => void = () => assert.fail();
  const log = {
    ...{ partition: 0, deliverableOffset: end, isRemote, markBefore: () => 77 },
    follow: (_listener: unknown, lost: typeof lose) => {
      lose = lost;
      return () => undefined;
    },
    reader: (from: number) => {
      const reader = new TestReader(from);
      readers.push(reader);
      return reader;
    },
  };
  const ignore = () => undefined;
  const follower = { topics: new Set(['process']), predicateIds: [], notify: ignore, passed: ignore, rewound: ignore };
  const { places } = new FanOut([log as unknown as PartitionLog]).join(follower, () => offset);
  return { place: places[0] as LogPlace, readers, lose: (at: number) => lose({ kind: 'rewound', offset: at }) };
}

test('a place stays where it is while the log gives nothing, and passes what is no frame', async () => {
  const { place, readers } = placeIn(3, 10);
  assert.equal(await place.next(), undefined);
  assert.deepEqual([place.offset, place.markBefore(3)], [3, 77], 'nor is it behind what was read');
  readers[0]!.gives.push(7);
  assert.equal(await place.next(), undefined);
  assert.equal(place.offset, 7);
});

test('where a log goes back, also behind a place, what was read ahead is read again', async () => {
  const { place, readers, lose } = placeIn(3, 10);
  await place.next();
  lose(5);
  assert.deepEqual([place.offset, place.rewinds, readers[0]!.isClosed], [3, 1, true]);
  await place.next();
  assert.equal(readers.length, 2);
  lose(2);
  assert.deepEqual([place.offset, place.delivered, place.rewinds, readers[1]!.isClosed], [2, 2, 2, true]);
});

test('a log that gives nothing at this moment is not taken for one that has nothing there', async () => {
  const { place, readers } = placeIn(3, 3 + LOG_FILL_OFFSETS_MAX, true);
  await place.next();
  // One to make the tail longer, which was in vain, and its own.
  assert.equal(readers.length, 2);
  assert.equal(place.offset, 3);
});

test('who comes after frames that nobody read is not told, where their node is silent, how far it was before them', () => {
  type Follow = Parameters<PartitionLog['follow']>;
  let [take, , silent]: Partial<Follow> = [];
  const at = (timeNs: number) => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });
  let covered = at(0);
  const log = {
    ...{ partition: 0, deliverableOffset: 1, isRemote: true, markBefore: () => undefined, coveredTo: () => covered },
    follow: (...given: Follow) => {
      [take, , silent] = given;
      return () => undefined;
    },
  };
  const fanOut = new FanOut([log as unknown as PartitionLog]);
  const told: bigint[] = [];
  const passed = ({ to }: TopicEnd) => told.push(to.timeNs);
  const ignore = () => undefined;
  const follower = { topics: new Set(['process']), predicateIds: [], notify: ignore, passed, rewound: ignore };
  const comes = (to: number) => {
    const offset = log.deliverableOffset++;
    const frame = frameOver(covered, at(to), { continues: true });
    covered = at(to);
    return { kind: 'frame', offset, node: 'a', frame } as LogEntry;
  };
  const first = fanOut.join(follower, () => 1);
  take!(comes(5));
  first.close();
  comes(9);
  const { places } = fanOut.join(follower, () => log.deliverableOffset);
  places[0]!.follow();
  silent!({ node: 'a', topic: 'process', watermarkNs: 9n }, log.deliverableOffset);
  places[0]!.tellPassed();
  assert.deepEqual(told, [9n]);
});

test('what comes while subscribers are expected is at hand for one who comes with a place before it', async () => {
  const readers: number[] = [];
  let tell: ((entry: LogEntry) => void) | undefined;
  const log = {
    ...{ partition: 0, deliverableOffset: 10, isRemote: true, markBefore: () => undefined },
    follow: (listener: typeof tell) => {
      tell = listener;
      return () => {
        tell = undefined;
      };
    },
    reader: (from: number) => {
      readers.push(from);
      return new TestReader(from);
    },
  };
  const ignore = () => undefined;
  const follower = { topics: new Set(['process']), predicateIds: [], notify: ignore, passed: ignore, rewound: ignore };
  const fanOut = new FanOut([log as unknown as PartitionLog]);
  fanOut.expect(false);
  assert.equal(tell, undefined);
  fanOut.expect(true);
  const at = (timeNs: number) => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });
  for (const offset of [10, 11, 12]) {
    log.deliverableOffset = offset + 1;
    const frame = frameOver(at(offset), at(offset + 1));
    tell!({ kind: 'frame', offset, node: 'a', frame, bytes: 100, appendedMs: 0 });
  }
  const { places, close } = fanOut.join(follower, () => 11);
  const items = [await places[0]!.next(), await places[0]!.next(), await places[0]!.next()];
  assert.deepEqual(
    items.map((item) => item?.kind === 'frame' && item.offset),
    [11, 12, false],
  );
  assert.deepEqual(readers, []);
  fanOut.expect(false);
  assert.ok(tell, 'for who is there');
  close();
  assert.equal(tell, undefined);
});

test('where a log of documents goes back, also behind a place, what was read ahead is read again', async () => {
  const opened: number[] = [];
  const log = {
    deliverableOffset: 10,
    cached: () => undefined,
    reader: (offset: number) => {
      opened.push(offset);
      return { offset, next: async () => undefined, close: () => undefined };
    },
  };
  const place = new DocumentPlace(log as unknown as DocumentLog, ['app.a'], { offset: 3 });
  await place.next();
  await place.next();
  assert.deepEqual(opened, [3]);
  place.rewound(5);
  await place.next();
  assert.deepEqual([place.offset, opened], [3, [3, 3]]);
  place.rewound(2);
  await place.next();
  assert.deepEqual([place.offset, opened], [2, [3, 3, 2]]);
});

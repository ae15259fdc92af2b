/** What brokers make of one stream is the same, wherever they begin and whatever is in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamInfo } from '@nats-io/jetstream';
import fc from 'fast-check';
import { CoveredPositions } from '../../../../src/broker/log/covered-positions.js';
import {
  CheckpointIndex,
  type CheckpointPart,
  checkpointParts,
  readCheckpointPart,
} from '../../../../src/broker/log/jetstream/checkpoint.js';
import { coverText } from '../../../../src/broker/log/jetstream/frame-headers.js';
import { PartitionFold } from '../../../../src/broker/log/jetstream/partition-fold.js';
import { PartitionSubjects } from '../../../../src/broker/log/jetstream/subjects.js';
import type { LogItem } from '../../../../src/broker/log/partition-log.js';
import { lostFrom, Marks } from '../../../../src/broker/log/tail/marks.js';
import { HeaderText } from '../../../../src/broker/nats/header-text.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import type { StoredMessage } from '../../../../src/broker/nats/stream-pull.js';
import { LOG_MARKS_MAX } from '../../../../src/limits.js';
import { encodeFrame } from '../../../../src/wire/frame/frame.js';
import { comparePositions, type Position } from '../../../../src/wire/position.js';
import { frameOf } from '../../../contract/partition-log.js';

const subjects = new PartitionSubjects('test', 0);
const NODES = ['a', 'b.c', 'd'];

/** Frames over any stretches: what two brokers, lost acknowledgements and lost machines can leave in a stream. */
const stretch = fc.record({
  node: fc.constantFrom(...NODES),
  topic: fc.constantFrom('process', 'host'),
  from: fc.integer({ min: 0, max: 40 }),
  length: fc.integer({ min: 1, max: 8 }),
  continues: fc.boolean(),
  /** Sequences before it that the stream lost. */
  missing: fc.constantFrom(0, 0, 0, 0, 1, 3),
  readable: fc.constantFrom(true, true, true, true, false),
});
type Stretch = typeof stretch extends fc.Arbitrary<infer T> ? T : never;

function messagesOf(stretches: readonly Stretch[]): StoredMessage[] {
  let sequence = 0;
  return stretches.map(({ node, topic, from, length, continues, missing, readable }) => {
    sequence += 1 + missing;
    const frame = { ...frameOf(from, from + length, 20, topic), continues };
    return {
      ...{ sequence, subject: subjects.frame(topic, node), timeNs: BigInt(sequence) * 7n },
      ...bodyOf(readable ? encodeFrame(frame) : Buffer.from('no frame')),
      headers: new HeaderText(Buffer.from(coverText(frame))),
    };
  });
}

const bodyOf = (data: Buffer) => ({ data, bytes: data.length });

const coveredOf = (covered: CoveredPositions) =>
  [...covered.entries()]
    .flatMap(([node, byTopic]) => [...byTopic].map(([topic, to]) => `${node} ${topic} ${to.timeNs}`))
    .sort();

function foldOf(messages: readonly StoredMessage[], fold = new PartitionFold(subjects)) {
  const items: LogItem[] = [];
  const listener = {
    withBodies: true,
    stored: () => undefined,
    ticked: () => undefined,
    tell: (item: LogItem) => void items.push(item),
  };
  for (const message of messages) fold.take(message, listener);
  return { fold, items };
}

test('two brokers know the same, where one began at a checkpoint and read some messages twice', () => {
  fc.assert(
    fc.property(fc.array(stretch, { maxLength: 60 }), fc.nat(), fc.nat(8), (stretches, cut, again) => {
      const messages = messagesOf(stretches);
      const whole = foldOf(messages);
      const at = messages.length === 0 ? 0 : cut % messages.length;
      const { fold: half } = foldOf(messages.slice(0, at));
      const standing = { before: half.next, covered: new CoveredPositions(), lastOf: new Map<string, number>() };
      for (const { headers, body } of checkpointParts(half.standing)) {
        readCheckpointPart({ header: headers, data: body }, standing);
      }
      const late = new PartitionFold(subjects);
      late.restart(standing);
      const { items } = foldOf(messages.slice(Math.max(0, at - again)), late);
      assert.deepEqual(coveredOf(late.covered), coveredOf(whole.fold.covered));
      assert.deepEqual([...late.lastOf].sort(), [...whole.fold.lastOf].sort());
      assert.equal(late.next, whole.fold.next);
      const offsetOf = (item: LogItem) => (item.kind === 'frame' ? item.offset : item.offsetFrom);
      assert.deepEqual(
        items,
        whole.items.filter((item) => offsetOf(item) >= half.next),
      );
    }),
  );
});

test('what is covered only grows, and the headers alone say the same', () => {
  fc.assert(
    fc.property(fc.array(stretch, { maxLength: 60 }), (stretches) => {
      const messages = messagesOf(stretches);
      const fold = new PartitionFold(subjects);
      const byHeaders = new PartitionFold(subjects);
      const untold: LogItem[] = [];
      const reached = new Map<string, Position>();
      for (const [at, message] of messages.entries()) {
        fold.take(message, {
          withBodies: true,
          stored: () => undefined,
          ticked: () => undefined,
          tell: () => undefined,
        });
        const bare = { ...message, data: Buffer.alloc(0) };
        byHeaders.take(bare, {
          withBodies: false,
          stored: () => undefined,
          ticked: () => undefined,
          tell: (item) => untold.push(item),
        });
        const { node, topic } = stretches[at]!;
        const to = fold.covered.to(node, topic)!;
        const before = reached.get(`${node} ${topic}`);
        assert.ok(before === undefined || comparePositions(to, before) >= 0);
        reached.set(`${node} ${topic}`, to);
      }
      assert.deepEqual(coveredOf(byHeaders.covered), coveredOf(fold.covered));
      assert.deepEqual([byHeaders.bytesSince, byHeaders.next], [fold.bytesSince, fold.next]);
      assert.ok(untold.every(({ kind }) => kind === 'damage'));
    }),
  );
});

test('a checkpoint about what comes behind it is none, and does not hide those that follow', () => {
  const whole = checkpointParts({ before: 1, covered: new CoveredPositions(), lastOf: new Map() });
  const index = new CheckpointIndex();
  const take = (sequence: number, before: number) => {
    const [{ headers }] = whole as [CheckpointPart];
    headers.set('Bp-Before', String(before));
    index.take(sequence, headers);
  };
  take(5, 2 ** 52);
  take(6, 0);
  assert.equal(index.newest, undefined);
  take(9, 8);
  assert.deepEqual(index.newest, { before: 8, sequences: [9] });
});

test('a cursor of what the stream lost keeps its mark until its reader is told', () => {
  const each = { node: 'a', topic: 'process', length: 1, continues: true, missing: 0, readable: true } as const;
  const stretches = Array.from({ length: 8 }, (_, at) => ({ ...each, from: at }));
  const { fold } = foldOf(messagesOf(stretches));
  const mark = fold.markBefore(9);
  assert.notEqual(mark, undefined);
  fold.cut(6);
  fold.restart({ before: 3, covered: new CoveredPositions(), lastOf: new Map() });
  assert.equal(fold.markBefore(9), mark);
  fold.cut(4);
  assert.equal(fold.markBefore(9), mark, 'also where more is lost meanwhile');
  assert.equal(fold.lostBefore(9, mark!)?.offset, 4);
  assert.equal(fold.markBefore(20), undefined);
  const third = fold.markBefore(4);
  fold.restart({ before: 1, covered: new CoveredPositions(), lastOf: new Map() });
  foldOf(messagesOf(stretches).slice(0, 1), fold);
  assert.notEqual(third, undefined);
  assert.equal(fold.markBefore(4), third, 'of what is read again the rest is known still');
});

test('a mark that is read again behind those that are kept takes the place of none', () => {
  const marks = new Marks();
  marks.set(LOG_MARKS_MAX + 50, 7);
  marks.set(50, 9);
  assert.deepEqual([marks.of(LOG_MARKS_MAX + 50), marks.of(50)], [7, undefined]);
});

test('a stream that ends before all that is known of it goes on behind its end', async () => {
  const marks = new Marks();
  for (let sequence = 580; sequence < 660; sequence++) marks.set(sequence, sequence);
  const ends = (first_seq: number, last_seq: number) =>
    ({ config: { name: 'S' }, state: { first_seq, last_seq } }) as unknown as StreamInfo;
  const unasked = {} as NatsLink;
  assert.equal(await lostFrom(unasked, ends(1, 130), marks, 660), 131);
  assert.equal(await lostFrom(unasked, ends(131, 130), marks, 660), 131, 'one that is empty');
  const fold = new PartitionFold(subjects);
  for (let sequence = 580; sequence < 660; sequence++) fold.marks.set(sequence, sequence);
  fold.cut(131);
  assert.deepEqual([fold.markBefore(581), fold.markBefore(580), fold.markBefore(660)], [580, undefined, 659]);
});

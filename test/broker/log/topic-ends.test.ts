/** What is known of frames that were passed over without a look at each. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { LogEntry } from '../../../src/broker/log/partition-log.js';
import { TopicEnds } from '../../../src/broker/log/topic-ends.js';
import { refusedFrame } from '../../../src/wire/frame/frame.js';

const at = (timeNs: number) => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });

function entry(offset: number, node: string, topic: string, from: number, to: number, continues: boolean): LogEntry {
  const empty = { ...refusedFrame({ topic, coveredFrom: at(from), coveredTo: at(to) }), refused: false };
  const frame = { ...empty, watermarkNs: BigInt(to), continues };
  return { kind: 'frame', offset, node, frame, bytes: 0, appendedMs: 0 };
}

test('property: what passed since an offset is the last end of each node and topic with frames there, the newest first', () => {
  const step = fc.record({ node: fc.constantFrom('a', 'b', 'c'), topic: fc.constantFrom('process', 'network') });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.nat(40), (steps, since) => {
      const ends = new TopicEnds();
      const last = new Map<string, number>();
      for (const [offset, { node, topic }] of steps.entries()) {
        const key = `${node} ${topic}`;
        const next = entry(offset, node, topic, last.get(key) ?? 0, offset + 1, last.has(key));
        assert.equal(ends.continuedBy(next), last.has(key));
        ends.take(next);
        last.set(key, offset + 1);
      }
      const expected = [...last].filter(([, to]) => to > since).sort(([, a], [, b]) => b - a);
      const told = [...ends.since(since)].map(({ node, topic, to, watermarkNs }) => {
        assert.equal(watermarkNs, to.timeNs);
        return [`${node} ${topic}`, Number(to.timeNs)];
      });
      assert.deepEqual(told, expected);
    }),
  );
});

test('a hole, an overlap and a duplicate go on from nothing; a duplicate does not move the end back', () => {
  const ends = new TopicEnds();
  ends.take(entry(0, 'a', 'process', 0, 10, false));
  assert.ok(ends.continuedBy(entry(1, 'a', 'process', 10, 20, true)));
  assert.ok(!ends.continuedBy(entry(1, 'a', 'process', 15, 20, false)), 'interest began anew');
  assert.ok(!ends.continuedBy(entry(1, 'a', 'process', 15, 20, true)), 'a hole');
  assert.ok(!ends.continuedBy(entry(1, 'a', 'process', 5, 20, true)), 'an overlap');
  assert.ok(!ends.continuedBy(entry(1, 'a', 'process', 0, 10, true)), 'a duplicate');
  ends.take(entry(1, 'a', 'process', 0, 5, true));
  assert.deepEqual([...ends.since(1)][0]!.to, at(10));
});

test('silence moves the time, not the end, also of a node that had frames before anybody followed', () => {
  const ends = new TopicEnds();
  ends.take(entry(0, 'a', 'process', 0, 10, false));
  ends.take(entry(1, 'b', 'process', 0, 10, false));
  ends.silent({ node: 'a', topic: 'process', watermarkNs: 30n }, 2, at(10));
  ends.silent({ node: 'c', topic: 'process', watermarkNs: 40n }, 2, at(7));
  ends.silent({ node: 'd', topic: 'process', watermarkNs: 40n }, 2, undefined);
  const told = [...ends.since(2)].map(({ node, to, watermarkNs }) => [node, to.timeNs, watermarkNs]);
  assert.deepEqual(told, [
    ['c', 7n, 40n],
    ['a', 10n, 30n],
  ]);
  ends.silent({ node: 'a', topic: 'process', watermarkNs: 20n }, 3, at(10));
  assert.equal([...ends.since(3)][0]!.watermarkNs, 30n);
  assert.ok(ends.continuedBy(entry(4, 'a', 'process', 10, 50, true)));
  assert.ok(ends.continuedBy(entry(4, 'c', 'process', 7, 50, true)));
});

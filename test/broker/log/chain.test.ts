/** How a frame follows the one before it: in order, repeated, overlapping, or behind a hole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { follows } from '../../../src/broker/log/chain.js';
import { comparePositions, type Position } from '../../../src/wire/position.js';
import { runs } from '../../harness/runs.js';

const at = (time: number): Position => ({ epoch: 1, timeNs: BigInt(time), lane: 0, tie: 0 });
const frame = (from: number, to: number, continues = false) => {
  return { coveredFrom: at(from), coveredTo: at(to), continues };
};

test('each frame is classified by how it continues the frame before it', () => {
  assert.equal(follows(frame(5, 9, true), undefined), 'next');
  assert.equal(follows(frame(5, 9), at(5)), 'next');
  assert.equal(follows(frame(5, 9), at(9)), 'duplicate');
  assert.equal(follows(frame(5, 9), at(12)), 'duplicate');
  assert.equal(follows(frame(5, 9), at(7)), 'overlap');
  assert.equal(follows(frame(5, 9), at(3)), 'next', 'interest began anew');
  assert.equal(follows(frame(5, 9, true), at(3)), 'hole');
});

test('folding frames that are resent, recut or lost gives each stretch once, or states that it is missing', () => {
  const stretch = fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 10 }), fc.boolean());
  fc.assert(
    fc.property(fc.array(stretch, { maxLength: 30 }), (stretches) => {
      let covered: Position | undefined;
      const counted = new Set<number>();
      const missing = new Set<number>();
      for (const [from, length, continues] of stretches) {
        const sent = frame(from, from + length, continues);
        const kind = follows(sent, covered);
        if (kind === 'duplicate') continue;
        const begin = kind === 'overlap' ? Number(covered!.timeNs) : from;
        if (kind === 'hole') for (let each = Number(covered!.timeNs); each < from; each++) missing.add(each);
        for (let each = begin; each < from + length; each++) {
          assert.ok(!counted.has(each), `${each} twice`);
          counted.add(each);
        }
        assert.ok(covered === undefined || comparePositions(sent.coveredTo, covered) > 0);
        covered = sent.coveredTo;
      }
      for (const each of missing) assert.ok(!counted.has(each));
    }),
    { numRuns: runs(500) },
  );
});

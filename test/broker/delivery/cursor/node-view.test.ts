/** A view that keeps what all subscriptions share says the same as one that has everything for itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NodeView } from '../../../../src/broker/delivery/cursor/node-view.js';
import type { Position } from '../../../../src/wire/position.js';
import { runs } from '../../../harness/runs.js';

const TOPICS = ['process', 'network', 'file'];
const at = (timeNs: number): Position => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });

const CHANGES = ['passed', 'worked', 'seen', 'reachedOf', 'reached', 'late', 'live', 'lost', 'unchain', 'owe'] as const;

test('what passes is told as what is read', () => {
  const step = fc.record({
    change: fc.constantFrom(...CHANGES, 'passed', 'passed'),
    topic: fc.constantFrom(...TOPICS),
    to: fc.nat(50),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const views = [new NodeView('a'), new NodeView('a')] as const;
      const told = [0, 0];
      for (const [index, view] of views.entries()) view.watch(() => told[index]!++);
      for (const { change, topic, to } of steps) {
        for (const view of views) {
          if (change === 'passed' && view === views[0]) {
            view.passed({ node: 'a', topic, to: at(to), watermarkNs: BigInt(to) });
          } else if (change === 'passed') {
            view.workedOff(topic, at(to));
            view.reachedTime(topic, BigInt(to));
          } else if (change === 'worked') view.workedOff(topic, at(to));
          else if (change === 'seen') view.seenTo(topic, at(to));
          else if (change === 'reachedOf') view.reachedOf(topic, at(to));
          else if (change === 'reached') view.reached(at(to));
          else if (change === 'late') view.wentLate();
          else if (change === 'live') view.wentLive();
          else if (change === 'lost') view.lostFrames(TOPICS);
          else if (change === 'unchain') view.unchain();
          else view.owe(topic, { offsetFrom: to, offsetTo: to + 1, after: undefined, skipped: true, counted: true });
        }
        const [one, other] = views.map((view) => ({
          cursor: view.toCursor(),
          place: view.toPlace(),
          apart: view.apart(TOPICS),
          watermarks: [view.watermarkNs(TOPICS), ...TOPICS.map((each) => view.watermarkNs([each]))],
          topics: TOPICS.map((each) => [view.chainedTo(each), view.reachedIn(each), view.floor(each)]),
        }));
        assert.deepEqual(one, other);
      }
      assert.equal(told[0]! > 0, told[1]! > 0);
    }),
    { numRuns: runs(300) },
  );
});

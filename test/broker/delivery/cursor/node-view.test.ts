/** A view that keeps what all subscriptions share says the same as one that has everything for itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NodeView } from '../../../../src/broker/delivery/cursor/node-view.js';
import { OWED_RANGES_MAX } from '../../../../src/limits.js';
import type { Position } from '../../../../src/wire/position.js';
import { runs } from '../../../harness/runs.js';

const TOPICS = ['process', 'network', 'file'];
const at = (timeNs: number): Position => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });

const CHANGES = [
  'passed',
  'worked',
  'seen',
  'reachedOf',
  'reached',
  'late',
  'live',
  'lost',
  'unchain',
  'owe',
  'rewound',
] as const;

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
          else if (change === 'lost') view.lostFrames(TOPICS, to);
          else if (change === 'unchain') view.unchain();
          else if (change === 'rewound') view.rewound();
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

test('where a log lost its end, cursors say how far the node was delivered until the log is read as far again', () => {
  const view = new NodeView('a');
  view.workedOff('process', at(20));
  view.passed({ node: 'a', topic: 'network', to: at(30), watermarkNs: 0n });
  assert.equal(view.apart(TOPICS), false);
  view.rewound();
  const { owedVersion } = view;
  assert.equal(view.apart(TOPICS), true);
  const said = view.toCursor();
  assert.equal(said.standing, 'late');
  assert.deepEqual(
    [...(said.floors ?? [])],
    [
      ['process', at(20)],
      ['network', at(30)],
    ],
  );
  view.passed({ node: 'a', topic: 'process', to: at(10), watermarkNs: 0n });
  view.passed({ node: 'a', topic: 'network', to: at(31), watermarkNs: 0n });
  assert.deepEqual([view.apart(TOPICS), view.floor('process')], [true, at(20)]);
  view.passed({ node: 'a', topic: 'process', to: at(25), watermarkNs: 0n });
  assert.deepEqual([view.apart(TOPICS), view.toCursor().standing], [false, 'beyond']);
  assert.notEqual(view.owedVersion, owedVersion, 'a note that named it does not say what is true of it now');
});

test('where a log lost its end while history still comes before it, what the log had was not delivered', () => {
  const view = new NodeView('a');
  view.seenTo('process', at(20));
  view.rewound(false);
  assert.equal(view.floor('process'), undefined);
});

test('a resumed view that is ahead of its log stays so', () => {
  const view = new NodeView('a');
  view.wentLate();
  view.reachedOf('process', at(20));
  view.workedOff('process', at(10));
  view.wentLive(at(10));
  assert.equal(view.apart(['process']), true);
  view.workedOff('process', at(20));
  assert.equal(view.apart(['process']), false);
});

test('of what is owed the oldest range is given up where there are too many; a node that goes late owes nothing more', () => {
  const view = new NodeView('a');
  const range = { after: undefined, skipped: false, counted: true };
  const owed = Array.from({ length: OWED_RANGES_MAX }, (_, from) => ({
    ...range,
    offsetFrom: 10 * from,
    offsetTo: 10 * from + 5,
  }));
  for (const each of owed) assert.equal(view.owe('process', each), undefined);
  const open = { ...range, offsetFrom: 100 };
  assert.equal(view.owe('process', open), owed[0]);
  view.lostFrames(TOPICS, 120);
  assert.deepEqual(
    view.owed.get('process')!.map(({ offsetTo }) => offsetTo),
    [...owed.slice(1).map(({ offsetTo }) => offsetTo), 120],
  );
});

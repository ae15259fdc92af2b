/** How losses are gathered into the notices of one node. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeView } from '../../../../src/broker/delivery/cursor/node-view.js';
import { behind } from '../../../../src/broker/delivery/live/live-frame.js';
import { Notices } from '../../../../src/broker/delivery/live/notices.js';
import { owedOf } from '../../../../src/broker/delivery/selectors/owed-tally.js';
import { refusedFrame } from '../../../../src/wire/frame/frame.js';
import { nsToTimestamp } from '../../../../src/wire/messages.js';

const at = (timeNs: number) => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });
const frame = (topic: string, from: number, to: number) =>
  refusedFrame({ topic, coveredFrom: at(from), coveredTo: at(to) });

const part = (events: number, of: number[], unknown = false) => {
  return { tally: { events, of }, unknown, concerns: (selector: number) => of[selector]! > 0 };
};

test('losses of one node for one reason are one notice over all topics, with a count per topic', () => {
  const notices = new Notices({ named: true, ids: ['all', 'some', 'none'] });
  notices.shed('a', frame('process', 10, 20), part(3, [3, 1, 0]));
  notices.shed('a', frame('network', 5, 15), part(4, [4, 0, 0]));
  notices.shed('a', frame('process', 20, 30), part(1, [1, 1, 0]));
  notices.skipped('a', frame('process', 30, 40), { events: 2, of: [2, 0, 0] });
  notices.shed('b', frame('process', 1, 2), { ...part(0, [0, 0, 0], true), concerns: (selector) => selector === 1 });
  const told = notices.takeGaps().map(({ gap }) => {
    const { node, topic, reason, from, to, events, eventsUnknown, topics, selectors = [] } = gap!;
    const times = [from!.timeNs, to!.timeNs].map(String);
    return [
      node,
      topic ?? '',
      reason,
      ...times,
      events,
      eventsUnknown,
      topics?.map((part) => [part.topic, part.events]),
      selectors.map((each) => [each.selector, each.events, each.eventsUnknown]),
    ];
  });
  assert.deepEqual(told, [
    [
      'a',
      '',
      'shed',
      '5',
      '30',
      8,
      false,
      [
        ['process', 4],
        ['network', 4],
      ],
      [
        ['all', 8, false],
        ['some', 2, false],
      ],
    ],
    ['a', 'process', 'skipped', '30', '40', 2, false, undefined, [['all', 2, false]]],
    ['b', 'process', 'shed', '1', '2', 0, true, undefined, [['some', 0, true]]],
  ]);
  assert.deepEqual(notices.takeGaps(), []);
});

test('one watermark for all nodes says the time of the one that is furthest back, each time once, and none while one is late', () => {
  const notices = new Notices({ named: false, ids: [''] });
  const views = ['a', 'b'].map((node) => new NodeView(node));
  const told = () => notices.takeCommonWatermark(views, ['process']);
  const only = { node: '', time: null };
  assert.deepEqual(told(), [only]);
  views[0]!.reachedTime('process', 5_000_000_000n);
  assert.deepEqual(told(), [only]);
  views[1]!.reachedTime('process', 3_000_000_000n);
  assert.deepEqual(told(), [{ ...only, time: nsToTimestamp(3_000_000_000n) }]);
  assert.deepEqual(told(), [only]);
  views[1]!.reachedTime('process', 9_000_000_000n);
  views[0]!.wentLate();
  assert.deepEqual(told(), [only]);
  views[0]!.wentLive();
  assert.deepEqual(told(), [{ ...only, time: nsToTimestamp(5_000_000_000n) }]);
  assert.deepEqual(notices.takeCommonWatermark([], ['process']), []);
});

test('of a frame that was delivered in part, as one that is sent again may be, only what is behind that is missing', () => {
  const notices = new Notices({ named: false, ids: [] });
  const told = (floor: number | undefined) => {
    notices.shed('a', behind(frame('process', 10, 20), floor === undefined ? undefined : at(floor)), part(0, [], true));
    return notices.takeGaps().map(({ gap }) => [gap!.from!.timeNs, gap!.to!.timeNs].map(String));
  };
  assert.deepEqual([told(undefined), told(5), told(15)], [[['10', '20']], [['10', '20']], [['15', '20']]]);
});

test('what is given up of what is owed is told with its count, where that is known', () => {
  const notices = new Notices({ named: true, ids: ['all', 'some'] });
  const range = { offsetFrom: 1, offsetTo: 2, after: undefined, skipped: false, counted: true, chained: at(5) };
  notices.givenUp('a', 'process', { ...range, due: owedOf('shed', { events: 3, of: [3, 1] }) });
  notices.givenUp('b', 'process', { ...range, after: at(7), due: undefined });
  const told = notices.takeGaps().map(({ gap }) => {
    const { node, topic, reason, from, events, eventsUnknown, selectors = [] } = gap!;
    return [node, topic, reason, String(from?.timeNs), events, eventsUnknown, selectors.map((each) => each.events)];
  });
  assert.deepEqual(told, [
    ['a', 'process', 'evicted', '5', 3, false, [3, 1]],
    ['b', 'process', 'evicted', '7', 0, true, []],
  ]);
});

/** How losses are gathered into the notices of one node. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Notices } from '../../../../src/broker/delivery/live/notices.js';
import { refusedFrame } from '../../../../src/wire/frame/frame.js';

const at = (timeNs: number) => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });
const frame = (topic: string, from: number, to: number) =>
  refusedFrame({ topic, coveredFrom: at(from), coveredTo: at(to) });

test('losses of one node for one reason are one notice over all topics, with a count per topic', () => {
  const notices = new Notices();
  notices.shed('a', frame('process', 10, 20), { events: 3, unknown: false });
  notices.shed('a', frame('network', 5, 15), { events: 4, unknown: false });
  notices.shed('a', frame('process', 20, 30), { events: 1, unknown: false });
  notices.skipped('a', frame('process', 30, 40), 2);
  notices.shed('b', frame('process', 1, 2), { events: 5, unknown: true });
  const told = notices.takeGaps().map(({ gap }) => {
    const { node, topic, reason, from, to, events, eventsUnknown, topics } = gap!;
    const times = [from!.timeNs, to!.timeNs].map(String);
    return [
      node,
      topic ?? '',
      reason,
      ...times,
      events,
      eventsUnknown,
      topics?.map((part) => [part.topic, part.events]),
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
    ],
    ['a', 'process', 'skipped', '30', '40', 2, false, undefined],
    ['b', 'process', 'shed', '1', '2', 5, true, undefined],
  ]);
  assert.deepEqual(notices.takeGaps(), []);
});

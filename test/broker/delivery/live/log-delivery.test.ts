/** What a subscription reads of the partitions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogDelivery } from '../../../../src/broker/delivery/live/log-delivery.js';

test('where turns are over after each frame, all partitions are read in turns', async () => {
  const read: number[] = [];
  const places = [0, 1, 2].map((partition) => ({
    lag: 1,
    next: async () => {
      read.push(partition);
      return { kind: 'frame', node: 'unknown', frame: { topic: 'process' } };
    },
    deliveredAll: () => undefined,
    follow: () => undefined,
  }));
  const position = { places, makeNotes: async () => undefined, readAgain: () => undefined, views: new Map() };
  const subscription = { position, outlet: { left: 1 }, planner: { wait: () => undefined } };
  const delivery = new LogDelivery(subscription as never, undefined as never, undefined as never);
  for (let round = 0; round < 6; round++) assert.equal(await delivery.readRound({ over: true } as never), false);
  assert.deepEqual(read, [0, 1, 2, 0, 1, 2]);
});

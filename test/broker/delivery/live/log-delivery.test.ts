/** What a subscription reads of the partitions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeView } from '../../../../src/broker/delivery/cursor/node-view.js';
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

test('a node does not join a log that gives nothing at this moment, or that went back since it was asked', async () => {
  let gives = true;
  const reader = {
    offset: 0,
    next: async () => {
      if (gives) reader.offset = 5;
    },
    close: () => undefined,
  };
  const place = { offset: 5, rewinds: 1, log: { reader: () => reader } };
  const position = { topics: ['process'], places: Array(8).fill(place) };
  const delivery = new LogDelivery({ position } as never, undefined as never, undefined as never);
  const view = new NodeView('a');
  view.wentLate();
  const joins = async (rewinds: number) => {
    reader.offset = 0;
    return [await delivery.join({ view, offset: 0, rewinds }), view.state];
  };
  assert.deepEqual(await joins(0), [false, 'late']);
  gives = false;
  assert.deepEqual(await joins(1), [false, 'late']);
  gives = true;
  assert.deepEqual(await joins(1), [true, 'live']);
});

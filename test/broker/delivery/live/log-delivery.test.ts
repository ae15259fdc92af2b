/** What a subscription reads of the partitions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeView } from '../../../../src/broker/delivery/cursor/node-view.js';
import { LogDelivery } from '../../../../src/broker/delivery/live/log-delivery.js';
import { SelectorSet } from '../../../../src/broker/delivery/selectors/selector-set.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { frameOver } from '../../../harness/frames.js';

test('where turns are over after each frame, all partitions are read in turns', async () => {
  const read: number[] = [];
  const places = [0, 1, 2].map((partition) => ({
    ...{ lag: 1, offset: 0 },
    next: async () => {
      read.push(partition);
      return { kind: 'frame', offset: -1, node: 'unknown', frame: { topic: 'process' } };
    },
    deliveredAll: () => undefined,
    follow: () => undefined,
  }));
  const position = { places, makeNotes: async () => undefined, readAgain: () => undefined, views: new Map() };
  const subscription = { position, outlet: { left: 1 }, planner: { passOver: () => undefined } };
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
  const place = { delivered: 5, rewinds: 1, log: { reader: () => reader } };
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

test('of a node that joins only what was read is owed: the rest may come from its recorder, also to who resumes', async () => {
  const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
  const at = (timeNs: bigint) => ({ epoch: 1, timeNs, lane: 0, tie: 0 });
  const sheds = (offset: number) => {
    const shed = [{ predicateIds: [predicate.id], events: 3 }];
    return { kind: 'frame', offset, node: 'a', frame: frameOver(at(BigInt(offset)), at(BigInt(offset + 2)), { shed }) };
  };
  let log = [sheds(1), sheds(3)];
  const reader = {
    offset: 0,
    next: async () => {
      const item = log.find(({ offset }) => offset >= reader.offset);
      if (item) reader.offset = item.offset + 1;
      return item;
    },
    close: () => undefined,
  };
  const place = {
    ...{ delivered: 9, rewinds: 0 },
    log: { reader: (offset: number) => Object.assign(reader, { offset }) },
  };
  const nothing = () => undefined;
  const delivery = new LogDelivery(
    {
      selectors: new SelectorSet([{ id: '', predicate }]),
      checked: { refill: true },
      planner: { untilNs: nothing },
      position: { topics: ['process'], places: Array(8).fill(place), makeNotes: async () => undefined },
      outlet: { left: 9, count: nothing, admit: nothing },
    } as never,
    undefined as never,
    { frame: nothing, shed: nothing } as never,
  );
  const view = new NodeView('a');
  view.wentLate();
  const owed = () =>
    view.owed.get('process')?.map(({ offsetFrom, offsetTo, due }) => [offsetFrom, offsetTo, due?.shed.events]);
  // Then the log gives nothing, and the recorder is asked again.
  assert.equal(await delivery.join({ view, offset: 0, rewinds: 0 }), false);
  assert.deepEqual(owed(), [[1, 4, 6]]);
  view.reached(at(7n));
  log = [sheds(5), sheds(7)];
  assert.equal(await delivery.join({ view, offset: 6, rewinds: 0 }), false);
  assert.deepEqual(owed(), [
    [1, 4, 6],
    [7, 8, 3],
  ]);
});

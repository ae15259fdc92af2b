/** Up to where a node's recorder is asked. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Planner } from '../../../src/broker/delivery/plan.js';

test('while the log of a node goes back nobody knows up to where its recorder is to be asked', () => {
  const at = (timeNs: bigint) => ({ epoch: 1, timeNs, lane: 0, tie: 0 });
  const log = { isGoingBack: true };
  const planner = new Planner(
    { topics: ['process'] } as never,
    { predicateIds: [1n] } as never,
    { hold: () => at(3n), coveredTo: () => at(5n) } as never,
    { partition: () => log } as never,
    undefined as never,
    undefined as never,
  );
  assert.equal(planner.meeting('a'), undefined);
  log.isGoingBack = false;
  assert.deepEqual(planner.meeting('a'), at(5n));
});

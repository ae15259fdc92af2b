/** Ending something in several steps, of which each must be run even if another fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everyStep } from '../../src/flow/every-step.js';

test('every step is run, in order, and the first failure is thrown', async () => {
  const taken: number[] = [];
  const step = (number: number, fails?: string) => async () => {
    await new Promise(setImmediate);
    taken.push(number);
    if (fails) throw new Error(fails);
  };
  const throws = () => {
    throw new Error('at once');
  };
  await assert.rejects(everyStep(step(1), step(2, 'the second'), throws, step(3, 'the third'), step(4)), /the second/);
  assert.deepEqual(taken, [1, 2, 3, 4]);
  await everyStep(step(5));
  assert.equal(taken.at(-1), 5);
});

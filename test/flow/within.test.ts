/** Work that is aborted when its time is over. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { within } from '../../src/flow/within.js';
import { settled } from '../harness/until.js';

const never = new AbortController().signal;
const aborted = async (signal: AbortSignal) => {
  if (!signal.aborted) await once(signal, 'abort');
  return 'aborted';
};

test('the time limit is kept even if garbage is collected meanwhile', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const done = within(100, never, aborted);
  for (let round = 0; round < 5; round += 1) {
    await sleep(10);
    collect();
  }
  assert.equal(await settled('the time', done), 'aborted');
});

test('the given signal aborts the work at any time, and work done in time is undisturbed', async () => {
  const controller = new AbortController();
  const meanwhile = within(60_000, controller.signal, aborted);
  controller.abort();
  assert.equal(await meanwhile, 'aborted');
  assert.equal(await within(60_000, controller.signal, aborted), 'aborted');
  assert.equal(await within(60_000, never, async () => 7), 7);
  await assert.rejects(
    within(60_000, never, async () => {
      throw new Error('of its own');
    }),
    /of its own/,
  );
});

/** Frames that a log refuses are tried again: none is appended twice, and none is given up while its append is under way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { HeldFrames } from '../../../src/broker/ingest/held-frames.js';
import type { PartitionLog } from '../../../src/broker/log/partition-log.js';
import { BackplaneError } from '../../../src/errors.js';
import { LOG_RETRY_MS } from '../../../src/limits.js';

const FULL = new BackplaneError('resource_exhausted', 'no space for the log');
/** Held frames do not look into it. */
const LOG = {} as PartitionLog;

/** A frame whose appends end when the test says so. */
function frame() {
  const appends: { resolve: () => void; reject: (cause: unknown) => void }[] = [];
  const ending = new AbortController();
  return {
    appends,
    ending,
    held: {
      bytes: 100,
      signal: ending.signal,
      append: () => new Promise<void>((resolve, reject) => appends.push({ resolve, reject })),
    },
  };
}

async function settle(): Promise<void> {
  for (let round = 0; round < 5; round++) await turn();
}

test('a frame whose append takes longer than the next retry is appended once', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const held = new HeldFrames(() => undefined);
  const [slow, refused] = [frame(), frame()];
  const taken = held.hold(LOG, FULL, slow.held);
  const takenLater = held.hold(LOG, FULL, refused.held);
  t.mock.timers.tick(LOG_RETRY_MS);
  refused.appends[0]!.reject(FULL);
  await settle();
  t.mock.timers.tick(LOG_RETRY_MS);
  await settle();
  assert.deepEqual([slow.appends.length, refused.appends.length], [1, 1]);
  slow.appends[0]!.resolve();
  await taken;
  await settle();
  t.mock.timers.tick(LOG_RETRY_MS);
  refused.appends[1]!.resolve();
  await takenLater;
  assert.deepEqual([slow.appends.length, held.count, held.bytes], [1, 0, 0]);
  held.close();
});

for (const succeeds of [true, false]) {
  test(`a session that ends during an append waits until it has ${succeeds ? 'succeeded' : 'failed'}`, async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const held = new HeldFrames(() => undefined);
    const { appends, ending, held: frameHeld } = frame();
    let outcome = 'pending';
    held.hold(LOG, FULL, frameHeld).then(
      () => (outcome = 'durable'),
      (cause) => (outcome = cause.code),
    );
    t.mock.timers.tick(LOG_RETRY_MS);
    ending.abort();
    await settle();
    assert.equal(outcome, 'pending');
    if (succeeds) appends[0]!.resolve();
    else appends[0]!.reject(FULL);
    await settle();
    assert.equal(outcome, succeeds ? 'durable' : 'cancelled');
    assert.deepEqual([held.count, held.bytes], [0, 0]);
    held.close();
  });
}

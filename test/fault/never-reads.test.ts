/** A subscriber that stops reading, beside one that reads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './driver.js';
import { holds, SEED } from './holds.js';
import { bootNs, caughtUp, runFaults } from './run.js';
import { LOSSLESS } from './schedule.js';

const LAG_MS = 90_000;

test('a subscriber that never reads lags in the log, slows nobody, and gets everything once it reads on', async () => {
  const cluster = await Cluster.start();
  try {
    await cluster.agent({ name: 'fast', nodes: 1, eventsPerSecond: 2_000 });
    const reader = await cluster.subscribe('reader', { args: [] });
    const sleeper = await cluster.subscribe('sleeper', { args: [] });
    assert.deepEqual(await caughtUp(cluster, bootNs()), []);
    sleeper.stall();
    for (const deadlineMs = performance.now() + LAG_MS; !(await lags(cluster)); ) {
      assert.ok(performance.now() < deadlineMs, `who does not read does not lag after ${LAG_MS} ms`);
      // Everything up to this moment, while the other does not read.
      assert.deepEqual(await caughtUp({ agents: cluster.agents, subscribers: [reader] }, bootNs()), []);
    }
    sleeper.readOn();
    holds(await runFaults(cluster, { seed: SEED, durationMs: 0, kinds: LOSSLESS }));
  } finally {
    await cluster.destroy();
  }
});

/** Whether a subscription is behind by more than all windows and buffers between hold. */
async function lags(cluster: Cluster): Promise<boolean> {
  const answer = await cluster.get('/v1/subscriptions');
  const { subscriptions } = (await answer.json()) as { subscriptions: { lagFrames: string }[] };
  return subscriptions.some(({ lagFrames }) => Number(lagFrames) > 200);
}

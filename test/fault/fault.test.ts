/**
 * About a minute of faults. The seed is printed; BACKPLANE_FAULT_SEED repeats it.
 * `npm run soak` does the same for as long as it is given.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from './driver.js';
import { bootNs, caughtUp, type Outcome, runFaults, standardCluster } from './run.js';
import { FAULTS, LOSSLESS } from './schedule.js';
import { cannotMount, withSmallDisk } from './small-disk.js';

const SEED = Number(process.env.BACKPLANE_FAULT_SEED ?? Math.floor(Math.random() * 2 ** 31));
const LAG_MS = 90_000;
const DISK_BYTES = 64 * 1024 * 1024;

console.log(`# BACKPLANE_FAULT_SEED=${SEED}`);

function holds({ violations, history }: Outcome): void {
  const told = `BACKPLANE_FAULT_SEED=${SEED}\n${violations.join('\n')}\n\nwhat was done:\n${history.join('\n')}`;
  assert.equal(violations.length, 0, told);
}

test('kills, freezes, reboots, bad networks, stalled readers: every event once, in order, nothing missing', async () => {
  const cluster = await standardCluster();
  try {
    holds(await runFaults(cluster, { seed: SEED, durationMs: 14_000, kinds: LOSSLESS }));
  } finally {
    await cluster.destroy();
  }
});

test('with damaged files and a full disk besides, what is missing is stated', { skip: cannotMount }, () =>
  withSmallDisk(DISK_BYTES, async (dir) => {
    const cluster = await standardCluster(dir);
    try {
      const kinds = FAULTS.filter((fault) => fault !== 'broker-away');
      holds(await runFaults(cluster, { seed: SEED, durationMs: 14_000, kinds }));
    } finally {
      await cluster.destroy();
    }
  }),
);

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
  const answer = await fetch(`http://${cluster.http}/v1/subscriptions`);
  const { subscriptions } = (await answer.json()) as { subscriptions: { lagFrames: string }[] };
  return subscriptions.some(({ lagFrames }) => Number(lagFrames) > 200);
}

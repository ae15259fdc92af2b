/** Faults that lose nothing. `npm run soak` does the same, with all faults, for as long as it is given. */
import { test } from 'node:test';
import { holds, SEED } from './holds.js';
import { runFaults, standardCluster } from './run.js';
import { LOSSLESS } from './schedule.js';

test('kills, freezes, reboots, bad networks, stalled readers: every event once, in order, nothing missing', async () => {
  const cluster = await standardCluster();
  try {
    holds(await runFaults(cluster, { seed: SEED, durationMs: 14_000, kinds: LOSSLESS }));
  } finally {
    await cluster.destroy();
  }
});

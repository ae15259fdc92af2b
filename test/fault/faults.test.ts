/** Random faults in a cluster under load, for some seconds. `npm run soak` does the same for as long as it is given. */
import { test } from 'node:test';
import { cannotMount, type SmallDisk, withSmallDisk } from '../harness/cluster/small-disk.js';
import { runs } from '../harness/runs.js';
import { holds, SEED } from './holds.js';
import { runFaults, standardCluster } from './run.js';
import { FAULTS, type FaultName, LOSSLESS } from './schedule.js';

const DISK_BYTES = 64 * 1024 * 1024;

// Either kind of run, by the seed: both take a minute, and find other things.
if (SEED % 2 === 0 || cannotMount !== false)
  test('under kills, freezes, reboots, bad networks and stalled readers every event comes once, in order', () =>
    runOn(undefined, LOSSLESS));
else
  test('under damaged files, power cuts and a full disk as well, every missing event is stated', () =>
    withSmallDisk(DISK_BYTES, (disk) => runOn(disk, FAULTS)));

async function runOn(smallDisk: SmallDisk | undefined, faults: readonly FaultName[]): Promise<void> {
  const cluster = await standardCluster(smallDisk);
  try {
    const kinds = faults.filter((fault) => fault !== 'broker-away');
    holds(await runFaults(cluster, { seed: SEED, durationMs: runs(4_000), kinds }));
  } finally {
    await cluster.destroy();
  }
}

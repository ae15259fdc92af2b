/** Damaged files, power cuts and a full disk. */
import { test } from 'node:test';
import { cannotMount, withSmallDisk } from '../harness/cluster/small-disk.js';
import { holds, SEED } from './holds.js';
import { runFaults, standardCluster } from './run.js';
import { FAULTS } from './schedule.js';

const DISK_BYTES = 64 * 1024 * 1024;

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

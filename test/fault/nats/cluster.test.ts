/**
 * Random faults in a cluster of brokers on NATS under load, for some seconds, and then a stream that is deleted. The soak
 * (`npm run soak -- --cluster`) does the same for as long as it is given, and what takes half a minute each.
 */
import { test } from 'node:test';
import { runs } from '../../harness/runs.js';
import { holds, SEED } from '../holds.js';
import { CLUSTER_FAULTS, LOSSLESS_OF_CLUSTER, SLOW_OF_CLUSTER } from './cluster-faults.js';
import { cannotCluster, runClusterFaults, standardNatsCluster } from './cluster-run.js';

const isLong = runs(1) > 1;
const lossy = SEED % 4 === 3;
const kinds = (lossy ? CLUSTER_FAULTS : LOSSLESS_OF_CLUSTER).filter(
  (name) => isLong || !SLOW_OF_CLUSTER.includes(name),
);

test(`a cluster of brokers on NATS under faults${lossy ? ', also of stored bits' : ''}`, {
  skip: cannotCluster(),
}, async () => {
  const cluster = await standardNatsCluster();
  try {
    holds(await runClusterFaults(cluster, { seed: SEED, durationMs: isLong ? 240_000 : 20_000, kinds }));
  } finally {
    await cluster.destroy();
  }
});

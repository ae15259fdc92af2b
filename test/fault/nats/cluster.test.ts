/**
 * Random faults in a cluster of brokers on NATS under load, for some seconds, and then a stream that is deleted. Each run
 * begins with one of those faults that are hard on a log, in turn by the seed: by chance a short run would mostly have
 * none of them. The soak (`npm run soak -- --cluster`) does the same for as long as it is given.
 */
import { type TestContext, test } from 'node:test';
import { runs } from '../../harness/runs.js';
import { holds, SEED } from '../holds.js';
import { CLUSTER_FAULTS, type ClusterFaultName, LOSSLESS_OF_CLUSTER, SLOW_OF_CLUSTER } from './cluster-faults.js';
import { cannotCluster, runClusterFaults, standardNatsCluster } from './cluster-run.js';

const HARD: readonly ClusterFaultName[] = ['nats-power-cut', 'nats-disks-full', 'nats-bit-flip'];
const isLong = runs(1) > 1;
const first = HARD[SEED % HARD.length]!;
const lossy = !LOSSLESS_OF_CLUSTER.includes(first);
const kinds = (lossy ? CLUSTER_FAULTS : LOSSLESS_OF_CLUSTER).filter(
  (name) => isLong || !SLOW_OF_CLUSTER.includes(name),
);

test(`a cluster of brokers on NATS under ${first} and faults by chance`, {
  skip: cannotCluster(),
}, async (t: TestContext) => {
  const beganMs = performance.now();
  const took = () => `${Math.round((performance.now() - beganMs) / 1000)} s`;
  const cluster = await standardNatsCluster();
  t.diagnostic(`all deliver after ${took()}`);
  try {
    const outcome = await runClusterFaults(cluster, {
      seed: SEED,
      durationMs: isLong ? 240_000 : 15_000,
      kinds,
      first,
      brief: !isLong,
    });
    t.diagnostic(`all is done after ${took()}`);
    holds(outcome);
  } finally {
    await cluster.destroy();
  }
});

/** One run: brokers on NATS under load, a schedule of faults, and then the invariants. */
import { refused } from '../../harness/cluster/namespace.js';
import { cannotMount } from '../../harness/cluster/small-disk.js';
import { NatsCluster } from '../../harness/nats/nats-cluster.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { bootNs, caughtUp, type Outcome, type Run, runSchedule } from '../run.js';
import { CLUSTER_ACTS, type ClusterFaultName } from './cluster-faults.js';

const HALF_AN_HOUR_MS = 1_800_000;
/** More than all clocks are apart, whatever is done to them. */
const SINCE = '12h';

/** Why there can be no such cluster here, in one sentence, or false. */
export function cannotCluster(): string | false {
  const { namespaces, rates } = refused();
  return needsNats() || namespaces || rates || cannotMount;
}

/**
 * Five nodes on four agents, the clocks of two of which are an hour apart, and one of which is over its budget all the
 * time; subscribers to everything, to one node, and of what is shed one that gets it later and one that is only told.
 * Returned when all are delivering.
 */
export async function standardNatsCluster(): Promise<NatsCluster> {
  const cluster = await NatsCluster.start();
  try {
    await cluster.agent({ name: 'alpha', nodes: 1, eventsPerSecond: 50, clockMs: HALF_AN_HOUR_MS });
    await cluster.agent({ name: 'beta', nodes: 2, eventsPerSecond: 50, clockMs: -HALF_AN_HOUR_MS });
    await cluster.agent({ name: 'gamma', nodes: 1, eventsPerSecond: 80, budgetEventsPerSecond: 40 });
    await cluster.agent({ name: 'delta', nodes: 1, eventsPerSecond: 50 });
    const exec = ['--filter', 'event.type == "process.exec"'];
    const nodes = (node: string) => node !== 'gamma';
    const where = ['--node', 'alpha,beta-*,delta'];
    await cluster.subscribe('all', { args: [...exec, ...where], nodes, timed: true, since: SINCE });
    await cluster.subscribe('one', {
      args: [...exec, '--node', 'delta'],
      nodes: (node) => node === 'delta',
      since: SINCE,
    });
    const gamma = { nodes: (node: string) => node === 'gamma', misses: 'shed', since: SINCE } as const;
    await cluster.subscribe('later', { args: [...exec, '--node', 'gamma'], refill: true, ...gamma });
    await cluster.subscribe('fewer', {
      args: ['--filter', 'event.type == "process.exec" && process.pid % 5 == 4', '--node', 'gamma'],
      numbers: (number) => number % 5 === 4,
      ...gamma,
    });
    const behind = await caughtUp(cluster, bootNs());
    if (behind.length > 0) throw new Error(behind.join('; '));
    return cluster;
  } catch (cause) {
    await cluster.destroy();
    throw cause;
  }
}

/** Ends all processes but the nats-servers. */
export async function runClusterFaults(cluster: NatsCluster, run: Run<ClusterFaultName>): Promise<Outcome> {
  const outcome = await runSchedule(cluster, run, CLUSTER_ACTS);
  for (const { name, inVain } of cluster.brokers) outcome.history.push(`${name}: ${inVain} starts found no NATS`);
  return outcome;
}

/** One run: brokers on NATS under load, a schedule of faults, and then the invariants. */
import { refused } from '../../harness/cluster/namespace.js';
import { cannotMount } from '../../harness/cluster/small-disk.js';
import { type Findings, findings } from '../../harness/groups/processed.js';
import { NatsCluster, STREAMS } from '../../harness/nats/nats-cluster.js';
import { type NatsVersion, needsNats } from '../../harness/nats/nats-package.js';
import { until } from '../../harness/until.js';
import { bootNs, caughtUp, type Outcome, type Run, runSchedule } from '../run.js';
import { Random } from '../schedule.js';
import { CLUSTER_ACTS, type ClusterFaultName } from './cluster-faults.js';

const HALF_AN_HOUR_MS = 1_800_000;
/** More than all clocks are apart, whatever is done to them. */
const SINCE = '12h';

/** Why there can be no such cluster here, in one sentence, or false. */
export function cannotCluster(version?: NatsVersion): string | false {
  const { namespaces, rates } = refused();
  return needsNats(version) || namespaces || rates || cannotMount;
}

/** Its agent meets no faults; a group has its nodes. */
const STEADY = 'steady';
const SLICES = 16;

/**
 * Five nodes on four agents, the clocks of two of which are an hour apart, and one of which is over its budget all the
 * time; subscribers to everything, to one node, and of what is shed one that gets it later and one that is only told; and
 * three members of a group, of two nodes whose agent is left alone. Returned when all are delivering.
 */
export async function standardNatsCluster(version?: NatsVersion): Promise<NatsCluster> {
  const cluster = await NatsCluster.start(version);
  try {
    await cluster.agent({ name: 'alpha', nodes: 1, eventsPerSecond: 50, clockMs: HALF_AN_HOUR_MS });
    await cluster.agent({ name: 'beta', nodes: 2, eventsPerSecond: 50, clockMs: -HALF_AN_HOUR_MS });
    await cluster.agent({ name: 'gamma', nodes: 1, eventsPerSecond: 80, budgetEventsPerSecond: 40 });
    await cluster.agent({ name: 'delta', nodes: 1, eventsPerSecond: 50 });
    const steady = await cluster.agent({ name: STEADY, nodes: 2, eventsPerSecond: 50 });
    // Members know events by their number, which begins anew with an agent.
    steady.busy = true;
    const exec = ['--filter', 'event.type == "process.exec"'];
    const nodes = (node: string) => node !== 'gamma' && !node.startsWith(STEADY);
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
    for (const name of ['0', '1', '2']) await cluster.member(name, [`${STEADY}-*`], SINCE);
    await membersReach(cluster, 0);
    const behind = await caughtUp(cluster, bootNs());
    if (behind.length > 0) throw new Error(behind.join('; '));
    return cluster;
  } catch (cause) {
    await cluster.destroy();
    throw cause;
  }
}

/** And then a stream is deleted. Ends all processes but the nats-servers. */
export async function runClusterFaults(cluster: NatsCluster, run: Run<ClusterFaultName>): Promise<Outcome> {
  const { violations, history } = await runSchedule(cluster, run, CLUSTER_ACTS, [], async (note) => {
    const { violations, ...sums } = await endMembers(cluster, run.kinds.includes('nats-bit-flip'));
    note(`the group: ${JSON.stringify(sums)}`);
    for (const { name, process } of cluster.members) note(`${name}: ${process.starts} starts`);
    return violations;
  });
  for (const { name, inVain } of cluster.brokers) history.push(`${name}: ${inVain} starts found no NATS`);
  if (violations.length > 0) return { violations, history };
  const stream = new Random(run.seed).pick(STREAMS);
  history.push(`stream ${stream} is deleted`);
  return { violations: await withoutStream(cluster, stream), history };
}

/** Every broker that runs when the stream is deleted ends with a sentence about it. Returns what is otherwise. */
async function withoutStream(cluster: NatsCluster, stream: string): Promise<string[]> {
  const { brokers } = cluster;
  for (const broker of brokers) broker.start();
  await Promise.all(brokers.map((broker) => broker.serving()));
  await cluster.deleteStream(stream);
  const wrong: string[] = [];
  for (const broker of brokers) {
    const { code } = await broker.ends();
    if (code !== 1 || !new RegExp(`^backplane: stream ${stream} is gone`, 'm').test(broker.stderr))
      wrong.push(`without ${stream} ${broker.name} ended with ${code}: ${broker.stderr}`);
  }
  return wrong;
}

function steadyNodes({ agents }: NatsCluster): string[] {
  return agents.filter(({ name }) => name === STEADY).flatMap(({ recorders }) => [...recorders.keys()]);
}

/** The last number of the node that any member has processed; -1 before the first. */
function reached({ members }: NatsCluster, node: string): number {
  return Math.max(...members.map(({ process }) => process.reached(node)));
}

/** Resolves when of each node some member has processed that number. */
async function membersReach(cluster: NatsCluster, number: number | ReadonlyMap<string, number>): Promise<void> {
  const behind = () =>
    steadyNodes(cluster)
      .map((node) => ({
        node,
        has: reached(cluster, node),
        of: typeof number === 'number' ? number : number.get(node)!,
      }))
      .filter(({ has, of }) => has < of);
  const ended = () => cluster.parties.some(({ unexpected }) => unexpected.length > 0);
  await until('the group to have caught up', () => ended() || behind().length === 0, behind);
}

/** Once they have caught up; returns what the group did, and what of it is wrong. */
async function endMembers(cluster: NatsCluster, damaged: boolean): Promise<Findings> {
  const upTo = new Map(steadyNodes(cluster).map((node) => [node, reached(cluster, node) + 1]));
  const late = await membersReach(cluster, upTo).then(
    () => [],
    (cause) => [String(cause)],
  );
  const processes = cluster.members.map(({ process }) => process);
  await Promise.all(processes.map((process) => process.end('SIGTERM')));
  const found = findings(
    processes.map((process) => ({ name: process.name, lines: process.lines() })),
    SLICES,
    upTo,
    { cuts: cluster.cuts, damaged },
  );
  const unexpected = processes.flatMap((process) => process.unexpected);
  return { ...found, violations: [...late, ...found.violations, ...unexpected] };
}

/** One run: a cluster under load, a schedule of faults, and then the invariants. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from '../harness/cluster/driver.js';
import { refused } from '../harness/cluster/namespace.js';
import type { SmallDisk } from '../harness/cluster/small-disk.js';
import type { System } from '../harness/cluster/system.js';
import { violations } from '../harness/oracle/invariants.js';
import { Recorded } from '../harness/oracle/recorded.js';
import { settled, until } from '../harness/until.js';
import { cannot, FAULT_ACTS } from './faults.js';
import type { Fault, FaultContext } from './party-faults.js';
import { type FaultName, Random, schedule } from './schedule.js';

/** Refills come at least this often; events that are still missing afterwards will not come. */
const REFILL_MS = 15_000;
const STDERR_CHARACTERS_SHOWN = 600;

export interface Run<Name extends string = FaultName> {
  readonly seed: number;
  readonly durationMs: number;
  readonly kinds: readonly Name[];
  /** Is done at the beginning, when nobody is in trouble yet, so that it happens in any case. */
  readonly first?: Name;
  /** Nobody waits minutes for what a system does by itself: faults take the way that is over soon. */
  readonly brief?: boolean;
}

export interface Outcome {
  readonly violations: readonly string[];
  /** Each fault, when it was done, and its result. */
  readonly history: string[];
}

/**
 * Three nodes on two agents, and subscribers: to everything, to some of each
 * node's events, to one node's, one that skips when it lags, and one that is
 * throttled. A third agent is over its budget all the time, and has a subscriber
 * that gets what is shed later and one that is only told. Each is in a
 * network namespace of its own where that can be.
 *
 * @param smallDisk of the first agent
 */
export async function standardCluster(smallDisk?: SmallDisk): Promise<Cluster> {
  const cluster = await Cluster.start({}, refused().namespaces === undefined);
  const disk = smallDisk === undefined ? {} : { dataDir: smallDisk.dir, ownDisk: smallDisk };
  await cluster.agent({ name: 'alpha', nodes: 1, eventsPerSecond: 50, ...disk });
  await cluster.agent({ name: 'beta', nodes: 2, eventsPerSecond: 50 });
  await cluster.agent({ name: 'gamma', nodes: 1, eventsPerSecond: 80, budgetEventsPerSecond: 40 });
  const exec = 'event.type == "process.exec"';
  const within = (node: string) => node !== 'gamma';
  const where = ['--node', 'alpha,beta-*'];
  await cluster.subscribe('all', { args: ['--filter', exec, ...where], nodes: within, timed: true });
  await cluster.subscribe('some', {
    args: ['--filter', `${exec} && process.pid % 5 == 2`, ...where],
    nodes: within,
    numbers: (number) => number % 5 === 2,
  });
  const nodes = (node: string) => node === 'beta-0002';
  await cluster.subscribe('later', {
    args: ['--filter', exec, '--node', 'gamma'],
    nodes: (n) => n === 'gamma',
    refill: true,
    misses: 'shed',
  });
  await cluster.subscribe('fewer', {
    args: ['--filter', `${exec} && process.pid % 5 == 4`, '--node', 'gamma'],
    nodes: (n) => n === 'gamma',
    numbers: (number) => number % 5 === 4,
    misses: 'shed',
  });
  await cluster.subscribe('hasty', {
    args: ['--filter', exec, '--node', 'alpha', '--lag-policy', 'skip', '--lag-max', '1s'],
    nodes: (n) => n === 'alpha',
    misses: 'skipped',
  });
  await cluster.subscribe('sparse', {
    args: ['--filter', exec, '--node', 'beta-*', '--throttle-by', 'node'],
    nodes: (n) => n.startsWith('beta-'),
    throttleMs: 50,
    timed: true,
  });
  await cluster.subscribe('one', { args: ['--filter', exec, '--node', 'beta-0002'], nodes });
  const behind = await caughtUp(cluster, bootNs());
  if (behind.length > 0) {
    await cluster.destroy();
    throw new Error(behind.join('; '));
  }
  return cluster;
}

/** All parties must be connected and delivering when the faults begin. Ends all processes. */
export function runFaults(cluster: Cluster, run: Run): Promise<Outcome> {
  const history: string[] = [];
  const kinds = possible(cluster, run.kinds, (text) => history.push(text));
  return runSchedule(cluster, { ...run, kinds }, FAULT_ACTS, history);
}

/**
 * Likewise of any system, with its own kinds of faults.
 * @param history of what was done before
 * @param last what else has to be so before all are ended; returns violations
 */
export async function runSchedule<S extends System, Name extends string>(
  cluster: S,
  { seed, durationMs, kinds, first, brief = false }: Run<Name>,
  doing: Readonly<Record<Name, Fault<S>>>,
  history: string[] = [],
  last: (note: (text: string) => void) => Promise<readonly string[]> = async () => [],
): Promise<Outcome> {
  const beganMs = performance.now();
  const note = (text: string) => history.push(`${((performance.now() - beganMs) / 1000).toFixed(1)} s: ${text}`);
  const shared = {
    ...{ cluster, brief },
    recorded: new Recorded(),
    lossy: { log: false, nodes: new Set<string>(), ends: [] },
    failures: [] as string[],
  };
  const acts = new Map<Promise<void>, string>();
  for (const { atMs, fault, seed: own } of schedule(seed, durationMs, kinds, first)) {
    await sleep(Math.max(0, beganMs + atMs - performance.now()));
    note(fault);
    const context: FaultContext<S> = { ...shared, random: new Random(own), note };
    const act = doing[fault](context).catch((cause) => void context.failures.push(`${fault}: ${cause}`));
    acts.set(act, fault);
    act.then(() => acts.delete(act));
  }
  await settled('the end of the faults', Promise.all(acts.keys()), () => history.length).catch(() => undefined);
  for (const fault of acts.values()) shared.failures.push(`${fault} does not end`);
  const untilNs = bootNs();
  note(`the faults are over at ${untilNs}`);
  const behind = await caughtUp(cluster, untilNs);
  note('everybody has caught up');
  await refilled(cluster, untilNs);
  note('what can be refilled is');
  shared.failures.push(...(await last(note)));
  await endAll(cluster, shared.failures);
  const said = cluster.parties.map(({ name, stderr }) => `${name} said: ${stderr.slice(-STDERR_CHARACTERS_SHOWN)}`);
  for (const agent of cluster.agents) await shared.recorded.read(agent);
  const found = [...behind, ...violations(cluster, shared, untilNs)];
  for (const { name, received, beganAnew } of cluster.subscribers) {
    const anew = beganAnew === 0 ? '' : `, since it began anew (${beganAnew} times: its cursor was of what was lost)`;
    note(`${name} received ${received.events} events${anew}`);
  }
  for (const party of cluster.parties)
    note(`${party.name}: ${party.starts} starts, ${Math.round(party.rssBytesMax / 2 ** 20)} MiB at most`);
  if (found.length > 0) history.push(...said);
  return { violations: found, history };
}

/** Faults that this machine cannot do are not planned, and the history says so. */
function possible(cluster: Cluster, kinds: readonly FaultName[], note: (text: string) => void): FaultName[] {
  return kinds.filter((fault) => {
    const why = cannot(fault, cluster);
    if (why !== undefined) note(`left out: ${fault} (${why})`);
    return why === undefined;
  });
}

/**
 * Waits until every subscriber has something of every node from behind this moment: in order, so all before has come.
 * Returns to whom nothing of what it waits for comes any more, or who ended by itself.
 */
export async function caughtUp(
  cluster: Pick<System, 'agents' | 'subscribers' | 'parties'>,
  untilNs: number,
): Promise<string[]> {
  const nodes = cluster.agents.flatMap((agent) => [...agent.recorders.keys()]);
  const behind = () =>
    cluster.subscribers.flatMap((subscriber) =>
      nodes
        .map((node) => ({ node, lastNs: subscriber.received.nodes.get(node)?.lastNs ?? 0 }))
        .filter(({ node, lastNs }) => subscriber.awaits(node) && lastNs <= untilNs)
        .map(({ node, lastNs }) => `${subscriber.name} has ${node} up to ${lastNs} of ${untilNs}`),
    );
  try {
    const ended = () => cluster.parties.flatMap(({ unexpected }) => unexpected);
    await until('everybody to catch up', () => ended().length > 0 || behind().length === 0, behind);
    return ended();
  } catch (cause) {
    return [String(cause)];
  }
}

/**
 * Waits until those that refill have got something from behind this moment as a refill: those come in order, so all that
 * was owed before has come. Somebody is over its budget all the time, so that there is always something to refill.
 */
async function refilled({ subscribers }: System, untilNs: number): Promise<void> {
  const nodes = () =>
    subscribers.filter(({ asks }) => asks.refill).flatMap(({ received }) => [...received.nodes.values()]);
  let before = -1;
  for (let deadlineMs = 0; ; ) {
    if (nodes().every(({ last }) => last.refill !== undefined && last.refill[1] > untilNs)) return;
    const received = nodes().reduce((sum, { refilledNs }) => sum + refilledNs.size, 0);
    if (received > before) deadlineMs = performance.now() + REFILL_MS;
    before = received;
    // The invariants check whether it was stated as gone.
    if (performance.now() > deadlineMs) return;
    await sleep(200);
  }
}

/** The boot clock, as agents read it. */
export function bootNs(): number {
  return Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1e9;
}

async function endAll(cluster: System, failures: string[]): Promise<void> {
  for (const [parties, code] of [
    [cluster.subscribers, 130],
    [cluster.agents, 0],
    [cluster.brokers, 0],
  ] as const) {
    for (const party of parties) {
      const exit = await settled(`the end of ${party.name}`, party.end('SIGTERM')).catch(() => undefined);
      if (exit === undefined) {
        failures.push(`${party.name} did not end on SIGTERM`);
        await party.end('SIGKILL');
      } else if (exit.code !== code)
        failures.push(`${party.name} ended with ${exit.signal ?? exit.code}, expected ${code}`);
    }
  }
}

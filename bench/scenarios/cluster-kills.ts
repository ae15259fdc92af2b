/**
 * kill -9 of a broker of a cluster on NATS, again and again, and the same by `retire`: agents and subscribers go on at the
 * other broker. How late events came, by when they were recorded, and what is missing, comes twice, or is told as a gap.
 * The broker that most are at is always the one that goes.
 *
 *   node dist/bench/scenarios/cluster-kills.js [times] [agents] [subscribers] [events a second of each agent] [kill|retire]    as root
 */
import { setMaxListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../../src/client/client.js';
import { sequenceNumber } from '../../test/harness/bus/numbered.js';
import { credentialIn } from '../../test/harness/bus/token.js';
import { type ClusterBroker, NatsCluster } from '../../test/harness/nats/nats-cluster.js';
import { Numbers } from '../../test/harness/oracle/received.js';
import { until } from '../../test/harness/until.js';
import { cpuSeconds } from '../measuring/process-cost.js';
import { median, type Row, report, round } from '../measuring/report.js';

const [times = 10, agents = 200, subscribers = 50, eventsPerSecond = 2] = process.argv.slice(2, 6).map(Number);
const WAYS = ['kill -9', 'retire'].filter((way) => way.startsWith(process.argv[6] ?? ''));
if (WAYS.length === 0) throw new Error(`the fifth argument must be kill or retire, got ${process.argv[6]}`);
const PROCESSES = 4;
/** Each subscriber asks for the nodes of one agent process. */
const NODES = agents / PROCESSES;
const QUIET_MS = 10_000;
const BETWEEN_MS = 5_000;
const WORST_SHOWN = 4;

/** The boot clock, by which events are placed; a machine's processes share it. */
const bootLessPerformanceMs = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000 - performance.now();
const bootMs = () => performance.now() + bootLessPerformanceMs;

/** The greatest lateness of any event since it was last asked for, in milliseconds, by who was late. */
class Latest {
  readonly #most = new Map<string, { readonly ms: number; readonly atMs: number }>();

  saw(name: string, ms: number): void {
    if (ms > (this.#most.get(name)?.ms ?? -1)) this.#most.set(name, { ms, atMs: bootMs() });
  }

  /** The latest of all, when they came: in seconds after that moment. */
  worst(sinceMs: number): string[] {
    const sorted = [...this.#most].sort(([, a], [, b]) => b.ms - a.ms);
    return sorted
      .slice(0, WORST_SHOWN)
      .map(([name, { ms, atMs }]) => `${name} ${round(ms / 1000)} late at ${round((atMs - sinceMs) / 1000)}`);
  }

  take(): number[] {
    const all = [...this.#most.values()].map(({ ms }) => ms);
    this.#most.clear();
    return all;
  }
}

class Reader {
  readonly numbers = new Map<string, Numbers>();
  /** By node, the newest event's place on the boot clock. */
  readonly upToMs = new Map<string, number>();
  twice = 0;
  gaps = 0;
  readonly #client: Client;

  constructor(
    readonly name: string,
    client: Client,
    readonly glob: string,
  ) {
    this.#client = client;
  }

  /** @param away from when its stream ended to when another broker has accepted it */
  async follow(signal: AbortSignal, ofNodes: Latest, ofReaders: Latest, away: Latest): Promise<void> {
    const request = { topics: ['process'], nodes: [this.glob], follow: true };
    let brokenMs = 0;
    for await (const item of this.#client.subscribe(request, signal)) {
      if (item.kind === 'link' && item.cause) brokenMs = bootMs();
      else if (item.kind === 'link') away.saw(this.name, bootMs() - brokenMs);
      if (item.kind === 'gap') this.gaps += 1;
      if (item.kind !== 'events') continue;
      const { node, events } = item.batch;
      const own = this.numbers.get(node) ?? new Numbers();
      this.numbers.set(node, own);
      for (const { process, position } of events) {
        const atMs = Number(position!.timeNs) / 1e6;
        ofNodes.saw(node, bootMs() - atMs);
        ofReaders.saw(this.name, bootMs() - atMs);
        this.upToMs.set(node, atMs);
        const number = sequenceNumber(process?.commandArgs);
        if (number !== undefined && !own.add(number)) this.twice += 1;
      }
    }
  }

  close(): void {
    this.#client.close();
  }
}

async function measure(): Promise<void> {
  const cluster = await NatsCluster.start();
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const readers: Reader[] = [];
  try {
    for (let at = 0; at < PROCESSES; at++)
      await cluster.agent({ name: `agent${at}`, nodes: NODES, eventsPerSecond, unguarded: true });
    const [ofNodes, ofReaders, away] = [new Latest(), new Latest(), new Latest()];
    for (let at = 0; at < subscribers; at++)
      readers.push(new Reader(`reader${at}`, cluster.client(), `agent${at % PROCESSES}-*`));
    const ends = readers.map((reader) =>
      reader.follow(stop.signal, ofNodes, ofReaders, away).catch((cause) => {
        // Nobody would be waited for in vain.
        console.error(reader.name, cause);
        process.exit(1);
      }),
    );
    await everybodyBeyond(readers, bootMs());
    const rows: Row[] = [];
    ofNodes.take();
    ofReaders.take();
    await sleep(QUIET_MS);
    rows.push(row('nothing', 1, { nodes: [ofNodes.take()], readers: [ofReaders.take()], away: [], again: [] }));
    for (const how of WAYS) {
      const late: Late = { nodes: [], readers: [], away: [], again: [] };
      for (let time = 0; time < times; time += 1) {
        await sleep(BETWEEN_MS);
        for (const latest of [ofNodes, ofReaders, away]) latest.take();
        const broker = await busier(cluster);
        const [beganMs, loop, cpu] = [bootMs(), performance.eventLoopUtilization(), cpuOf(cluster)];
        await (how === 'retire' ? retire(cluster, broker) : broker.end('SIGKILL'));
        await everybodyBeyond(readers, bootMs());
        late.again.push([bootMs() - beganMs]);
        const busy = round(performance.eventLoopUtilization(loop).utilization);
        const worst = [ofNodes, ofReaders, away].map((latest) => latest.worst(beganMs));
        late.nodes.push(ofNodes.take());
        late.readers.push(ofReaders.take());
        late.away.push(away.take());
        const last = Object.fromEntries(
          Object.entries(late).map(([of, all]) => [of, all.slice(-1)]),
        ) as unknown as Late;
        const used = Object.entries(cpuOf(cluster)).map(([name, seconds]) => [
          name,
          round(Math.max(0, seconds - cpu[name]!)),
        ]);
        const told = {
          ...{ ...row(how, 1, last), ...sums(readers), load: loadavg()[0], ownLoop: busy },
          'CPU s': Object.fromEntries(used),
          worst,
        };
        console.log(`${how}: ${JSON.stringify(told)}`);
        if (how === 'retire') await broker.end('SIGTERM');
        broker.start();
        await broker.serving();
      }
      rows.push(row(how, times, late));
    }
    await everybodyBeyond(readers, bootMs());
    stop.abort();
    await Promise.all(ends);
    const title = `a broker of two goes, ${agents} agents of ${eventsPerSecond} events/s, ${subscribers} subscribers`;
    report(title, rows, sums(readers));
  } finally {
    stop.abort();
    for (const reader of readers) reader.close();
    await cluster.destroy();
  }
}

/** Every subscriber has something of each of its nodes that was recorded after this moment. */
async function everybodyBeyond(readers: readonly Reader[], atMs: number): Promise<void> {
  const behind = () =>
    sum(readers, ({ upToMs }) => NODES - [...upToMs.values()].filter((newestMs) => newestMs > atMs).length);
  await until('everybody to have all nodes', () => behind() === 0, behind);
}

/** CPU seconds so far, of all that run; relays and subscribers are in this process. */
function cpuOf(cluster: NatsCluster): Record<string, number> {
  const { brokers, agents, machines } = cluster;
  const processes = [
    ...[...brokers, ...agents].map(({ name, pid }) => [name, pid] as const),
    ...machines.map(({ name, server }) => [name, server.pid] as const),
    ['this', process.pid] as const,
  ];
  return Object.fromEntries(processes.map(([name, pid = 0]) => [name, cpuSeconds(pid)]));
}

async function busier(cluster: NatsCluster): Promise<ClusterBroker> {
  const counts = await Promise.all(
    cluster.brokers.map(async (broker) => {
      return { broker, count: await withClient(cluster, broker, connectedTo) };
    }),
  );
  return counts.reduce((most, each) => (each.count > most.count ? each : most)).broker;
}

async function retire(cluster: NatsCluster, broker: ClusterBroker): Promise<void> {
  await withClient(cluster, broker, async (client) => {
    await client.retire(true);
    let left = 0;
    await until(
      'all to have gone',
      async () => {
        left = await connectedTo(client);
        return left === 0;
      },
      () => left,
    );
  });
}

/** Nodes and subscribers of one broker. */
async function connectedTo(client: Client): Promise<number> {
  const { brokers, subscriptions } = await client.getStatus();
  return (brokers.find(({ own }) => own)?.nodes ?? 0) + subscriptions;
}

async function withClient<T>(
  { brokerDir }: NatsCluster,
  { grpc }: ClusterBroker,
  ask: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client([grpc], credentialIn(brokerDir));
  try {
    return await ask(client);
  } finally {
    client.close();
  }
}

/** Milliseconds, a list for each time. */
interface Late {
  readonly nodes: number[][];
  readonly readers: number[][];
  readonly away: number[][];
  /** From the kill or the command to when everybody had something of every node that was recorded after it went. */
  readonly again: number[][];
}

function row(what: string, rounds: number, { nodes, readers, away, again }: Late): Row {
  const seconds = (all: readonly number[]) => [round(median(all) / 1000), round(Math.max(0, ...all) / 1000)] as const;
  const [nodeMedian, nodeMost] = seconds(nodes.flat());
  const [readerMedian, readerMost] = seconds(readers.flat());
  const [awayMedian, awayMost] = seconds(away.flat());
  const [againMedian, againMost] = seconds(again.flat());
  return {
    what,
    rounds,
    'latest event of an agent, s (median)': nodeMedian,
    'at most': nodeMost,
    'of a subscriber (median)': readerMedian,
    'at most ': readerMost,
    'a subscriber without a broker (median)': awayMedian,
    'at most  ': awayMost,
    'all have all again after (median)': againMedian,
    'at most   ': againMost,
  };
}

/** Over all subscribers and times so far. */
function sums(readers: readonly Reader[]) {
  return {
    events: sum(readers, ({ numbers }) => [...numbers.values()].reduce((all, { count }) => all + count, 0)),
    missing: sum(readers, ({ numbers }) =>
      [...numbers.values()].reduce((all, { min, max, count }) => all + (max - min + 1 - count), 0),
    ),
    twice: sum(readers, ({ twice }) => twice),
    gaps: sum(readers, ({ gaps }) => gaps),
  };
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}

await measure();
process.exit(0);

/**
 * What idle subscriptions cost a broker: thousands of them with some hundred filters that match nothing, to synthetic
 * agents that make a few events a second. One half comes by HTTP, lines and server-sent events in turn, each on a
 * connection of its own; the other half by gRPC, some on a connection together, as client libraries do. Clients and
 * agents are processes of their own, so that the broker's memory and CPU are measured alone: with nobody, with one
 * subscription of each filter's kind, and with all of them. Then who was there comes back at once.
 *
 *   node dist/bench/scenarios/idle-subscriptions.js [subscriptions] [filters] [nodes] [streams on a gRPC connection] [seconds]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createBackplaneClient } from '../../src/wire/grpc/rpc.js';
import { until } from '../../test/harness/until.js';
import { Fleet, SYNTHETIC } from '../measuring/fleet.js';
import { cpuSeconds, residentMiB } from '../measuring/process-cost.js';
import { type Row, report, round } from '../measuring/report.js';

/** Subscriptions of one client process. */
const PER_CLIENT = 1_250;
/** Events of a node in a second, so that filters are tried. */
const NODE_EVENTS_PER_SECOND = '10';
/** Until garbage of the arrival is collected, and clients and agents are quiet. */
const SETTLE_MS = 20_000;

interface Task {
  readonly way: 'ndjson' | 'sse' | 'grpc';
  readonly address: string;
  readonly token: string;
  readonly from: number;
  readonly count: number;
  readonly filters: number;
  readonly streamsPerConnection: number;
}

function filterOf(number: number, filters: number): string {
  return `process.executable.path == "/opt/nothing/that-runs-${number % filters}" && process.user.id == 0`;
}

/** Opens its subscriptions, says how many were accepted when all are, and keeps them. */
async function beClient(task: Task): Promise<void> {
  let accepted = 0;
  let bytes = 0;
  const told = new Promise<void>((resolve) => {
    const one = () => {
      if (++accepted === task.count) resolve();
    };
    const numbers = Array.from({ length: task.count }, (_, at) => task.from + at);
    const heard = (length: number) => {
      bytes += length;
    };
    if (task.way === 'grpc') byGrpc(task, numbers, one);
    else for (const number of numbers) byHttp(task, number, one, heard);
  });
  await told;
  console.log(JSON.stringify({ accepted }));
  process.on('SIGUSR1', () => console.log(JSON.stringify({ bytes })));
}

function byGrpc({ address, token, filters, streamsPerConnection }: Task, numbers: number[], one: () => void): void {
  for (let at = 0; at < numbers.length; at += streamsPerConnection) {
    const client = createBackplaneClient(address, token);
    for (const number of numbers.slice(at, at + streamsPerConnection)) {
      const call = client.subscribe({ topics: ['process'], filter: filterOf(number, filters), follow: true }, {});
      call.once('data', one);
      call.on('data', () => undefined);
      call.on('error', fail);
    }
  }
}

const EVERY_OWN = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });

function byHttp(
  { address, token, filters, way }: Task,
  number: number,
  one: () => void,
  heard: (bytes: number) => void,
): void {
  const query = new URLSearchParams({ topic: 'process', filter: filterOf(number, filters), follow: 'true' });
  const accept = way === 'sse' ? 'text/event-stream' : 'application/x-ndjson';
  const asked = request(`http://${address}/v1/events?${query}`, {
    agent: EVERY_OWN,
    headers: { authorization: `Bearer ${token}`, accept },
  });
  asked.on('error', fail);
  asked.on('response', (response) => {
    if (response.statusCode !== 200) fail(new Error(`status ${response.statusCode}`));
    let text = '';
    let isAccepted = false;
    response.setEncoding('utf8').on('data', (piece: string) => {
      heard(piece.length);
      if (isAccepted) return;
      text += piece;
      if (!text.includes('accepted')) return;
      isAccepted = true;
      text = '';
      one();
    });
    response.on('end', () => fail(new Error('the stream ended')));
  });
  asked.end();
}

function fail(cause: Error): never {
  console.error(cause.message);
  process.exit(1);
}

class Crowd {
  readonly #children: ChildProcess[] = [];

  /** Resolves when all are accepted. */
  static async come(tasks: readonly Task[]): Promise<Crowd> {
    const crowd = new Crowd();
    const all = tasks.map(async (task) => {
      const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'client', JSON.stringify(task)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      crowd.#children.push(child);
      const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
      const first = await lines.next();
      if (first.done === true) throw new Error(`a client by ${task.way} ended`);
    });
    await Promise.all(all);
    return crowd;
  }

  async leave(): Promise<void> {
    for (const child of this.#children) {
      child.kill('SIGTERM');
      await once(child, 'close');
    }
  }
}

/** Tasks for so many subscriptions: a half by gRPC, a quarter each of lines and server-sent events. */
function tasksFor(fleet: Fleet, count: number, filters: number, streamsPerConnection: number): Task[] {
  const tasks: Task[] = [];
  const ways = [
    ['grpc', count / 2],
    ['ndjson', count / 4],
    ['sse', count / 4],
  ] as const;
  let from = 0;
  for (const [way, wanted] of ways) {
    for (let left = Math.round(wanted); left > 0; left -= PER_CLIENT) {
      const own = Math.min(left, PER_CLIENT);
      const address = way === 'grpc' ? fleet.grpc : fleet.http;
      tasks.push({ way, address, token: fleet.token, from, count: own, filters, streamsPerConnection });
      from += own;
    }
  }
  return tasks;
}

async function main(count: number, filters: number, nodes: number, streams: number, seconds: number): Promise<void> {
  const fleet = await Fleet.start();
  const rows: Row[] = [];
  try {
    await until('the broker', () =>
      fetch(`http://${fleet.http}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      ),
    );
    const agents = Array.from({ length: nodes }, (_, at) =>
      fleet.agent(`node-${at}`, {
        ...SYNTHETIC,
        BACKPLANE_NODE_NAME: `node-${at}`,
        BACKPLANE_SYNTHETIC_RATE: NODE_EVENTS_PER_SECOND,
      }),
    );
    await until('the nodes', async () => ((await fleet.get('/v1/nodes')) as { nodes: object[] }).nodes.length === nodes);
    const broker = fleet.commands[0]!.child.pid!;
    const pids = agents.map(({ child }) => child.pid!);
    const measure = async (name: string, subscriptions: number, arrivedMs: number) => {
      await sleep(SETTLE_MS);
      const before = { broker: cpuSeconds(broker), agents: pids.map(cpuSeconds) };
      await sleep(seconds * 1000);
      const cpu = ((cpuSeconds(broker) - before.broker) / seconds) * 100;
      const each = pids.map((pid, at) => ((cpuSeconds(pid) - before.agents[at]!) / seconds) * 100);
      const agentsCpu = each.reduce((sum, one) => sum + one, 0) / nodes;
      const resident = residentMiB(broker);
      const first = Number(rows[0]?.['broker MiB'] ?? resident);
      rows.push({
        state: name,
        subscriptions,
        'broker MiB': round(resident, 1),
        'KiB each': subscriptions < 2 ? 0 : round(((resident - first) * 1024) / subscriptions, 1),
        'broker CPU %': round(cpu, 2),
        'an agent CPU %': round(agentsCpu, 2),
        'an agent MiB': round(pids.reduce((sum, pid) => sum + residentMiB(pid), 0) / nodes, 1),
        'all accepted after s': round(arrivedMs / 1000, 1),
      });
      console.error(rows.at(-1));
    };
    const come = async (tasks: readonly Task[]) => {
      const began = performance.now();
      const crowd = await Crowd.come(tasks);
      return { crowd, ms: performance.now() - began };
    };
    // What the first subscription loads and compiles is no subscription's.
    await (await come(tasksFor(fleet, 4, 1, streams))).crowd.leave();
    await measure('nobody', 0, 0);
    const one = await come([{ ...tasksFor(fleet, 4, 1, streams)[0]!, count: 1 }]);
    await measure('one', 1, one.ms);
    await one.crowd.leave();
    const all = await come(tasksFor(fleet, count, filters, streams));
    await measure('all', count, all.ms);
    if (process.env.SNAPSHOT !== undefined) process.kill(broker, 'SIGUSR2');
    const asked = performance.now();
    const { subscriptions } = (await fleet.get('/v1/subscriptions')) as { subscriptions: object[] };
    const listed = { page: subscriptions.length, ms: round(performance.now() - asked, 1) };
    await all.crowd.leave();
    report('idle subscriptions', rows, { count, filters, nodes, streams, seconds, listed });
  } finally {
    await fleet.destroy();
  }
}

const [, , role, ...given] = process.argv;
if (role === 'client') await beClient(JSON.parse(given[0]!) as Task);
else {
  const [filters = 500, nodes = 10, streams = 1, seconds = 60] = given.map(Number);
  await main(Number(role ?? 5_000), filters, nodes, streams, seconds);
}

/**
 * What idle subscriptions cost a broker: thousands of them with some hundred filters that match nothing, to synthetic
 * agents that make a few events a second. A half comes by gRPC, a quarter each as lines and as server-sent events, each of
 * these on a connection of its own. Clients and agents are processes of their own, so that the broker's memory and CPU are
 * measured alone: with nobody, with one subscription, and with all of them.
 *
 *   node dist/bench/scenarios/idle-subscriptions.js [subscriptions] [filters] [nodes] [streams on a gRPC connection] [seconds]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createBackplaneClient } from '../../src/wire/grpc/rpc.js';
import { until } from '../../test/harness/until.js';
import { Fleet, SYNTHETIC } from '../measuring/fleet.js';
import { cpuSeconds, residentMiB } from '../measuring/process-cost.js';
import { type Row, report, round } from '../measuring/report.js';

/** Subscriptions of one client process, and how many of them come at once. */
const PER_CLIENT = 1_250;
const AT_ONCE = 32;
/** Events of a node in a second, so that filters are tried. */
const NODE_EVENTS_PER_SECOND = '10';
/** Until garbage of the arrival is collected, and clients and agents are quiet. */
const SETTLE_MS = 15_000;

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

/** Opens its subscriptions, some at once, says when all are accepted, and keeps them. */
async function beClient(task: Task): Promise<void> {
  const numbers = Array.from({ length: task.count }, (_, at) => task.from + at).values();
  const open = task.way === 'grpc' ? byGrpc(task) : byHttp(task);
  const some = async () => {
    for (let next = numbers.next(); !next.done; next = numbers.next()) await open(next.value);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  console.log('accepted');
}

/** Resolves when the subscription is accepted. */
type Open = (number: number) => Promise<void>;

function byGrpc({ address, token, filters, streamsPerConnection }: Task): Open {
  const connections = new Map<number, ReturnType<typeof createBackplaneClient>>();
  return async (number) => {
    const at = Math.floor(number / streamsPerConnection);
    const client = connections.get(at) ?? createBackplaneClient(address, token);
    connections.set(at, client);
    const call = client.subscribe({ topics: ['process'], filter: filterOf(number, filters), follow: true }, {});
    call.on('error', fail);
    await once(call, 'data');
    call.resume();
  };
}

function byHttp({ address, token, filters, way }: Task): Open {
  const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });
  const accept = way === 'sse' ? 'text/event-stream' : 'application/x-ndjson';
  return async (number) => {
    const query = new URLSearchParams({ topic: 'process', filter: filterOf(number, filters), follow: 'true' });
    const asked = request(`http://${address}/v1/events?${query}`, {
      agent,
      headers: { authorization: `Bearer ${token}`, accept },
    });
    asked.on('error', fail);
    asked.end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    if (response.statusCode !== 200) fail(new Error(`status ${response.statusCode}`));
    response.on('end', () => fail(new Error('the stream ended')));
    let text = '';
    response.setEncoding('utf8');
    while (!text.includes('accepted')) text += String((await once(response, 'data'))[0]);
    response.resume();
  };
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

interface Arrival {
  readonly seconds: number;
  readonly cpu: number;
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
    await until(
      'the nodes',
      async () => ((await fleet.get('/v1/nodes')) as { nodes: object[] }).nodes.length === nodes,
    );
    const broker = fleet.commands[0]!.child.pid!;
    const pids = agents.map(({ child }) => child.pid!);
    const measure = async (name: string, subscriptions: number, arrival: Arrival) => {
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
        'all accepted after s': round(arrival.seconds, 1),
        'broker CPU s until then': round(arrival.cpu, 1),
      });
      console.error(rows.at(-1));
    };
    const come = async (tasks: readonly Task[]) => {
      const [began, cpu] = [performance.now(), cpuSeconds(broker)];
      const crowd = await Crowd.come(tasks);
      return { crowd, arrival: { seconds: (performance.now() - began) / 1000, cpu: cpuSeconds(broker) - cpu } };
    };
    // What the first subscription loads and compiles is no subscription's.
    await (await come(tasksFor(fleet, 4, 1, streams))).crowd.leave();
    await measure('nobody', 0, { seconds: 0, cpu: 0 });
    const one = await come([{ ...tasksFor(fleet, 4, 1, streams)[0]!, count: 1 }]);
    await measure('one', 1, one.arrival);
    await one.crowd.leave();
    const all = await come(tasksFor(fleet, count, filters, streams));
    await measure('all', count, all.arrival);
    const asked = performance.now();
    const { subscriptions } = (await fleet.get('/v1/subscriptions')) as { subscriptions: object[] };
    const listed = { page: subscriptions.length, ms: round(performance.now() - asked, 1) };
    await all.crowd.leave();
    report('idle subscriptions', rows, { count, filters, nodes, streams, seconds, listed });
  } catch (cause) {
    console.error(fleet.commands[0]!.said.slice(-4_000));
    throw cause;
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

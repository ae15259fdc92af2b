/**
 * A fleet on one log: many agents without a kernel, a few hundred a process, each with some events a second, and one
 * subscriber that follows them all. What the broker takes while they come, under load, while others subscribe, and while
 * nothing happens. The agents use the real protocol and gather events as the broker says; latency is from when an event was
 * recorded to when the subscriber has decoded it.
 *
 *   node dist/bench/scenarios/fleet.js [agents] [events a second of each] [seconds of load] [seconds of silence] [processes]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createBackplaneClient } from '../../src/wire/grpc/rpc.js';
import type { SubscribeResponse__Output } from '../../src/wire/messages.js';
import { TestAgent, TestRecorder } from '../../test/harness/broker/test-agent.js';
import { until } from '../../test/harness/until.js';
import { Fleet } from '../measuring/fleet.js';
import { cpuSeconds, residentMiB } from '../measuring/process-cost.js';
import { quantile, report, round } from '../measuring/report.js';

/** As an agent by default, unless the broker says more. */
const LINGER_MS = 100;
/** As an agent that has had nothing to tell for a while. */
const COVERAGE_MS = 4_000;
const WINDOW_MS = 5_000;
const CLAIMS = 60;
const CONNECT_AT_ONCE = 25;

interface Task {
  readonly address: string;
  readonly token: string;
  readonly from: number;
  readonly count: number;
  readonly eventsPerSecond: number;
  /** Milliseconds since 1970 from which events count their time, in the field `pid`. */
  readonly baseMs: number;
}

type Told = { readonly kind: 'ready' } | { readonly kind: 'made'; readonly events: number };

/** Connects its agents, then publishes until it is told that there is nothing to publish. */
async function beAgents(task: Task): Promise<void> {
  const numbers = Array.from({ length: task.count }, (_, at) => task.from + at).values();
  const agents: TestAgent[] = [];
  const some = async () => {
    for (let next = numbers.next(); !next.done; next = numbers.next()) {
      const recorder = new TestRecorder(`recorder-${next.value}`, 1);
      agents.push(await TestAgent.connect(task.address, `node-${next.value}`, recorder, {}, task.token));
    }
  };
  await Promise.all(Array.from({ length: CONNECT_AT_ONCE }, some));
  let phase = 'idle';
  let made = 0;
  process.on('message', (message) => {
    if (message === 'made') process.send!({ kind: 'made', events: made } satisfies Told);
    else phase = message as string;
  });
  process.send!({ kind: 'ready' } satisfies Told);
  for (const [index, agent] of agents.entries()) void run(agent, index);

  async function run(agent: TestAgent, index: number): Promise<void> {
    // Agents were not started at one moment.
    await sleep((index * 37) % 1_000);
    let owed = 0;
    for (let lastMs = performance.now(); agent.ended === undefined; ) {
      const lingerMs = Math.max(LINGER_MS, agent.leastLingers.at(-1) ?? 0);
      await sleep(phase === 'load' ? lingerMs : COVERAGE_MS / 8);
      const nowMs = performance.now();
      if (phase === 'load') owed += ((nowMs - lastMs) * task.eventsPerSecond) / 1000;
      else if (nowMs - lastMs < COVERAGE_MS) continue;
      lastMs = nowMs;
      for (; owed >= 1; owed--, made++) agent.recorder.record('process.exec', Date.now() - task.baseMs, 'bench');
      // Nobody asks for it: frames then say that there was nothing.
      if (phase !== 'load') agent.recorder.record('network.tcp.connect', 1);
      agent.publish();
      agent.recorder.events.splice(0, agent.recorder.events.length - 1);
    }
    console.error(`${agent.node}: ${agent.ended}`);
  }
}

class Agents {
  readonly #children: ChildProcess[];

  constructor(children: ChildProcess[]) {
    this.#children = children;
  }

  /** Resolves when all are connected. */
  static async come(tasks: readonly Task[]): Promise<Agents> {
    const children = tasks.map((task) => fork(fileURLToPath(import.meta.url), ['agents', JSON.stringify(task)]));
    await Promise.all(children.map((child) => once(child, 'message')));
    return new Agents(children);
  }

  say(phase: 'load' | 'idle'): void {
    for (const child of this.#children) child.send(phase);
  }

  /** Events recorded so far. */
  async made(): Promise<number> {
    const told = this.#children.map(async (child) => {
      const answer = once(child, 'message');
      child.send('made');
      return ((await answer)[0] as { events: number }).events;
    });
    return (await Promise.all(told)).reduce((sum, events) => sum + events, 0);
  }

  async leave(): Promise<void> {
    for (const child of this.#children) {
      child.kill('SIGTERM');
      await once(child, 'close');
    }
  }
}

/** Follows all nodes, and keeps how late events were. */
class Reader {
  received = 0;
  gaps = 0;
  latenciesMs: number[] = [];
  readonly #client;

  constructor(address: string, token: string, baseMs: number) {
    this.#client = createBackplaneClient(address, token);
    const call = this.#client.subscribe({ topics: ['process'], follow: true, lagPolicy: 'keep' }, {});
    call.on('error', (error) => console.error(`subscriber: ${error.message}`));
    call.on('data', ({ events, gap }: SubscribeResponse__Output) => {
      const nowMs = Date.now() - baseMs;
      if (gap) this.gaps++;
      this.received += events?.events.length ?? 0;
      for (const { process: made } of events?.events ?? []) this.latenciesMs.push(nowMs - (made?.pid ?? 0));
    });
  }

  takeLatencies(): number[] {
    const taken = this.latenciesMs;
    this.latenciesMs = [];
    return taken;
  }

  close(): void {
    this.#client.close();
  }
}

/** How long a subscription with a filter of its own takes until it is accepted, one after the other. */
async function claims(address: string, token: string): Promise<number[]> {
  const client = createBackplaneClient(address, token);
  const tookMs: number[] = [];
  for (let at = 0; at < CLAIMS; at++) {
    const beganMs = performance.now();
    const filter = `process.executable.path == "/opt/nothing/that-runs-${at}"`;
    const call = client.subscribe({ topics: ['process'], filter, follow: true }, {});
    call.on('error', () => undefined);
    await once(call, 'data');
    tookMs.push(performance.now() - beganMs);
    call.cancel();
  }
  client.close();
  return tookMs;
}

function slopePerMinute(samples: readonly number[], everyMs: number): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const times = samples.map((_, at) => (at * everyMs) / 60_000);
  const [meanTime, meanValue] = [mean(times), mean(samples)];
  const products = samples.map((value, at) => (times[at]! - meanTime) * (value - meanValue));
  return mean(products) / mean(times.map((time) => (time - meanTime) ** 2));
}

interface Plan {
  readonly agents: number;
  /** Events a second of each agent. */
  readonly rate: number;
  readonly seconds: number;
  readonly silent: number;
  readonly processes: number;
}

/** CPU of a broker in percent of a core, for so long. */
async function cpuOver(pid: number, seconds: number): Promise<number> {
  const before = cpuSeconds(pid);
  await sleep(seconds * 1000);
  return round(((cpuSeconds(pid) - before) / seconds) * 100, 2);
}

function tasksOf({ agents, rate, processes }: Plan, address: string, token: string, baseMs: number): Task[] {
  const count = Math.ceil(agents / processes);
  return Array.from({ length: processes }, (_, at) => {
    const from = at * count;
    return { address, token, from, count: Math.min(count, agents - from), eventsPerSecond: rate, baseMs };
  });
}

/** Until all that was made is delivered, or a minute is over. */
async function underLoad(
  { seconds }: Plan,
  pid: number,
  agents: Agents,
  reader: Reader,
  claim: () => Promise<number[]>,
) {
  agents.say('load');
  await sleep(2 * WINDOW_MS);
  reader.takeLatencies();
  const resident: number[] = [];
  const latencies: number[] = [];
  const [cpuBefore, receivedBefore] = [cpuSeconds(pid), reader.received];
  const windows = Math.max(2, Math.round((seconds * 1000) / WINDOW_MS));
  for (let window = 0; window < windows; window++) {
    await sleep(WINDOW_MS);
    resident.push(residentMiB(pid));
    const own = reader.takeLatencies();
    latencies.push(...own.filter((_, index) => index % 20 === 0));
    const late = { p50: quantile(own, 0.5), p99: quantile(own, 0.99) };
    console.error({ window, events: own.length, ...late, MiB: round(resident.at(-1)!, 1) });
  }
  const tookSeconds = (windows * WINDOW_MS) / 1000;
  const cpu = ((cpuSeconds(pid) - cpuBefore) / tookSeconds) * 100;
  const eventsPerSecond = (reader.received - receivedBefore) / tookSeconds;
  const claimedMs = await claim();
  agents.say('idle');
  const made = await agents.made();
  const stoppedMs = performance.now();
  while (reader.received < made && performance.now() - stoppedMs < 60_000) await sleep(50);
  return {
    'events/s': Math.round(eventsPerSecond),
    'made, missing': `${made}, ${made - reader.received}`,
    gaps: reader.gaps,
    'delivery p50 / p99 ms': `${quantile(latencies, 0.5)} / ${quantile(latencies, 0.99)}`,
    'lag at the end s': round((performance.now() - stoppedMs) / 1000, 1),
    'broker CPU %': round(cpu, 1),
    'MiB at the end': round(resident.at(-1)!, 1),
    'MiB/min': round(slopePerMinute(resident.slice(windows >> 1), WINDOW_MS), 2),
    'loaded claim p50 / p99 ms': quantiles(claimedMs),
  };
}

const quantiles = (values: readonly number[]) => [0.5, 0.99].map((q) => Math.round(quantile(values, q))).join(' / ');

async function main(plan: Plan): Promise<void> {
  const fleet = await Fleet.start();
  const isReady = () =>
    fetch(`http://${fleet.http}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
  let agents: Agents | undefined;
  try {
    await until('the broker', isReady);
    const pid = fleet.commands[0]!.child.pid!;
    const baseMs = Date.now() - 1;
    const { token, grpc } = fleet;
    const reader = new Reader(grpc, token, baseMs);
    await sleep(3_000);
    const alone = residentMiB(pid);
    const cameMs = performance.now();
    agents = await Agents.come(tasksOf(plan, grpc, token, baseMs));
    const arrivalSeconds = (performance.now() - cameMs) / 1000;
    await sleep(10_000);
    const connected = residentMiB(pid);
    const idleCpu = await cpuOver(pid, plan.silent);
    const claimedMs = await claims(grpc, token);
    const loaded = await underLoad(plan, pid, agents, reader, () => claims(grpc, token));
    const row = {
      agents: plan.agents,
      ...loaded,
      'idle CPU %': idleCpu,
      'KiB an agent': round(((connected - alone) * 1024) / plan.agents, 1),
      'claim p50 / p99 ms': quantiles(claimedMs),
      'all came after s': round(arrivalSeconds, 1),
    };
    report('a fleet on one broker', [row], { ...plan });
    reader.close();
  } finally {
    await agents?.leave();
    await fleet.destroy();
  }
}

const [, , role, ...given] = process.argv;
if (role === 'agents') await beAgents(JSON.parse(given[0]!) as Task);
else {
  const [rate = 20, seconds = 600, silent = 30, processes = 4] = given.map(Number);
  await main({ agents: Number(role ?? 1_000), rate, seconds, silent, processes });
}

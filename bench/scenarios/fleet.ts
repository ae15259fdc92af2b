/**
 * A fleet on one log: many agents without a kernel, a few hundred a process, each with some events a second, and one
 * subscriber that follows them all, on one broker or two on NATS. What the brokers take while they come, under load, while others subscribe, and while
 * nothing happens. The agents use the real protocol and gather events as the broker says; latency is from when an event was
 * due to when the subscriber has decoded it, so that how long it was gathered counts.
 *
 *   node dist/bench/scenarios/fleet.js [agents] [events a second of each] [seconds of load] [seconds of silence] [processes] \
 *     [servers of NATS: 0, 1 or 3] [subscriptions that are begun, idle and under load]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createBackplaneClient } from '../../src/wire/grpc/rpc.js';
import type { SubscribeResponse__Output } from '../../src/wire/messages.js';
import { TestAgent, TestRecorder } from '../../test/harness/broker/test-agent.js';
import { quantile, report, round } from '../measuring/report.js';
import { Site, type SiteBroker } from '../measuring/site.js';

/** As an agent by default, unless the broker says more. */
const LINGER_MS = 100;
/** As an agent that has had nothing to tell for a while. */
const COVERAGE_MS = 4_000;
/** Messages of an agent that its connection has not taken: beyond it events gather. */
const UNSENT_MAX = 4;
const WINDOW_MS = 5_000;
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
      // As a real agent gathers while its connection takes nothing.
      if (agent.unsent > UNSENT_MAX) continue;
      const untilMs = Date.now() - task.baseMs;
      // Each happened when it was due, and then was gathered.
      for (; owed >= 1; owed--, made++) {
        const pid = Math.max(0, Math.round(untilMs - ((owed - 1) * 1000) / task.eventsPerSecond));
        agent.recorder.record('process.exec', pid, 'bench');
      }
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

/** How long a subscription with a filter that nobody has had takes until it is accepted, one after the other. */
async function claims(address: string, token: string, count: number, when: string): Promise<number[]> {
  const client = createBackplaneClient(address, token);
  const tookMs: number[] = [];
  for (let at = 0; at < count; at++) {
    const beganMs = performance.now();
    const filter = `process.executable.path == "/opt/${when}/program-${at}"`;
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
  readonly servers: 0 | 1 | 3;
  readonly claims: number;
}

/** What is used meanwhile, in percent of a core, and the messages of NATS a second. */
async function usedOver(site: Site, during: () => Promise<void>) {
  const [cpu, messages, beganMs] = [site.cpu(), await site.messages(), performance.now()];
  await during();
  const seconds = (performance.now() - beganMs) / 1000;
  const [after, sent] = [site.cpu(), await site.messages()];
  const percent = (to: number, from: number) => round(((to - from) / seconds) * 100, 1);
  return {
    brokers: percent(after.brokers, cpu.brokers),
    servers: percent(after.servers, cpu.servers),
    messages: Math.round((sent - messages) / seconds),
    seconds,
  };
}

function tasksOf({ agents, rate, processes }: Plan, brokers: readonly SiteBroker[], baseMs: number): Task[] {
  const count = Math.ceil(agents / processes);
  return Array.from({ length: processes }, (_, at) => {
    const from = at * count;
    const { grpc: address, token } = brokers[at % brokers.length]!;
    return { address, token, from, count: Math.min(count, agents - from), eventsPerSecond: rate, baseMs };
  });
}

/** Until all that was made is delivered, or a minute is over. */
async function underLoad(
  { seconds }: Plan,
  site: Site,
  agents: Agents,
  reader: Reader,
  claim: () => Promise<number[]>,
) {
  agents.say('load');
  await sleep(2 * WINDOW_MS);
  reader.takeLatencies();
  const resident: number[] = [];
  const latencies: number[] = [];
  const receivedBefore = reader.received;
  const windows = Math.max(2, Math.round((seconds * 1000) / WINDOW_MS));
  const used = await usedOver(site, async () => {
    for (let window = 0; window < windows; window++) {
      await sleep(WINDOW_MS);
      resident.push(site.resident());
      const own = reader.takeLatencies();
      latencies.push(...own.filter((_, index) => index % 20 === 0));
      const late = { p50: quantile(own, 0.5), p99: quantile(own, 0.99) };
      console.error({ window, events: own.length, ...late, MiB: round(resident.at(-1)!, 1) });
    }
  });
  const eventsPerSecond = (reader.received - receivedBefore) / used.seconds;
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
    'brokers / NATS CPU %': `${used.brokers} / ${used.servers}`,
    'MiB at the end': round(resident.at(-1)!, 1),
    'MiB/min': round(slopePerMinute(resident.slice(windows >> 1), WINDOW_MS), 2),
    'loaded claim p50 / p99 ms': quantiles(claimedMs),
  };
}

const quantiles = (values: readonly number[]) => [0.5, 0.99].map((q) => Math.round(quantile(values, q))).join(' / ');

async function main(plan: Plan): Promise<void> {
  const site = await Site.start(plan.servers);
  let agents: Agents | undefined;
  try {
    const baseMs = Date.now() - 1;
    const { grpc, token } = site.brokers[0]!;
    const reader = new Reader(grpc, token, baseMs);
    await sleep(3_000);
    const alone = site.resident();
    const cameMs = performance.now();
    agents = await Agents.come(tasksOf(plan, site.brokers, baseMs));
    const arrivalSeconds = (performance.now() - cameMs) / 1000;
    console.error({ arrivalSeconds });
    await sleep(10_000);
    const connected = site.resident();
    const idle = await usedOver(site, () => sleep(plan.silent * 1000));
    console.error({ idle });
    const claimedMs = await claims(grpc, token, plan.claims, 'idle');
    console.error({ claims: quantiles(claimedMs) });
    const loaded = await underLoad(plan, site, agents, reader, () => claims(grpc, token, plan.claims, 'loaded'));
    const row = {
      agents: plan.agents,
      ...loaded,
      'idle brokers / NATS CPU %': `${idle.brokers} / ${idle.servers}`,
      'idle NATS messages/s': idle.messages,
      'KiB an agent': round(((connected - alone) * 1024) / plan.agents, 1),
      'claim p50 / p99 ms': quantiles(claimedMs),
      'all came after s': round(arrivalSeconds, 1),
    };
    report(`a fleet on ${plan.servers === 0 ? 'one broker' : 'two brokers on NATS'}`, [row], { ...plan });
    reader.close();
  } finally {
    await agents?.leave();
    await site.destroy();
  }
}

const [, , role, ...given] = process.argv;
if (role === 'agents') await beAgents(JSON.parse(given[0]!) as Task);
else {
  const [rate = 20, seconds = 600, silent = 30, processes = 4, servers = 0, claims = 30] = given.map(Number);
  const plan = { rate, seconds, silent, processes, servers: servers as 0 | 1 | 3, claims };
  await main({ agents: Number(role ?? 1_000), ...plan });
}

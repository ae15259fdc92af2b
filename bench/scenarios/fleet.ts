/**
 * A fleet on one log: many agents without a kernel, a few hundred a process, each with some events a second, and one
 * subscriber that follows them all, on one broker or two on NATS. What the brokers take while they come, while nothing
 * happens, under load, and while others subscribe; with --greatest also how many events a second are carried. Latency is
 * from when an event was due to when the subscriber has decoded it, so that how long it was gathered counts.
 *
 *   node dist/bench/scenarios/fleet.js [--agents 1000] [--rate 20] [--seconds 600] [--silent 30] [--processes 4]
 *     [--servers 0|1|3] [--claims 30] [--greatest]
 *
 * --rate: events a second of each; --servers: of NATS, with two brokers, 0: one broker without; --claims: subscriptions that
 * are begun, idle and under load; --greatest: by bisection, each step of --step seconds.
 */
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client } from '../../src/client/client.js';
import { createBackplaneClient } from '../../src/wire/grpc/rpc.js';
import { Agents, type AgentsTask } from '../measuring/fleet-agents.js';
import { quantile, type Row, report, round } from '../measuring/report.js';
import { Site, type SiteBroker } from '../measuring/site.js';

const WINDOW_MS = 5_000;
/** Of so many events one's latency is kept. */
const SAMPLED = 20;
/** What is carried: no event missing, these at most, and nearly all that was due was made. */
const CARRIED = { lagSeconds: 2, p99Ms: 5_000, madeShare: 0.95 } as const;
const BISECTIONS = 4;

/** Follows all nodes as programs do, and keeps how late events were. */
class Reader {
  received = 0;
  /** Times that its stream broke, and was resumed. */
  breaks = 0;
  /** By reason. */
  readonly gaps = new Map<string, number>();
  #latenciesMs: number[] = [];
  readonly #client: Client;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor({ grpc, token }: SiteBroker, baseMs: number) {
    this.#client = new Client([grpc], () => ({ token, from: 'the broker' }));
    this.#done = this.#follow(baseMs).catch((cause: Error) => console.error(`subscriber: ${cause.message}`));
  }

  async #follow(baseMs: number): Promise<void> {
    const request = { topics: ['process'], follow: true, lagPolicy: 'keep' };
    for await (const item of this.#client.subscribe(request, this.#stop.signal)) {
      const nowMs = Date.now() - baseMs;
      if (item.kind === 'gap') this.gaps.set(item.gap.reason, (this.gaps.get(item.gap.reason) ?? 0) + 1);
      if (item.kind === 'link' && item.cause) {
        this.breaks++;
        console.error(`subscriber: ${item.cause.message}`);
      }
      if (item.kind !== 'events') continue;
      for (const { process: made } of item.batch.events) {
        if (this.received++ % SAMPLED === 0) this.#latenciesMs.push(nowMs - (made?.pid ?? 0));
      }
    }
  }

  takeLatencies(): number[] {
    const taken = this.#latenciesMs;
    this.#latenciesMs = [];
    return taken;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#done;
    this.#client.close();
  }
}

/** How long a subscription with a filter that nobody has had takes until it is accepted, one after the other. */
async function claims({ grpc, token }: SiteBroker, count: number, when: string): Promise<number[]> {
  const client = createBackplaneClient(grpc, token);
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
  /** Seconds of each step by which the greatest rate is looked for; undefined: it is not. */
  readonly step: number | undefined;
}

interface Parties {
  readonly plan: Plan;
  readonly site: Site;
  readonly agents: Agents;
  readonly reader: Reader;
}

/** What is used meanwhile, each process in percent of a core, and the messages of NATS a second. */
async function usedOver(site: Site, during: () => Promise<void>) {
  const [cpu, starved, messages, beganMs] = [site.cpu(), site.starved(), await site.messages(), performance.now()];
  await during();
  const seconds = (performance.now() - beganMs) / 1000;
  const [after, starvedAfter, sent] = [site.cpu(), site.starved(), await site.messages()];
  const percent = (to: readonly number[], from: readonly number[]) =>
    to.map((each, at) => round(((each - from[at]!) / seconds) * 100, 1));
  return {
    brokers: percent(after.brokers, cpu.brokers),
    servers: percent(after.servers, cpu.servers),
    starved: percent(starvedAfter, starved),
    messages: Math.round((sent - messages) / seconds),
    seconds,
  };
}

function tasksOf({ agents, processes }: Plan, brokers: readonly SiteBroker[], baseMs: number): AgentsTask[] {
  const count = Math.ceil(agents / processes);
  return Array.from({ length: processes }, (_, at) => {
    const from = at * count;
    const { grpc: address, token } = brokers[at % brokers.length]!;
    return { address, token, from, count: Math.min(count, agents - from), baseMs };
  });
}

/** Until all that was made is delivered, or a minute is over. */
async function drained({ agents, reader }: Parties) {
  agents.load(0);
  const stoppedMs = performance.now();
  const { events } = await agents.made();
  while (reader.received < events && performance.now() - stoppedMs < 60_000) await sleep(50);
  return { made: events, missing: events - reader.received, lagSeconds: (performance.now() - stoppedMs) / 1000 };
}

/** What all take while others ask for what nobody has asked for, and how late events are then. */
async function whileAsked({ plan, site, agents, reader }: Parties): Promise<Row> {
  reader.takeLatencies();
  const cpu = agents.cpu();
  let claimedMs: number[] = [];
  const used = await usedOver(site, async () => {
    claimedMs = await claims(site.brokers[0]!, plan.claims, 'loaded');
  });
  return {
    'loaded claim p50 / p99 ms': quantiles(claimedMs),
    'meanwhile: seconds': round(used.seconds, 1),
    'meanwhile: delivery p50 / p99 ms': quantiles(reader.takeLatencies()),
    'meanwhile: brokers CPU %': each(used.brokers),
    'meanwhile: waiting for a core %': each(used.starved),
    'meanwhile: NATS CPU %': each(used.servers),
    'meanwhile: agents CPU %': round(((agents.cpu() - cpu) / used.seconds) * 100, 1),
    'meanwhile: NATS messages/s': used.messages,
  };
}

async function underLoad(parties: Parties): Promise<Row> {
  const { plan, site, agents, reader } = parties;
  agents.load(plan.rate);
  await sleep(2 * WINDOW_MS);
  reader.takeLatencies();
  await agents.made();
  const resident: number[][] = [];
  const latencies: number[] = [];
  const [receivedBefore, agentsCpu] = [reader.received, agents.cpu()];
  const windows = Math.max(2, Math.round((plan.seconds * 1000) / WINDOW_MS));
  const used = await usedOver(site, async () => {
    for (let window = 0; window < windows; window++) {
      await sleep(WINDOW_MS);
      resident.push(site.resident());
      const own = reader.takeLatencies();
      latencies.push(...own);
      const late = { p50: quantile(own, 0.5), p99: quantile(own, 0.99) };
      console.error({ window, events: own.length * SAMPLED, ...late, MiB: each(resident.at(-1)!), load: loadavg()[0] });
    }
  });
  const { gatheredMs, lingerMs } = await agents.made();
  const eventsPerSecond = (reader.received - receivedBefore) / used.seconds;
  const brokersCpu = used.brokers.reduce((sum, percent) => sum + percent, 0);
  const agentsPercent = ((agents.cpu() - agentsCpu) / used.seconds) * 100;
  const asked = await whileAsked(parties);
  const { made, missing, lagSeconds } = await drained(parties);
  const slopes = site.brokers.map((_, at) => {
    const own = resident.slice(windows >> 1).map((sizes) => sizes[at]!);
    return slopePerMinute(own, WINDOW_MS);
  });
  return {
    'events/s': Math.round(eventsPerSecond),
    'made, missing': `${made}, ${missing}`,
    resumed: reader.breaks,
    gaps: [...reader.gaps].map(([reason, count]) => `${count} ${reason}`).join(', ') || 0,
    'delivery p50 / p99 ms': quantiles(latencies),
    'of which gathered': quantiles(gatheredMs),
    'told to gather ms': lingerMs,
    'lag at the end s': round(lagSeconds, 1),
    'brokers CPU %': each(used.brokers),
    'waiting for a core %': each(used.starved),
    'NATS CPU %': each(used.servers),
    'agents CPU %': round(agentsPercent, 1),
    'NATS messages/s': used.messages,
    'CPU an agent, us/s': Math.round((brokersCpu / plan.agents) * 10_000),
    'MiB at the end': each(resident.at(-1)!),
    'MiB/min': each(slopes),
    ...asked,
  };
}

/** Whether a rate is carried, in events a second of each agent. */
async function carries(parties: Parties, rate: number): Promise<boolean> {
  const { plan, site, agents, reader } = parties;
  const seconds = plan.step!;
  agents.load(rate);
  // Until nodes gather as long as brokers then want it.
  await sleep(3 * WINDOW_MS);
  reader.takeLatencies();
  const before = await agents.made();
  const used = await usedOver(site, () => sleep(seconds * 1000));
  const after = await agents.made();
  const p99 = quantile(reader.takeLatencies(), 0.99);
  const { missing, lagSeconds } = await drained(parties);
  const madeShare = (after.events - before.events) / (used.seconds * rate * plan.agents);
  const isSoon = lagSeconds <= CARRIED.lagSeconds && p99 <= CARRIED.p99Ms;
  const isCarried = missing === 0 && isSoon && madeShare >= CARRIED.madeShare;
  const { brokers, servers } = used;
  const told = { p99, missing, lagSeconds: round(lagSeconds, 1), madeShare: round(madeShare), brokers, servers };
  console.error(JSON.stringify({ eventsPerSecond: rate * plan.agents, isCarried, ...told, load: loadavg()[0] }));
  return isCarried;
}

/** The greatest rate that is carried, in events a second of all agents. */
async function greatest(parties: Parties): Promise<Row> {
  const { agents, rate } = parties.plan;
  let [carried, tooMuch] = [0, rate];
  while (await carries(parties, tooMuch)) [carried, tooMuch] = [tooMuch, tooMuch * 2];
  for (let step = 0; step < BISECTIONS; step++) {
    const middle = (carried + tooMuch) / 2;
    if (await carries(parties, middle)) carried = middle;
    else tooMuch = middle;
  }
  return { 'carried events/s': carried * agents, 'not carried': tooMuch * agents };
}

const quantiles = (values: readonly number[]) => [0.5, 0.99].map((q) => Math.round(quantile(values, q))).join(' / ');
const each = (values: readonly number[]) => values.map((value) => round(value, 1)).join(' + ') || 0;

async function main(plan: Plan): Promise<void> {
  const site = await Site.start(plan.servers);
  let agents: Agents | undefined;
  try {
    const baseMs = Date.now() - 1;
    const reader = new Reader(site.brokers[0]!, baseMs);
    await sleep(3_000);
    const total = () => site.resident().reduce((sum, MiB) => sum + MiB, 0);
    const alone = total();
    const cameMs = performance.now();
    agents = await Agents.come(tasksOf(plan, site.brokers, baseMs));
    const arrivalSeconds = (performance.now() - cameMs) / 1000;
    console.error({ arrivalSeconds });
    await sleep(10_000);
    const connected = total();
    const idle = await usedOver(site, () => sleep(plan.silent * 1000));
    console.error({ idle });
    const claimedMs = await claims(site.brokers[0]!, plan.claims, 'idle');
    const parties = { plan, site, agents, reader };
    const row = {
      agents: plan.agents,
      ...(plan.seconds > 0 ? await underLoad(parties) : {}),
      ...(plan.step === undefined ? {} : await greatest(parties)),
      'idle brokers CPU %': each(idle.brokers),
      'idle NATS CPU %': each(idle.servers),
      'idle NATS messages/s': idle.messages,
      'KiB an agent': round(((connected - alone) * 1024) / plan.agents, 1),
      'claim p50 / p99 ms': quantiles(claimedMs),
      'all came after s': round(arrivalSeconds, 1),
      'load of the machine': each(loadavg()),
    };
    const where = plan.servers === 0 ? 'one broker' : `two brokers on ${plan.servers} NATS`;
    // A table of so many columns is wider than any terminal.
    report(
      `a fleet on ${where}`,
      Object.entries(row).map(([what, value]) => ({ what, value })),
      { ...plan },
    );
    for (const line of site.warnings()) console.error(line);
    await reader.close();
  } finally {
    await agents?.leave();
    await site.destroy();
  }
}

const number = (byDefault: number) => ({ type: 'string', default: String(byDefault) }) as const;
const { values } = parseArgs({
  options: {
    agents: number(1_000),
    rate: number(20),
    seconds: number(600),
    silent: number(30),
    processes: number(4),
    servers: number(0),
    claims: number(30),
    step: number(20),
    greatest: { type: 'boolean', default: false },
  },
});
const { greatest: looks, servers, ...given } = values;
const numbers = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, Number(value)]));
const plan = { ...numbers, servers: Number(servers), step: looks ? numbers.step : undefined } as unknown as Plan;
await main(plan);

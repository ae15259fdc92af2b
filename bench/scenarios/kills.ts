/**
 * kill -9, again and again: of the broker under a load of system calls and execs, or of an agent that records a loop of
 * execs. What is missing and what comes twice at a subscriber of execs that resumes by its cursor, and how long until it
 * gets events again.
 *
 *   node dist/bench/scenarios/kills.js broker [kills] [events a second] [of so many, one is an exec]
 *   node dist/bench/scenarios/kills.js agent [kills]                                                    as root
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../src/client/client.js';
import { positionFromMessage } from '../../src/wire/messages.js';
import { positionText } from '../../src/wire/position.js';
import { sequenceNumber } from '../../test/harness/bus/numbered.js';
import { Cluster } from '../../test/harness/cluster/driver.js';
import { Numbers } from '../../test/harness/oracle/received.js';
import { Fleet } from '../measuring/fleet.js';
import { median, report, round } from '../measuring/report.js';

const BETWEEN_MS = 4_000;
const QUIET_MS = 1_500;
const [whom = 'broker'] = process.argv.slice(2);
const kills = Number(process.argv[3] ?? 50);
/** All of them made, recorded and matched by one process, beside the broker and the subscriber. */
const eventsPerSecond = Number(process.argv[4] ?? 50_000);
const execShare = Number(process.argv[5] ?? 25);
const EXECS = { topics: ['process'], filter: 'event.type == "process.exec"' };

async function brokerKills() {
  const cluster = await Cluster.start({ BACKPLANE_LOG_BYTES_MAX: '16GiB' });
  const client = cluster.client();
  const stop = new AbortController();
  try {
    const mix = execShare === 1 ? 'numbered=1' : `numbered=1,syscall=${execShare - 1}`;
    await cluster.agent({ name: 'loud', nodes: 1, eventsPerSecond, mix });
    const numbers = new Map<string, Numbers>();
    let [events, twice, lastMs] = [0, 0, performance.now()];
    const done = (async () => {
      for await (const item of client.subscribe({ ...EXECS, follow: true }, stop.signal)) {
        if (item.kind !== 'events') continue;
        lastMs = performance.now();
        const { node, events: batch } = item.batch;
        const own = numbers.get(node) ?? new Numbers();
        numbers.set(node, own);
        for (const { process } of batch) {
          events += 1;
          const number = sequenceNumber(process?.commandArgs);
          if (number !== undefined && !own.add(number)) twice += 1;
        }
      }
    })().catch((cause) => console.error(cause));
    await sleep(8_000);
    const { broker } = cluster;
    const backMs = await killAgainAndAgain(
      BETWEEN_MS,
      () => broker.end('SIGKILL'),
      () => broker.start(),
      () => lastMs,
    );
    await sleep(10_000);
    for (const agent of cluster.agents) await agent.end('SIGTERM');
    while (performance.now() - lastMs < QUIET_MS) await sleep(100);
    stop.abort();
    await done;
    // It began where it was subscribed; from there on nothing may be missing.
    const missing = [...numbers.values()].reduce((sum, own) => sum + (own.max - own.min + 1 - own.count), 0);
    return {
      killed: 'broker',
      'events/s asked': eventsPerSecond,
      kills,
      'events delivered': events,
      missing,
      twice,
      ...backAfter(backMs),
    };
  } finally {
    client.close();
    await cluster.destroy();
  }
}

/** The positions of one subscriber's execs, live, and how many of them came twice. */
class LiveExecs {
  readonly positions = new Set<string>();
  twice = 0;
  lastMs = performance.now();

  async follow(client: Client, signal: AbortSignal): Promise<void> {
    for await (const item of client.subscribe({ ...EXECS, follow: true }, signal)) {
      if (item.kind !== 'events') continue;
      this.lastMs = performance.now();
      for (const { position } of item.batch.events) {
        const name = positionText(positionFromMessage('position', position!));
        if (this.positions.has(name)) this.twice += 1;
        this.positions.add(name);
      }
    }
  }
}

/** Asks the recorder for the same execs: what it has and the live subscriber did not get is missing. */
async function compareWithRecorded(client: Client, since: string, live: LiveExecs, signal: AbortSignal) {
  let [missing, recorded, unknown] = [0, 0, 0];
  for await (const item of client.subscribe({ ...EXECS, since }, signal)) {
    if (item.kind === 'coverage')
      unknown = item.coverage.nodes.filter(({ lostUnknown, lost }) => lostUnknown || lost !== '0').length;
    if (item.kind !== 'events') continue;
    for (const { position } of item.batch.events) {
      recorded += 1;
      if (!live.positions.has(positionText(positionFromMessage('position', position!)))) missing += 1;
    }
  }
  return { missing, recorded, kernelLost: unknown > 0 };
}

async function agentKills() {
  const fleet = await Fleet.start();
  const start = () =>
    fleet.agent('node', {
      BACKPLANE_NODE_NAME: 'node',
      BACKPLANE_BUDGET_LIVE_BYTES: '1GiB',
      BACKPLANE_BUDGET_LIVE_EVENTS: '1000000',
    });
  let agent = start();
  let load: ChildProcess | undefined;
  const client = fleet.client();
  const stop = new AbortController();
  try {
    await sleep(5_000);
    const live = new LiveExecs();
    const done = live.follow(client, stop.signal).catch((cause) => console.error(cause));
    await sleep(2_000);
    const since = new Date().toISOString();
    load = spawn('/bin/sh', ['-c', 'i=0; while :; do /bin/true $i; i=$((i+1)); done'], { stdio: 'ignore' });
    const backMs = await killAgainAndAgain(
      BETWEEN_MS / 2,
      () => agent.stop('SIGKILL'),
      () => {
        agent = start();
      },
      () => live.lastMs,
    );
    await sleep(2_000);
    load.kill('SIGKILL');
    while (performance.now() - live.lastMs < QUIET_MS) await sleep(100);
    const { missing, recorded, kernelLost } = await compareWithRecorded(client, since, live, stop.signal);
    stop.abort();
    await done;
    return {
      killed: 'agent',
      kills,
      'events recorded': recorded,
      missing,
      twice: live.twice,
      ...backAfter(backMs),
      'kernel lost': kernelLost ? 'yes' : 'no',
    };
  } finally {
    load?.kill('SIGKILL');
    await fleet.destroy();
  }
}

/** Resolves to the milliseconds from each start until the next event came. */
async function killAgainAndAgain(
  betweenMs: number,
  kill: () => Promise<unknown>,
  start: () => void,
  lastEventMs: () => number,
): Promise<number[]> {
  const backMs: number[] = [];
  for (let round = 0; round < kills; round += 1) {
    await sleep(betweenMs);
    await kill();
    const startMs = performance.now();
    start();
    while (lastEventMs() < startMs) await sleep(2);
    backMs.push(lastEventMs() - startMs);
  }
  return backMs;
}

function backAfter(backMs: readonly number[]) {
  return { 'back after, s (median)': round(median(backMs) / 1000), 'at most': round(Math.max(...backMs) / 1000) };
}

if (whom === 'agent') report('kill -9 of the agent under a loop of execs', [await agentKills()]);
else report('kill -9 of the broker under load', [await brokerKills()]);
process.exit(0);

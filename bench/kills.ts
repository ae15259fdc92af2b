/**
 * kill -9, again and again: of the broker under a load of system calls and execs, or of an agent that records a loop of
 * execs. What is missing and what comes twice at a subscriber of execs that resumes by its cursor, and how long until it
 * gets events again.
 *
 *   node dist/bench/kills.js broker [kills] [events a second] [of so many, one is an exec]
 *   node dist/bench/kills.js agent [kills]                                                    as root
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../src/client/client.js';
import { positionFromMessage } from '../src/wire/messages.js';
import { positionText } from '../src/wire/position.js';
import { Command } from '../test/harness/bus/bus.js';
import { credentialIn, tokenFile } from '../test/harness/bus/token.js';
import { Cluster } from '../test/harness/cluster/driver.js';
import { Numbers } from '../test/harness/oracle/received.js';
import { ownAddress } from '../test/harness/own-address.js';
import { median, report, round } from './report.js';

const BETWEEN_MS = 4_000;
const QUIET_MS = 1_500;
const [whom = 'broker'] = process.argv.slice(2);
const kills = Number(process.argv[3] ?? 50);
/** All of them made, recorded and matched by one process, beside the broker and the subscriber. */
const eventsPerSecond = Number(process.argv[4] ?? 50_000);
const execShare = Number(process.argv[5] ?? 25);

async function brokerKills() {
  const cluster = await Cluster.start({ BACKPLANE_LOG_BYTES_MAX: '16GiB' });
  const client = cluster.client();
  const stop = new AbortController();
  try {
    const mix = execShare === 1 ? 'numbered=1' : `numbered=1,syscall=${execShare - 1}`;
    await cluster.agent({ name: 'loud', nodes: 1, eventsPerSecond, mix });
    const request = { follow: true, topics: ['process'], filter: 'event.type == "process.exec"' };
    const numbers = new Map<string, Numbers>();
    let [events, twice, lastMs] = [0, 0, performance.now()];
    const done = (async () => {
      for await (const item of client.subscribe(request, stop.signal)) {
        if (item.kind !== 'events') continue;
        lastMs = performance.now();
        const { node, events: batch } = item.batch;
        const own = numbers.get(node) ?? new Numbers();
        numbers.set(node, own);
        for (const { process } of batch) {
          events += 1;
          const number = Number(/^--sequence=(\d+)$/.exec(process?.commandArgs.at(-1) ?? '')?.[1] ?? Number.NaN);
          if (!Number.isNaN(number) && !own.add(number)) twice += 1;
        }
      }
    })().catch((cause) => console.error(cause));
    await sleep(8_000);
    const backMs: number[] = [];
    for (let kill = 0; kill < kills; kill += 1) {
      await sleep(BETWEEN_MS);
      await cluster.broker.end('SIGKILL');
      const startMs = performance.now();
      cluster.broker.start();
      while (lastMs < startMs) await sleep(2);
      backMs.push(lastMs - startMs);
    }
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
      'back after, s (median)': round(median(backMs) / 1000),
      'at most': round(Math.max(...backMs) / 1000),
    };
  } finally {
    client.close();
    await cluster.destroy();
  }
}

async function agentKills() {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-bench-'));
  const grpc = await ownAddress();
  const broker = new Command(['broker'], {
    BACKPLANE_DATA_DIR: join(dir, 'broker'),
    BACKPLANE_GRPC_LISTEN: grpc,
    BACKPLANE_HTTP_LISTEN: await ownAddress(),
  });
  const start = () =>
    new Command(['agent'], {
      BACKPLANE_DATA_DIR: join(dir, 'agent'),
      BACKPLANE_BROKERS: grpc,
      BACKPLANE_TOKEN_FILE: tokenFile(join(dir, 'broker')),
      BACKPLANE_NODE_NAME: 'node',
      BACKPLANE_BUDGET_LIVE_BYTES: '1GiB',
      BACKPLANE_BUDGET_LIVE_EVENTS: '1000000',
    });
  let agent = start();
  let load: ChildProcess | undefined;
  const client = new Client([grpc], credentialIn(join(dir, 'broker')));
  const stop = new AbortController();
  try {
    await sleep(5_000);
    const request = { topics: ['process'], filter: 'event.type == "process.exec"' };
    const live = new Set<string>();
    let [twice, lastMs] = [0, performance.now()];
    const done = (async () => {
      for await (const item of client.subscribe({ ...request, follow: true }, stop.signal)) {
        if (item.kind !== 'events') continue;
        lastMs = performance.now();
        for (const { position } of item.batch.events) {
          const name = positionText(positionFromMessage('position', position!));
          if (live.has(name)) twice += 1;
          live.add(name);
        }
      }
    })().catch((cause) => console.error(cause));
    await sleep(2_000);
    const since = new Date().toISOString();
    load = spawn('/bin/sh', ['-c', 'i=0; while :; do /bin/true $i; i=$((i+1)); done'], { stdio: 'ignore' });
    const backMs: number[] = [];
    for (let kill = 0; kill < kills; kill += 1) {
      await sleep(BETWEEN_MS / 2);
      await agent.stop('SIGKILL');
      const startMs = performance.now();
      agent = start();
      while (lastMs < startMs) await sleep(2);
      backMs.push(lastMs - startMs);
    }
    await sleep(2_000);
    load.kill('SIGKILL');
    while (performance.now() - lastMs < QUIET_MS) await sleep(100);
    let missing = 0;
    let recorded = 0;
    let unknown = 0;
    for await (const item of client.subscribe({ ...request, since }, stop.signal)) {
      if (item.kind === 'coverage')
        unknown = item.coverage.nodes.filter(({ lostUnknown, lost }) => lostUnknown || lost !== '0').length;
      if (item.kind !== 'events') continue;
      for (const { position } of item.batch.events) {
        recorded += 1;
        if (!live.has(positionText(positionFromMessage('position', position!)))) missing += 1;
      }
    }
    stop.abort();
    await done;
    return {
      killed: 'agent',
      kills,
      'events recorded': recorded,
      missing,
      twice,
      'back after, s (median)': round(median(backMs) / 1000),
      'at most': round(Math.max(...backMs) / 1000),
      'kernel lost': unknown > 0 ? 'yes' : 'no',
    };
  } finally {
    load?.kill('SIGKILL');
    client.close();
    await agent.stop();
    await broker.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

if (whom === 'agent') report('kill -9 of the agent under a loop of execs', [await agentKills()]);
else report('kill -9 of the broker under load', [await brokerKills()]);
process.exit(0);

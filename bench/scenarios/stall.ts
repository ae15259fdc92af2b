/**
 * One of 20 subscribers stops reading: what the others see of it, and what it costs the broker.
 *
 *   node dist/bench/scenarios/stall.js [minutes that it does not read]
 */
import { setMaxListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../src/client/client.js';
import { Cluster } from '../../test/harness/cluster/driver.js';
import { median, quantile, report, round } from '../measuring/report.js';

const SUBSCRIBERS = 20;
const WINDOW_MS = 10_000;
const minutes = Number(process.argv[2] ?? 5);

const cluster = await Cluster.start();
const clients: Client[] = [];
const stop = new AbortController();
setMaxListeners(SUBSCRIBERS * 4, stop.signal);
/** Of all who read, in the present window. */
let latenciesMs: number[] = [];
let stalled = false;
let received = 0;

async function subscribe(index: number): Promise<void> {
  const client = cluster.client();
  clients.push(client);
  for await (const item of client.subscribe({ follow: true, topics: ['process'] }, stop.signal)) {
    if (item.kind !== 'events') continue;
    if (index === 0 && stalled) await sleep(3_600_000, undefined, { signal: stop.signal }).catch(() => undefined);
    const nowMs = Date.now();
    received += item.batch.events.length;
    if (index === 0) continue;
    for (const { time } of item.batch.events) {
      latenciesMs.push(nowMs - Number(time?.seconds ?? 0) * 1000 - (time?.nanos ?? 0) / 1e6);
    }
  }
}

function brokerBytes(): number {
  const status = readFileSync(`/proc/${cluster.broker.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

/** For so long: medians over windows. */
async function measure(phase: string, ms: number) {
  const p99: number[] = [];
  const p50: number[] = [];
  const bytes: number[] = [];
  for (let windows = Math.max(1, Math.round(ms / WINDOW_MS)); windows > 0; windows -= 1) {
    latenciesMs = [];
    for (let sample = 0; sample < 10; sample += 1) {
      await sleep(WINDOW_MS / 10);
      bytes.push(brokerBytes());
    }
    p99.push(quantile(latenciesMs, 0.99));
    p50.push(median(latenciesMs));
  }
  return {
    phase,
    'p50, ms': round(median(p50)),
    'p99, ms': round(median(p99)),
    'broker, MiB (median)': round(median(bytes) / 2 ** 20, 1),
    'at most': round(Math.max(...bytes) / 2 ** 20, 1),
  };
}

try {
  await cluster.agent({ name: 'node', nodes: 4, eventsPerSecond: 500 });
  await sleep(2_000);
  for (let index = 0; index < SUBSCRIBERS; index += 1) void subscribe(index).catch(() => undefined);
  // Code is compiled, heaps have grown to their size.
  await sleep(60_000);
  const before = await measure('all read', 60_000);
  stalled = true;
  const during = await measure('one does not', minutes * 60_000);
  report('2,000 events/s to each of 20 subscribers, one of which stops reading', [before, during], {
    'p99 during / before': round(during['p99, ms'] / before['p99, ms'], 3),
    received,
  });
} finally {
  stop.abort();
  for (const client of clients) client.close();
  await cluster.destroy();
}
process.exit(0);

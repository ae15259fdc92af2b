/**
 * One node that has ten times as much to send as its budget allows: what it really sends, counted at the socket, in every
 * window of several lengths, against burst + rate x length.
 *
 *   node dist/bench/scenarios/budget.js [seconds]
 */
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownAddress } from '../../test/harness/own-address.js';
import { Fleet, SYNTHETIC } from '../measuring/fleet.js';
import { report, round } from '../measuring/report.js';

const RATE = 64 * 1024;
const BURST_MS = 4_000;
const BURST = (RATE * BURST_MS) / 1000;
/** Events of the synthetic source that take about ten times the rate. */
const EVENTS_PER_SECOND = 3_700;
const WINDOWS_MS = [100, 1_000, 5_000, 10_000, 30_000];
const seconds = Number(process.argv[2] ?? 60);

interface Passed {
  readonly ms: number;
  /** Bytes since the connection began. */
  readonly bytes: number;
}

/** Between the agent and its broker: everything that leaves the node passes here, framing and control included. */
function tap(from: string, to: string): { passed: Passed[]; close: () => void } {
  const passed: Passed[] = [{ ms: performance.now(), bytes: 0 }];
  const server = createServer((agent) => {
    const broker = connect(endpoint(to));
    agent.on('data', (bytes) => passed.push({ ms: performance.now(), bytes: passed.at(-1)!.bytes + bytes.length }));
    agent.pipe(broker).pipe(agent);
    agent.on('error', () => broker.destroy()).on('close', () => broker.destroy());
    broker.on('error', () => agent.destroy()).on('close', () => agent.destroy());
  });
  server.listen(endpoint(from));
  return { passed, close: () => server.close() };
}

function endpoint(address: string): { host: string; port: number } {
  const [host = '', port] = address.split(':');
  return { host, port: Number(port) };
}

/** The most that passed in any window of so many milliseconds. */
function most(passed: readonly Passed[], windowMs: number): number {
  let max = 0;
  let from = 0;
  for (let to = 1; to < passed.length; to += 1) {
    while (passed[to]!.ms - passed[from]!.ms > windowMs) from += 1;
    // What came at `from` itself is inside the window: count from the one before.
    max = Math.max(max, passed[to]!.bytes - passed[Math.max(0, from - 1)]!.bytes);
  }
  return max;
}

const fleet = await Fleet.start();
const tapAddress = await ownAddress();
const { passed, close } = tap(tapAddress, fleet.grpc);
try {
  fleet.agent('node', {
    ...SYNTHETIC,
    BACKPLANE_BROKERS: tapAddress,
    BACKPLANE_SYNTHETIC_RATE: String(EVENTS_PER_SECOND),
    BACKPLANE_BUDGET_LIVE_BYTES: String(RATE),
    BACKPLANE_BUDGET_BURST: `${BURST_MS}ms`,
  });
  await sleep(5_000);
  const client = fleet.client();
  const stop = new AbortController();
  const [startMs, before] = [performance.now(), passed.at(-1)!.bytes];
  let delivered = 0;
  let shed = 0;
  setTimeout(() => stop.abort(), seconds * 1000);
  for await (const item of client.subscribe({ follow: true }, stop.signal)) {
    if (item.kind === 'events') delivered += item.batch.events.length;
    else if (item.kind === 'gap' && item.gap.reason === 'shed') shed += Number(item.gap.events);
  }
  const ms = performance.now() - startMs;
  report(
    'a node at ten times its budget, bytes at the socket',
    WINDOWS_MS.filter((each) => each <= seconds * 1000).map((windowMs) => {
      const allowed = BURST + (RATE * windowMs) / 1000;
      return {
        'window, s': windowMs / 1000,
        'the most sent, KiB': round(most(passed, windowMs) / 1024, 1),
        'burst + rate x window, KiB': round(allowed / 1024, 1),
        '% of it': round((100 * most(passed, windowMs)) / allowed, 1),
        target: '<= 101',
      };
    }),
    {
      'mean over the run, % of the rate': round(((passed.at(-1)!.bytes - before) * 100_000) / ms / RATE, 1),
      'delivered, % of what matched': round((100 * delivered) / Math.max(1, delivered + shed), 1),
    },
  );
} finally {
  await fleet.destroy();
  close();
}

/**
 * SIGTERM under full load: how long broker and agent take to end, and how their subscribers' streams end.
 *
 *   node dist/bench/scenarios/drain.js [rounds]
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../src/client/client.js';
import { Cluster } from '../../test/harness/cluster/driver.js';
import { median, report, round } from '../measuring/report.js';

const SUBSCRIBERS = 20;
const rounds = Number(process.argv[2] ?? 5);
const took = new Map<string, number[]>();
const codes = new Set<string>();
let withCursor = 0;

for (let at = 0; at < rounds; at += 1) {
  const cluster = await Cluster.start();
  const clients: Client[] = [];
  try {
    await cluster.agent({ name: 'loud', nodes: 4, eventsPerSecond: 1_000 });
    const stop = new AbortController();
    setMaxListeners(SUBSCRIBERS * 4, stop.signal);
    const cursors = new Map<number, string>();
    for (let index = 0; index < SUBSCRIBERS; index += 1) {
      const client = cluster.client();
      clients.push(client);
      void (async () => {
        for await (const item of client.subscribe({ follow: true }, stop.signal)) {
          const cursor =
            item.kind === 'watermark' ? item.watermark.cursor : item.kind === 'events' ? item.batch.cursor : '';
          if (cursor !== '') cursors.set(index, cursor);
          // The first of them never reads on.
          if (index === 0 && cursor !== '')
            await sleep(3_600_000, undefined, { signal: stop.signal }).catch(() => undefined);
        }
      })().catch(() => undefined);
    }
    await sleep(5_000);
    for (const party of [cluster.broker, ...cluster.agents]) {
      const startMs = performance.now();
      const { code, signal } = await party.end('SIGTERM');
      const name = party === cluster.broker ? 'broker' : 'agent';
      took.set(name, [...(took.get(name) ?? []), performance.now() - startMs]);
      codes.add(`${name} ${signal ?? code}`);
    }
    withCursor += cursors.size;
    stop.abort();
  } finally {
    for (const client of clients) client.close();
    await cluster.destroy();
  }
}
report(
  'SIGTERM under 4,000 events/s to each of 20 subscribers, one of which does not read',
  [...took].map(([name, ms]) => ({
    process: name,
    'until it ended, s (median)': round(median(ms) / 1000),
    'at most': round(Math.max(...ms) / 1000),
    target: '10',
  })),
  { codes: [...codes], 'streams with a cursor': withCursor, of: rounds * SUBSCRIBERS },
);
process.exit(0);

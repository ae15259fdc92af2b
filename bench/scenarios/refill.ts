/**
 * One node that has ten times as much to send as it may, then is quiet: how much was shed when the overload ended, how
 * long it takes until a subscriber with refill has all of it, and that every event came once.
 *
 *   node dist/bench/scenarios/refill.js [minutes of overload] [events a second] [history budget, KiB a second] [the same, afterwards]
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../src/client/client.js';
import { numberedEvents, sequenceNumber } from '../../test/harness/bus/numbered.js';
import { Numbers } from '../../test/harness/oracle/received.js';
import { Fleet, SYNTHETIC } from '../measuring/fleet.js';
import { report, round } from '../measuring/report.js';

const minutes = Number(process.argv[2] ?? 60);
const EVENTS_PER_SECOND = Number(process.argv[3] ?? 5_000);
const BUDGET_EVENTS_PER_SECOND = EVENTS_PER_SECOND / 10;
/** So little that refilling cannot keep up with the overload. */
const HISTORY_BYTES_PER_SECOND = Number(process.argv[4] ?? 256) * 1024;
/** Set at run time, as an operator would who wants it back sooner. */
const QUIET_HISTORY_BYTES_PER_SECOND = process.argv[5] ? Number(process.argv[5]) * 1024 : HISTORY_BYTES_PER_SECOND;

const fleet = await Fleet.start();

/** One agent, started again with another rate when the overload ends. */
const agent = (eventsPerSecond: number) =>
  fleet.agent('node', {
    ...SYNTHETIC,
    ...numberedEvents(eventsPerSecond),
    BACKPLANE_RECORDER_BYTES_MAX: '16GiB',
    BACKPLANE_BUDGET_LIVE_EVENTS: String(BUDGET_EVENTS_PER_SECOND),
    BACKPLANE_BUDGET_HISTORY_BYTES: String(HISTORY_BYTES_PER_SECOND),
  });

/** Every event of the overload, by its number. */
const received = new Numbers();
let twice = 0;
let quietNs = Number.POSITIVE_INFINITY;
const stop = new AbortController();

async function subscribe(client: Client): Promise<void> {
  for await (const item of client.subscribe({ follow: true, refill: true, since: '1h' }, stop.signal)) {
    if (item.kind !== 'events') continue;
    for (const { time, process } of item.batch.events) {
      const number = sequenceNumber(process?.commandArgs);
      if (number === undefined || Number(time?.seconds ?? 0) * 1e9 >= quietNs) continue;
      if (!received.add(number)) twice += 1;
    }
  }
}

async function ledger(client: Client) {
  const [subscription] = (await client.listSubscriptions()).subscriptions;
  return { shed: Number(subscription?.eventsShed), refilled: Number(subscription?.eventsRefilled) };
}

try {
  const loud = agent(EVENTS_PER_SECOND);
  await sleep(3_000);
  const client = fleet.client();
  const subscribed = subscribe(client);
  await sleep(minutes * 60_000);
  await loud.stop('SIGTERM');
  // Whole seconds: the quiet agent's events are all behind this one.
  quietNs = (Math.floor(Date.now() / 1000) + 1) * 1e9;
  await sleep(2_000);
  const overload = await ledger(client);
  console.log(`after ${minutes} minutes: ${overload.shed} shed, ${overload.refilled} refilled`);
  const quietMs = performance.now();
  agent(1);
  const budget = {
    liveBytesPerSecond: 0,
    liveEventsPerSecond: 0,
    historyBytesPerSecond: QUIET_HISTORY_BYTES_PER_SECOND,
  };
  await client.setBudget({ nodes: ['*'], budget });
  for (;;) {
    await sleep(1_000);
    const { shed } = await ledger(client);
    // What had not been sent when the overload ended is sent, or shed, first.
    if (shed === 0 && received.max >= minutes * 60 * EVENTS_PER_SECOND) break;
  }
  const refillMs = performance.now() - quietMs;
  const end = await ledger(client);
  stop.abort();
  await subscribed;
  report(
    'overload, then quiet, with refill',
    [
      {
        'overload, min': minutes,
        'events/s': EVENTS_PER_SECOND,
        'shed when it ended': overload.shed,
        'refilled until then': overload.refilled,
        'refilled in all': end.refilled,
        'until nothing is shed, s': round(refillMs / 1000, 1),
        'shed at the end': end.shed,
        'events of the overload': received.max + 1,
        missing: received.max + 1 - received.count,
        twice,
      },
    ],
    {},
  );
} finally {
  await fleet.destroy();
}
process.exit(0);

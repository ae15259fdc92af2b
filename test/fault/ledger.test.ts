/** The broker's counts of its subscriptions are the events that they received. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Cluster } from '../harness/cluster/driver.js';
import type { Subscriber } from '../harness/cluster/subscriber.js';
import { until } from '../harness/until.js';
import { bootNs, caughtUp } from './run.js';

/** More frames than come within the time for which a subscriber may lag. */
const LAG_FRAMES = 100;
const STALL_NS_MAX = 20e9;
const STALLS_MAX = 4;

interface Account {
  readonly delivered: number;
  readonly shed: number;
  readonly skipped: number;
  readonly throttled: number;
  readonly refilled: number;
}

type Listed = Readonly<
  Record<
    'client' | 'lagFrames' | `events${'Delivered' | 'Shed' | 'Skipped' | 'Throttled' | 'Refilled' | 'Matched'}`,
    string
  >
>;

async function listed(
  cluster: Cluster,
): Promise<Map<string, Account & { readonly matched: number; readonly lag: number }>> {
  const answer = await cluster.get('/v1/subscriptions');
  const { subscriptions } = (await answer.json()) as { subscriptions: Listed[] };
  const accounts = new Map<string, Account & { readonly matched: number; readonly lag: number }>();
  for (const { name, pid } of cluster.subscribers) {
    const one = subscriptions.find(({ client }) => client === `observe (pid ${pid})`);
    if (one === undefined) continue;
    accounts.set(name, {
      delivered: Number(one.eventsDelivered),
      shed: Number(one.eventsShed),
      skipped: Number(one.eventsSkipped),
      throttled: Number(one.eventsThrottled),
      refilled: Number(one.eventsRefilled),
      matched: Number(one.eventsMatched),
      lag: Number(one.lagFrames),
    });
  }
  return accounts;
}

/** Counts by the received events; throttled ones only the broker can count (test/broker/delivery/history/refill.test.ts). */
function counted({ received, ledger }: Subscriber): Omit<Account, 'throttled'> {
  const refilled = [...received.nodes.values()].reduce((count, { refilledNs }) => count + refilledNs.size, 0);
  const shed = ledger.sum('shed') - refilled;
  return { delivered: received.events, shed, skipped: ledger.sum('skipped'), refilled };
}

async function metric(cluster: Cluster, name: string): Promise<number> {
  const text = await (await cluster.get('/metrics')).text();
  const values = [...text.matchAll(new RegExp(`^backplane_${name}(?:,topic="\\w+"})? (\\S+)$`, 'gm'))];
  assert.ok(values.length > 0, name);
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
}

const skippedBy = async (cluster: Cluster, { name }: Subscriber) => (await listed(cluster)).get(name)!.skipped;

/**
 * Stalls a subscriber that skips when it lags, until it has skipped. It does when it reads on after all buffers between
 * it and the broker's log were full. How long that takes is not known; but after half a minute its connection is given
 * up, and then it gets everything from the recorder: so several tries.
 */
async function stallUntilSkipped(cluster: Cluster, hasty: Subscriber, sparse: Subscriber): Promise<void> {
  for (let tries = 0; tries < STALLS_MAX && (await skippedBy(cluster, hasty)) === 0; tries++) {
    // Events from the recorder would wait for the subscriber, and none would be skipped.
    await until(
      'live events',
      () => hasty.live.has('alpha'),
      () => hasty.received.events,
    );
    hasty.stall();
    const untilNs = bootNs() + STALL_NS_MAX;
    const sparseNs = () => sparse.received.nodes.get('alpha')?.lastNs ?? 0;
    await until(
      'lag, or the others to go on',
      async () => ((await listed(cluster)).get(hasty.name)?.lag ?? 0) > LAG_FRAMES || sparseNs() > untilNs,
      sparseNs,
    );
    hasty.readOn();
    assert.deepEqual(await caughtUp(cluster, bootNs()), []);
  }
}

test('the ledger of every subscription, and the metrics over all, match the received events', async () => {
  const cluster = await Cluster.start();
  try {
    // More would be more than an agent on a crowded machine keeps up with: everybody would wait for it longer and longer.
    await cluster.agent({ name: 'alpha', nodes: 1, eventsPerSecond: 800 });
    await cluster.agent({ name: 'gamma', nodes: 1, eventsPerSecond: 200, budgetEventsPerSecond: 50 });
    const exec = ['--filter', 'event.type == "process.exec"'];
    const [alpha, gamma] = [(node: string) => node === 'alpha', (node: string) => node === 'gamma'];
    const [ofAlpha, ofGamma] = [
      ['--node', 'alpha', ...exec],
      ['--node', 'gamma', ...exec],
    ];
    await cluster.subscribe('later', { args: ofGamma, nodes: gamma, refill: true, misses: 'shed' });
    await cluster.subscribe('fewer', { args: ofGamma, nodes: gamma, misses: 'shed' });
    const sparse = await cluster.subscribe('sparse', {
      args: [...ofAlpha, '--throttle-by', 'node'],
      nodes: alpha,
      throttleMs: 50,
    });
    const skip = ['--lag-policy', 'skip', '--lag-max', '1s'];
    const hasty = await cluster.subscribe('hasty', { args: [...ofAlpha, ...skip], nodes: alpha, misses: 'skipped' });
    assert.deepEqual(await caughtUp(cluster, bootNs()), []);
    await stallUntilSkipped(cluster, hasty, sparse);
    if ((await skippedBy(cluster, hasty)) === 0) console.log('# too slow a machine for anything to be skipped');
    // From here on no new events are recorded.
    for (const agent of cluster.agents) assert.equal((await agent.end('SIGTERM')).code, 0, agent.stderr);
    const account = () => new Map(cluster.subscribers.map((each) => [each.name, counted(each)]));
    const told = async () => {
      const accounts = await listed(cluster);
      return new Map([...accounts].map(([name, { matched, throttled, lag, ...rest }]) => [name, rest]));
    };
    let last: unknown;
    await until(
      'what is told to be what was received',
      async () => {
        last = [await told(), account()];
        return isDeepStrictEqual(await told(), account());
      },
      () => last,
    );
    const accounts = [...(await listed(cluster)).values()];
    assert.deepEqual(await told(), account());
    for (const { delivered, throttled, shed, skipped, matched } of accounts)
      assert.equal(delivered + throttled + shed + skipped, matched);
    assert.ok(account().get('fewer')!.shed > 0);
    assert.ok((await listed(cluster)).get('sparse')!.throttled > 0);
    const total = (kind: keyof Account) => accounts.reduce((sum, each) => sum + each[kind], 0);
    assert.equal(await metric(cluster, 'ledger_events_total{stage="delivered"'), total('delivered'));
    assert.equal(await metric(cluster, 'ledger_events_total{stage="throttled"'), total('throttled'));
    assert.equal(await metric(cluster, 'ledger_events_total{stage="refilled"'), total('refilled'));
    assert.equal(await metric(cluster, 'subscriptions_shed_events'), total('shed'));
    assert.equal(await metric(cluster, 'subscriptions_skipped_events'), total('skipped'));
  } finally {
    await cluster.destroy();
  }
});

/** A subscriber that stops reading, beside one that reads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cluster } from '../harness/cluster/driver.js';
import type { Subscriber } from '../harness/cluster/subscriber.js';
import { until } from '../harness/until.js';
import { holds, SEED } from './holds.js';
import { bootNs, caughtUp, runFaults } from './run.js';
import { LOSSLESS } from './schedule.js';

/** When another subscriber got so many events and the one that does not read got none, all buffers to it are full. */
const STANDS_FOR = 2_000;

test('a subscriber that never reads slows nobody, and gets everything once it reads on', async () => {
  const cluster = await Cluster.start();
  try {
    await cluster.agent({ name: 'fast', nodes: 1, eventsPerSecond: 1_000 });
    const reader = await cluster.subscribe('reader', { args: [] });
    const sleeper = await cluster.subscribe('sleeper', { args: [] });
    assert.deepEqual(await caughtUp(cluster, bootNs()), []);
    sleeper.stall();
    let stood = { delivered: -1, since: 0 };
    await until(
      'that nothing more leaves the broker for the one that does not read',
      async () => {
        const delivered = await deliveredTo(cluster, sleeper);
        if (delivered !== stood.delivered) stood = { delivered, since: reader.received.events };
        return reader.received.events - stood.since > STANDS_FOR;
      },
      () => [stood, reader.received.events],
    );
    sleeper.readOn();
    holds(await runFaults(cluster, { seed: SEED, durationMs: 0, kinds: LOSSLESS }));
  } finally {
    await cluster.destroy();
  }
});

/** Events of the subscription that have left the broker's log. */
async function deliveredTo(cluster: Cluster, { pid }: Subscriber): Promise<number> {
  const answer = await cluster.get('/v1/subscriptions');
  const { subscriptions } = (await answer.json()) as { subscriptions: { client: string; eventsDelivered: string }[] };
  return Number(subscriptions.find(({ client }) => client === `observe (pid ${pid})`)!.eventsDelivered);
}

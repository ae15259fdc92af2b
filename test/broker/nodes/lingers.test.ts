/** Nodes are told how soon subscribers want live events: the shortest wish, and only while it is there. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Harness } from '../../harness/broker/harness.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const heard = (agent: TestAgent, lingers: readonly number[]) =>
  until(
    `lingers ${lingers}`,
    () => agent.lingers.length >= lingers.length,
    () => agent.lingers,
  ).then(() => assert.deepEqual(agent.lingers, lingers));

test('the shortest latency that anybody asks of a node is what it hears, until nobody does', async () => {
  const [a, b] = [await harness.agent('a'), await harness.agent('b')];
  const wish = async (latency: string, nodes: string[]) => {
    const subscriber = harness.subscribe({ topics: ['process'], nodes, follow: true, latency });
    await subscriber.isAccepted();
    return subscriber;
  };
  const first = await wish('25ms', ['a']);
  const second = await wish('10ms', ['*']);
  const longer = await wish('50ms', ['*']);
  const without = await wish('', ['*']);
  await heard(a, [25, 10]);
  await heard(b, [10]);
  second.cancel();
  await heard(a, [25, 10, 25]);
  await heard(b, [10, 50]);
  for (const subscriber of [longer, first, without]) subscriber.cancel();
  await until('nobody asks a', () => a.lingers.at(-1) === 0);
  await heard(b, [10, 50, 0]);
});

test('a node that connects again, or later, is told once', async () => {
  const first = await harness.agent('a');
  const subscriber = harness.subscribe({ topics: ['process'], follow: true, latency: '25ms' });
  await subscriber.isAccepted();
  await heard(first, [25]);
  first.kill();
  await heard(await harness.agent('a', first.recorder), [25]);
  await heard(await harness.agent('b'), [25]);
});

/** Nodes whose recording begins after a window's start, or after all of it: said of them at once, and whether events are missing. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Client } from '../../../../src/client/client.js';
import { Harness, until } from '../../../harness/broker/harness.js';
import { TestRecorder } from '../../../harness/broker/test-agent.js';

const HOUR_MS = 3_600_000;
const NOW_MS = Date.now();
const ago = (hours: number) => new Date(NOW_MS - hours * HOUR_MS).toISOString();
const FROM = { seconds: String(Math.floor((NOW_MS - 2 * HOUR_MS) / 1000)), nanos: 0 };

let harness: Harness;
let client: Client;
beforeEach(async () => {
  harness = await Harness.start();
  client = new Client([harness.broker.grpcAddress]);
  for (const [node, recordedAll] of [
    ['young', true],
    ['short', false],
  ] as const) {
    // They do not say what time it is: the longer a Hello takes that says it, the further back a node's clock seems to be.
    const agent = await harness.agent(node, undefined, { wallTime: null });
    agent.say({ report: { recordedFrom: FROM, recordedAll } });
  }
  const reported = async () => (await client.listNodes()).nodes.every(({ recordedFrom }) => recordedFrom !== null);
  await until('both reports', reported);
});
afterEach(async () => {
  client.close();
  await harness.destroy();
});

async function answered(window: { since?: string; until?: string; limit?: string; follow?: boolean }) {
  const subscriber = harness.subscribe({ topics: ['process'], ...window });
  await subscriber.isAccepted();
  if (window.follow) subscriber.cancel();
  else await subscriber.end();
  const { beginsLater, nodes } = subscriber.accepted!;
  for (const { from } of beginsLater) assert.deepEqual(from, FROM);
  return { later: beginsLater.map(({ node }) => node), asked: [...nodes].sort(), covered: subscriber.coverage?.nodes };
}

test('of a window that is all before the recordings, only what was evicted is missing', async () => {
  for (const since of [{ since: ago(4) }, {}]) {
    const { later, asked, covered } = await answered({ ...since, until: ago(3) });
    assert.deepEqual(later, ['short', 'young']);
    assert.deepEqual(asked, []);
    const told = covered!.map(({ node, from, evicted, beginsLater, message }) => {
      return { node, from, evicted, beginsLater, message };
    });
    assert.deepEqual(told, [
      {
        node: 'short',
        from: FROM,
        evicted: true,
        beginsLater: false,
        message: 'its recording begins after the window',
      },
      { node: 'young', from: FROM, evicted: false, beginsLater: true, message: '' },
    ]);
  }
});

test('a subscription is told at its start which recordings begin later than its window', async () => {
  const both = ['short', 'young'];
  assert.deepEqual((await answered({ since: ago(4) })).later, both);
  assert.deepEqual((await answered({ since: ago(4), follow: true })).later, both);
  assert.deepEqual((await answered({ since: ago(4), until: ago(1) })).asked, both);
  for (const window of [{ since: ago(1) }, { until: ago(1) }, {}]) assert.deepEqual((await answered(window)).later, []);
});

test('a node with a new recorder is not one of which nothing was recorded before', async () => {
  const again = await harness.agent('old', new TestRecorder('first'), { wallTime: null });
  again.kill();
  await until('it goes', () => again.ended !== undefined);
  const replaced = await harness.agent('old', new TestRecorder('second', 2), { wallTime: null });
  replaced.say({ report: { recordedFrom: FROM, recordedAll: true } });
  replaced.begins = true;
  const told = ({ covered }: Awaited<ReturnType<typeof answered>>) => {
    const { evicted, beginsLater } = covered!.find(({ node }) => node === 'old')!;
    return [evicted, beginsLater];
  };
  await until('its report', async () => (await client.listNodes()).nodes.every(({ recordedFrom }) => recordedFrom));
  assert.deepEqual(told(await answered({ since: ago(4), until: ago(3) })), [true, false]);
  assert.deepEqual(told(await answered({ since: ago(4) })), [true, false]);
});

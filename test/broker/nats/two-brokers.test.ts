/** Two brokers on NATS: whoever has the node, whoever has the subscriber. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { MiB } from '../../../src/limits.js';
import { auditEntries, documentsOf, idsOf, published } from '../../harness/broker/documents.js';
import { Harness, range, until } from '../../harness/broker/harness.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { makeTestCluster } from '../../harness/nats/state-under-test.js';

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const skip = needsNats();
let servers: NatsServers;
let brokers: readonly [Harness, Harness];

beforeEach(async () => {
  if (skip !== false) return;
  servers = await NatsServers.start();
  const urls = servers.urls.split(',');
  await makeTestCluster(servers);
  brokers = [new Harness(), new Harness()];
  for (const harness of brokers) {
    harness.nats = { servers: urls, cluster: 'test', onLost: assert.fail };
    await harness.startBroker();
  }
});
afterEach(async () => {
  if (skip !== false) return;
  await Promise.all(brokers.map((harness) => harness.destroy()));
  await servers.destroy();
});

function publish(agent: TestAgent, pids: readonly number[]): void {
  for (const pid of pids) {
    agent.recorder.record('process.exec', pid);
    agent.publish();
  }
}

test('a subscriber gets all of a node at another broker once, also when it moves and when a broker is killed', {
  skip,
}, async () => {
  const [one, other] = brokers;
  const first = await other.agent('a');
  for (const pid of range(0, 5)) first.recorder.record('process.exec', pid);
  const subscriber = one.subscribe({ topics: ['process'], follow: true, since: '1h' });
  const elsewhere = other.subscribe({ topics: ['process'], follow: true, since: '1h' });
  await Promise.all([subscriber.isAccepted(), elsewhere.isAccepted()]);
  await until('that the node is asked', () => first.interests.length > 0);
  publish(first, range(5, 10));
  await subscriber.has(10);
  assert.deepEqual(subscriber.pids, range(0, 10));
  // It moves to the subscriber's broker, and back.
  const second = await one.agent('a', first.recorder);
  await until('that its session ends', () => first.ended !== undefined);
  await until('that it is asked', () => second.interests.length > 0);
  publish(second, range(10, 15));
  await subscriber.has(15);
  const third = await other.agent('a', first.recorder);
  await until('that its session ends', () => second.ended !== undefined);
  await until('that it is asked again', () => third.interests.length > 0);
  publish(third, range(15, 20));
  await Promise.all([subscriber.has(20), elsewhere.has(20)]);
  assert.deepEqual(elsewhere.pids, range(0, 20));
  assert.deepEqual(elsewhere.gaps, []);
  const { cursor } = elsewhere;
  await other.broker.abort();
  const fourth = await one.agent('a', first.recorder);
  await until('that it is asked again', () => fourth.interests.length > 0);
  publish(fourth, range(20, 25));
  await subscriber.has(25);
  assert.deepEqual(subscriber.pids, range(0, 25));
  const resumed = one.subscribe({ topics: ['process'], follow: true, cursor });
  await resumed.has(5);
  assert.deepEqual(resumed.pids, range(20, 25));
  assert.deepEqual(resumed.gaps, []);
  assert.deepEqual(subscriber.gaps, []);
});

test('what is published at either broker is read at both, once, and resumed at the other; so is the audit', {
  skip,
}, async () => {
  const [one, other] = brokers;
  const [first, second] = [one.publisher(), other.publisher()];
  const events = (...ids: string[]) => ids.map((id) => published(id, { id }));
  assert.equal((await first.publish('app.a', events('1', '2'))).duplicates, 0);
  assert.equal((await second.publish('app.a', events('2', '3'))).duplicates, 1);
  const asked = { topics: ['app.*'], since: '1h', follow: true };
  const here = one.subscribe(asked);
  const there = other.subscribe(asked);
  await Promise.all([here.isAccepted(), there.isAccepted()]);
  // Sent to both at once, as by a publisher that tries another broker when an answer is late.
  const answers = await Promise.all([first, second].map((each) => each.publish('app.b', events('4', '5'))));
  assert.equal(answers[0]!.duplicates + answers[1]!.duplicates, 2);
  for (const each of [here, there]) {
    await each.until('all are there', () => idsOf(each).length >= 5);
    assert.deepEqual(idsOf(each), ['1', '2', '3', '4', '5']);
  }
  assert.deepEqual(
    documentsOf(here).map(({ event }) => event.position),
    documentsOf(there).map(({ event }) => event.position),
  );
  const { cursor } = here;
  await one.broker.abort();
  await second.publish('app.a', events('6'));
  const resumed = other.subscribe({ topics: ['app.*'], follow: true, cursor });
  await resumed.until('what came since', () => idsOf(resumed).length >= 1);
  assert.deepEqual([idsOf(resumed), resumed.gaps], [['6'], []]);
  const actions = (await auditEntries(other)).map(({ action }) => action);
  assert.deepEqual(actions, ['subscribe', 'subscribe', 'subscribe'], 'of both brokers');
});

test('the ceiling holds over the nodes of all brokers, and all of it is dealt out a lease later', {
  skip: skip || (!IS_LONG && 'only with BACKPLANE_TEST_FACTOR'),
}, async (t) => {
  const bounded = [new Harness(), new Harness()];
  t.after(() => Promise.all(bounded.map((harness) => harness.destroy())));
  const agents: TestAgent[] = [];
  for (const harness of bounded) {
    harness.nats = brokers[0].nats;
    harness.ceilingBytesPerSecond = MiB;
    await harness.startBroker();
    agents.push(await harness.agent(`n${agents.length}`));
  }
  const granted = () => agents.map(({ leases }) => leases.at(-1) ?? 0);
  const sum = () => granted().reduce((all, rate) => all + rate, 0);
  await until(
    'half of it each',
    () => {
      assert.ok(sum() <= MiB, `${granted()}`);
      return sum() > MiB - 4;
    },
    granted,
  );
  assert.deepEqual(granted(), [MiB / 2, MiB / 2]);
  await bounded[1]!.broker.drain();
  await until('the other one has what is free', () => granted()[0] === MiB, granted);
});

/** Two brokers on NATS: whoever has the node, whoever has the subscriber. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { partitionStream } from '../../../src/broker/log/jetstream/subjects.js';
import { statusText } from '../../../src/cli/lists/status.js';
import { Client } from '../../../src/client/client.js';
import { MiB } from '../../../src/limits.js';
import { packageVersion } from '../../../src/package-files.js';
import { auditEntries, documentsOf, idsOf, published } from '../../harness/broker/documents.js';
import { Harness, range, until } from '../../harness/broker/harness.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { Relay } from '../../harness/cluster/relay.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { linkTo, makeTestCluster, openNatsState } from '../../harness/nats/state-under-test.js';

const IS_LONG = Number(process.env.BACKPLANE_TEST_FACTOR ?? 1) > 1;
const skip = needsNats();
/** The version so many minor ones later than this one. */
const apart = (minors: number) =>
  packageVersion().replace(/^(\d+)\.(\d+)/, (_, major, minor) => `${major}.${Number(minor) + minors}`);
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

test('while a subscriber is at one broker the other one has what it would read there, too', { skip }, async () => {
  const [one] = brokers;
  const link = await linkTo(servers);
  try {
    /** How the brokers read a partition: whether bodies are left out. */
    const headersOnly = async () => {
      const consumers = await link.manager.consumers.list(partitionStream('test', 0)).next();
      return consumers.map(({ config }) => config.headers_only ?? false);
    };
    const isOf = (each: boolean) => async () => {
      const found = await headersOnly();
      return found.length === 2 && found.every((is) => is === each);
    };
    await until('that both read headers', isOf(true));
    const subscriber = one.subscribe({ topics: ['process'], follow: true });
    await subscriber.isAccepted();
    await until('that both read bodies', isOf(false));
  } finally {
    await link.close();
  }
});

test('status, nodes and readiness are told by any broker of all', { skip }, async () => {
  const [one, other] = brokers;
  await one.agent('a');
  await other.agent('b', undefined, { version: apart(1) });
  const clients = brokers.map(({ broker }) => new Client([broker.grpcAddress]));
  try {
    for (const [at, client] of clients.entries()) {
      const status = await until('both have told how they are', async () => {
        const answer = await client.getStatus();
        return answer.brokers.length === 2 && answer.brokers.every(({ nodes }) => nodes === 1) && answer;
      });
      assert.deepEqual([status.cluster, status.nodes], ['test', 2]);
      assert.match(status.durability, /^unknown: a power cut may lose these/);
      const own = status.brokers.filter((broker) => broker.own);
      assert.deepEqual(
        own.map(({ address, version }) => [address, version]),
        [[brokers[at]!.broker.grpcAddress, apart(0)]],
      );
      const { nodes } = await client.listNodes();
      assert.deepEqual(
        nodes.map(({ name, version, state }) => [name, version, state]),
        [
          ['a', apart(0), 'NODE_STATE_CONNECTED'],
          ['b', apart(1), 'NODE_STATE_CONNECTED'],
        ],
      );
      assert.match(statusText(status, 0n), /^cluster: +test$/m);
    }
    assert.match(await readiness(one), /^ok\ndurability: unknown: a power cut may lose these/);
    const reader = other.subscribe({ topics: ['process'], follow: true, since: '1h' });
    await reader.isAccepted();
    await servers.first.kill();
    await until('it says that NATS is away', async () => /no connection to NATS/.test(await readiness(one)));
    const metrics = await (await fetch(`http://${one.broker.httpAddress}/metrics`)).text();
    assert.match(metrics, /^backplane_cluster_cut_off 1$/m);
    assert.match(metrics, /^backplane_cluster_brokers 2$/m);
    assert.equal((await clients[0]!.listNodes()).nodes.length, 2, 'as it is known here');
    // Who read what cannot be written. Ending does not wait until that is given up, but until it is logged.
    await other.broker.drain();
    const logged = () => other.logged.map(({ msg }) => msg).join('\n');
    await until('it is logged', () => logged().includes('cannot be written'), logged);
    assert.match(logged(), /the log of the audit cannot be written \(the log is closed\)/);
  } finally {
    for (const client of clients) client.close();
  }
});

test('a broker that is one minor version newer takes part, one of two is refused', {
  skip: skip || (!IS_LONG && 'only with BACKPLANE_TEST_FACTOR'),
}, async (t) => {
  const newer = [new Harness(), new Harness()] as const;
  t.after(() => Promise.all(newer.map((harness) => harness.destroy())));
  for (const [at, harness] of newer.entries()) {
    harness.nats = brokers[0].nats;
    harness.version = apart(at + 1);
  }
  await newer[0].startBroker();
  await assert.rejects(newer[1].startBroker(), (error: Error) => {
    assert.match(
      error.message,
      /^the broker at 127\.0\.0\.1:\d+ in this cluster is of version .*, this side of .* one minor/,
    );
    return error.message.includes(`${apart(0)},`) && error.message.includes(`${apart(2)}:`);
  });
});

test('a node that one broker forgets all forget, and nothing is left of it in the state', { skip }, async () => {
  const [one, other] = brokers;
  const agent = await other.agent('gone');
  const subscriber = one.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  const clients = brokers.map(({ broker }) => new Client([broker.grpcAddress]));
  const link = await linkTo(servers);
  const state = await openNatsState(link, 'test');
  const left = () => state.entries('').flatMap(({ key }) => (key.endsWith('.gone') ? [key] : []));
  const listed = () =>
    Promise.all(clients.map(async (client) => (await client.listNodes()).nodes.map(({ state }) => state)));
  try {
    await until('it is written down', () => left().length === 2, left);
    assert.deepEqual(await listed(), [['NODE_STATE_CONNECTED'], ['NODE_STATE_CONNECTED']]);
    agent.kill();
    await until('all know that it is gone', async () =>
      (await listed()).flat().every((state) => state === 'NODE_STATE_GONE'),
    );
    assert.deepEqual(await clients[0]!.forgetNodes(['gone']), { nodes: ['gone'] });
    await until('no broker lists it', async () => (await listed()).flat().length === 0);
    assert.deepEqual(left(), []);
    await other.agent('gone', agent.recorder);
    await until('it is known again', async () => (await listed()).flat().length === 2);
  } finally {
    for (const client of clients) client.close();
    await state.close();
    await link.close();
  }
});

async function readiness({ broker }: Harness): Promise<string> {
  return (await fetch(`http://${broker.httpAddress}/readyz`)).text();
}

test('a broker that is cut off from NATS sends its agents to the others, and takes agents again', {
  skip: skip || (!IS_LONG && 'only with BACKPLANE_TEST_FACTOR'),
}, async (t) => {
  const relay = await Relay.start([servers.first.url.slice('nats://'.length)]);
  const far = new Harness();
  t.after(async () => {
    await far.destroy();
    relay.close();
  });
  far.nats = { servers: [`nats://${relay.address}`], cluster: 'test', onLost: assert.fail };
  await far.startBroker();
  const agent = await far.agent('a');
  const client = new Client([brokers[0].broker.grpcAddress]);
  t.after(() => client.close());
  await until('it is known where it is', async () => (await client.listNodes()).nodes.length === 1);
  relay.partition();
  await until(
    'it is sent away',
    () => agent.ended !== undefined,
    () => far.logged.length,
  );
  assert.match(agent.ended!, /this broker is cut off from NATS: connect to another one/);
  await assert.rejects(far.agent('b'), /this broker is cut off from NATS/);
  await brokers[0].agent('a', agent.recorder);
  relay.heal();
  await until(
    'it takes agents again',
    () =>
      far.agent('b').then(
        () => true,
        () => false,
      ),
    () => far.logged.length,
  );
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

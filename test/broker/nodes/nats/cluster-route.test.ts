/** Nodes that are connected to another broker: the contract, and what is lost between brokers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { ClusterRoute } from '../../../../src/broker/nodes/nats/cluster-route.js';
import { checkClusterState } from '../../../../src/broker/nodes/nats/cluster-state.js';
import { NodePlaces } from '../../../../src/broker/nodes/nats/node-places.js';
import { PlaceKeeper } from '../../../../src/broker/nodes/nats/place-keeper.js';
import { RouteServer } from '../../../../src/broker/nodes/nats/route-server.js';
import { sessionSubject } from '../../../../src/broker/nodes/nats/session-subject.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { nodeRouteContract } from '../../../contract/node-route.js';
import { type NodeServer, startNodeServer } from '../../../harness/broker/node-server.js';
import { TestAgent, TestRecorder } from '../../../harness/broker/test-agent.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { newCluster, openNatsState, twoOnNats } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

const skip = needsNats();
const nats = twoOnNats();

if (skip === false) {
  nodeRouteContract('nats', async () => {
    const cluster = await newCluster(nats.links[0]);
    const [asks, has] = await Promise.all([startBroker(cluster, 0), startBroker(cluster, 1)]);
    const agents: TestAgent[] = [];
    return {
      route: asks.route,
      async connect(node, recorder) {
        const agent = await TestAgent.connect(has.server.address, node, recorder);
        agents.push(agent);
        return agent;
      },
      async destroy() {
        for (const agent of agents) agent.kill();
        await Promise.all([asks.close(), has.close()]);
      },
    };
  });
}

interface TestBroker {
  readonly server: NodeServer;
  readonly route: ClusterRoute;
  readonly places: NodePlaces;
  /** What it refused of what others said. */
  readonly refusals: string[];
  close(): Promise<void>;
}

/** @param link its own, unless it is one of the two that there are */
async function startBroker(cluster: string, at: 0 | 1, link: NatsLink = nats.links[at]): Promise<TestBroker> {
  const broker = `b${at}`;
  const state = await openNatsState(link, cluster, { broker, check: checkClusterState });
  const places = new NodePlaces(state);
  const server = await startNodeServer();
  const { registry, settled } = server;
  const route = new ClusterRoute({ connection: link.asking, cluster, local: server.route, places });
  const refusals: string[] = [];
  const onRefusal = ({ message }: Error) => refusals.push(message);
  const serves = new RouteServer({ connection: link.asking, cluster, registry, settled, onRefusal });
  const keeper = new PlaceKeeper({ registry, places, broker, onFailure: (cause) => refusals.push(String(cause)) });
  return {
    ...{ server, route, places, refusals },
    async close() {
      keeper.close();
      serves.close();
      route.close();
      await server.close();
      await state.close();
    },
  };
}

const { spec: predicate } = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const request = { client: 'me', predicates: [predicate], last: 0, creditBytes: 65_536 };

function recorderOf(events: number): TestRecorder {
  const recorder = new TestRecorder('a', 1, BigInt(Date.now() - 60_000) * 1_000_000n);
  for (let pid = 0; pid < events; pid++) recorder.record('process.exec', pid, 'x'.repeat(500));
  return recorder;
}

async function outcomeOf(route: ClusterRoute) {
  const answer = route.history('a', request)!;
  while ((await answer.next()) !== undefined);
  return answer.outcome!;
}

test('a node that moves is reached where it is, its session before ends, and so do answers of that', {
  skip,
}, async () => {
  const cluster = await newCluster(nats.links[0]);
  const brokers = await Promise.all([startBroker(cluster, 0), startBroker(cluster, 1)]);
  const [one, other] = brokers;
  const recorder = recorderOf(2_000);
  const first = await TestAgent.connect(other.server.address, 'a', recorder);
  await until('that it is reached', () => one.route.reaches('a'));
  const answer = one.route.history('a', request)!;
  assert.ok((await answer.next()) !== undefined);
  const second = await TestAgent.connect(one.server.address, 'a', recorder);
  await until('that the first session has ended', () => first.ended !== undefined);
  while ((await answer.next()) !== undefined);
  assert.match(answer.outcome?.kind === 'failed' ? answer.outcome.message : '', /^node a went: /);
  await until('that the other knows', () => other.places.of('a')?.broker === 'b0');
  assert.equal((await outcomeOf(other.route)).kind, 'end');
  await other.route.takeover('a');
  await until('that it has ended', () => second.ended !== undefined);
  await until('that nobody reaches it', () => brokers.every(({ route }) => !route.reaches('a')));
  await other.route.takeover('a');
  for (const agent of [first, second]) agent.kill();
  await Promise.all(brokers.map((broker) => broker.close()));
});

test('a session that no broker has any more is away at once; parts that are lost end the answer', {
  skip,
}, async () => {
  const cluster = await newCluster(nats.links[0]);
  const [one, other] = await Promise.all([startBroker(cluster, 0), startBroker(cluster, 1)]);
  const place = { recorderId: 'a', bootId: 'b', epoch: 1, broker: 'b9', session: 'gone' };
  await other.places.take('a', () => place);
  await until('that it seems to be reached', () => one.route.reaches('a'));
  assert.deepEqual(await outcomeOf(one.route), {
    kind: 'failed',
    message: 'node a went: no broker has its session any more',
    // So that what is owed of it stays owed.
    away: true,
  });
  // Somebody who answers without the first part.
  const { asking } = nats.links[1];
  const subscription = asking.subscribe(sessionSubject(cluster, 'a', 'gone'), {
    callback: (_error, { reply }) => asking.publish(reply!, Buffer.of(1, 0, 0, 0, 1, 0, 7)),
  });
  await asking.flush();
  const outcome = await outcomeOf(one.route);
  assert.match(outcome.kind === 'failed' ? outcome.message : '', /^part 1 of its answer came where 0 was due/);
  subscription.unsubscribe();
  await Promise.all([one, other].map((broker) => broker.close()));
});

test('what no broker says is refused, and nothing happens', { skip }, async () => {
  const cluster = await newCluster(nats.links[0]);
  const broker = await startBroker(cluster, 0);
  const agent = await TestAgent.connect(broker.server.address, 'a', recorderOf(10));
  await until('its session', () => broker.places.of('a')?.session);
  const subject = sessionSubject(cluster, 'a', broker.places.of('a')!.session);
  const { asking } = nats.links[1];
  const bad = [[], [1], [2, 1], [1, 9], [1, 1, 0, 200, 1], [1, 2, 0, 0], [1, 4, 255], [1, 1, 0, 0, 255, 255], [1, 4]];
  for (const bytes of bad) asking.publish(subject, Buffer.from(bytes), { reply: 'nobody' });
  // Credit and cancellation of no answer say nothing.
  for (const bytes of [
    [1, 2, 0, 0, 0, 1],
    [1, 3],
  ])
    asking.publish(subject, Buffer.from(bytes), { reply: 'nobody' });
  asking.publish(subject, Buffer.of(1, 1));
  await until(
    'all refusals',
    () => broker.refusals.length > bad.length,
    () => broker.refusals,
  );
  assert.equal(broker.refusals.length, bad.length + 1, broker.refusals.join('\n'));
  assert.equal(agent.ended, undefined);
  agent.kill();
  await broker.close();
});

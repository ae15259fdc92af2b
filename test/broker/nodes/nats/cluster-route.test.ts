/** Nodes that are connected to another broker: the contract, and what is lost between brokers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { NodeLists } from '../../../../src/broker/nodes/nats/node-lists.js';
import type { NodePlaces } from '../../../../src/broker/nodes/nats/node-places.js';
import { RouteServer } from '../../../../src/broker/nodes/nats/route-server.js';
import { sessionSubject } from '../../../../src/broker/nodes/nats/session-subject.js';
import type { NodeRoute } from '../../../../src/broker/nodes/node-route.js';
import { listNodesResponseCodec, type Node } from '../../../../src/wire/messages.js';
import { encodeRouteRequest } from '../../../../src/wire/route-message.js';
import { nodeRouteContract } from '../../../contract/node-route.js';
import { startNodeServer } from '../../../harness/broker/node-server.js';
import { TestAgent } from '../../../harness/broker/test-agent.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { EVERYTHING, recorderOf, startRouteBroker } from '../../../harness/nats/route-broker.js';
import { linkTo, newCluster, twoOnNats } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

const skip = needsNats();
const nats = twoOnNats();

if (skip === false) {
  nodeRouteContract('nats', async () => {
    const cluster = await newCluster(nats.links[0]);
    const [asks, has] = await Promise.all([
      startRouteBroker(cluster, 0, nats.links[0]),
      startRouteBroker(cluster, 1, nats.links[1]),
    ]);
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

async function outcomeOf(route: NodeRoute) {
  const answer = route.history('a', EVERYTHING)!;
  while ((await answer.next()) !== undefined);
  return answer.outcome!;
}

test('a node that moves is reached where it is, its session before ends, and so do answers of that', {
  skip,
}, async () => {
  const cluster = await newCluster(nats.links[0]);
  const brokers = await Promise.all([
    startRouteBroker(cluster, 0, nats.links[0]),
    startRouteBroker(cluster, 1, nats.links[1]),
  ]);
  const [one, other] = brokers;
  const recorder = recorderOf(2_000);
  const first = await TestAgent.connect(other.server.address, 'a', recorder);
  await until('that it is reached', () => one.route.reaches('a'));
  const answer = one.route.history('a', EVERYTHING)!;
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
  const [one, other] = await Promise.all([
    startRouteBroker(cluster, 0, nats.links[0]),
    startRouteBroker(cluster, 1, nats.links[1]),
  ]);
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
    callback: (_error, { reply }) => asking.publish(reply!, Buffer.of(2, 0, 0, 0, 1, 0, 7)),
  });
  await asking.flush();
  const outcome = await outcomeOf(one.route);
  assert.match(outcome.kind === 'failed' ? outcome.message : '', /^part 1 of its answer came where 0 was due/);
  subscription.unsubscribe();
  await Promise.all([one, other].map((broker) => broker.close()));
});

test('what no broker says is refused, and nothing happens', { skip }, async () => {
  const cluster = await newCluster(nats.links[0]);
  const broker = await startRouteBroker(cluster, 0, nats.links[0]);
  const agent = await TestAgent.connect(broker.server.address, 'a', recorderOf(10));
  await until('its session', () => broker.places.of('a')?.session);
  const subject = sessionSubject(cluster, 'a', broker.places.of('a')!.session);
  const { asking } = nats.links[1];
  const bad = [[], [2], [1, 1], [2, 9], [2, 1, 0, 200, 1], [2, 2, 0, 0], [2, 4, 255], [2, 1, 0, 0, 255, 255], [2, 4]];
  for (const bytes of bad) asking.publish(subject, Buffer.from(bytes), { reply: 'nobody' });
  // Credit and cancellation of no answer say nothing.
  for (const bytes of [
    [2, 2, 0, 0, 0, 0, 0, 0, 0, 1],
    [2, 3],
  ])
    asking.publish(subject, Buffer.from(bytes), { reply: 'nobody' });
  asking.publish(subject, Buffer.of(2, 1));
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

test('where a node is, is written down again where that was lost, and not for a session that has ended', {
  skip,
}, async () => {
  const cluster = await newCluster(nats.links[0]);
  const [broker, other] = await Promise.all([
    startRouteBroker(cluster, 0, nats.links[0]),
    startRouteBroker(cluster, 1, nats.links[1]),
  ]);
  const agent = await TestAgent.connect(broker.server.address, 'a', recorderOf(1));
  const session = await until('its session', () => other.places.of('a')?.session);
  // As a state that went back in time says it.
  await other.places.forget('a');
  await until('it is there again', () => other.places.of('a')?.session === session);
  agent.kill();
  await until('it is gone', () => other.places.of('a')?.session === '');
  const { registry } = broker.server;
  const unlisten = registry.listen((node) => registry.session(node)?.close('at once'));
  const brief = await TestAgent.connect(broker.server.address, 'brief', recorderOf(1)).catch(() => undefined);
  await until('what is written of it', () => other.places.of('brief') !== undefined);
  await until('it is not taken for connected', () => other.places.of('brief')?.session === '');
  unlisten();
  brief?.kill();
  assert.deepEqual(broker.refusals, []);
  await Promise.all([broker.close(), other.close()]);
});

test('who answers what was not asked of the nodes is not asked for ever', { skip }, async () => {
  const [{ asking }, { asking: answers }] = nats.links;
  const place = { recorderId: 'r', bootId: 'b', epoch: 1, broker: 'b9', session: 's' };
  const places = { of: () => place } as unknown as NodePlaces;
  const lists = new NodeLists({ connection: asking, cluster: 'odd', broker: 'b0', places });
  let nodes: readonly Node[] = [];
  const subscription = answers.subscribe('bp.odd.nodes.b9', {
    callback: (_error, message) => void message.respond(listNodesResponseCodec.encode({ nodes: [...nodes] })),
  });
  await answers.flush();
  nodes = [{ name: 'c' }];
  assert.deepEqual([...(await lists.of(['a', 'b'])).keys()], []);
  nodes = [{ name: 'a' }, { name: 'a' }, { name: 'c' }];
  assert.deepEqual([...(await lists.of(['a', 'b'])).keys()], ['a']);
  subscription.unsubscribe();
});

test('an answer that is ready when the connection is closed by then is not sent', { skip }, async () => {
  const link = await linkTo(nats.servers);
  const { asking } = nats.links[0];
  const server = await startNodeServer();
  let settle: () => void = () => undefined;
  const settled = () => new Promise<void>((resolve) => (settle = resolve));
  const { registry } = server;
  const serves = new RouteServer({
    ...{ connection: link.asking, cluster: 'closing', registry, settled },
    onRefusal: assert.fail,
  });
  const agent = await TestAgent.connect(server.address, 'a', recorderOf(1));
  const subject = sessionSubject('closing', 'a', registry.session('a')!.id);
  await link.asking.flush();
  asking.publish(subject, encodeRouteRequest({ kind: 'takeover' }), { reply: 'nobody' });
  await until('its session ends', () => agent.ended !== undefined);
  serves.close();
  await link.close();
  settle();
  // An error that nobody catches would end the process by the next turn.
  await setImmediate();
  agent.kill();
  await server.close();
});

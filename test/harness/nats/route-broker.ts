/** What a broker has to reach the nodes of others, and to answer what others ask of its own. */
import assert from 'node:assert/strict';
import type { NatsLink } from '../../../src/broker/nats/nats-link.js';
import { ClusterRoute } from '../../../src/broker/nodes/nats/cluster-route.js';
import { checkClusterState } from '../../../src/broker/nodes/nats/cluster-state.js';
import { NodePlaces } from '../../../src/broker/nodes/nats/node-places.js';
import { PlaceKeeper } from '../../../src/broker/nodes/nats/place-keeper.js';
import type { RouteBounds } from '../../../src/broker/nodes/nats/route-bounds.js';
import { RouteServer } from '../../../src/broker/nodes/nats/route-server.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { type NodeServer, startNodeServer } from '../broker/node-server.js';
import { TestAgent, TestRecorder } from '../broker/test-agent.js';
import { until } from '../until.js';
import { newCluster, openNatsState } from './state-under-test.js';

/** Of the node of withAskedNode(). */
export const ASKED_EVENTS = 1_000;

export interface RouteBroker {
  readonly server: NodeServer;
  readonly route: ClusterRoute;
  readonly places: NodePlaces;
  /** What it refused of what others said. */
  readonly refusals: string[];
  close(): Promise<void>;
}

/** @param at its number in the cluster */
export async function startRouteBroker(
  cluster: string,
  at: number,
  link: NatsLink,
  bounds?: Partial<RouteBounds>,
): Promise<RouteBroker> {
  const broker = `b${at}`;
  const state = await openNatsState(link, cluster, { broker, check: checkClusterState });
  const places = new NodePlaces(state);
  const server = await startNodeServer();
  const { registry, settled } = server;
  const connection = link.asking;
  const route = new ClusterRoute({ connection, cluster, local: server.route, places, bounds });
  const refusals: string[] = [];
  const onRefusal = ({ message }: Error) => refusals.push(message);
  const serves = new RouteServer({ connection, cluster, registry, settled, onRefusal, bounds });
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

export interface AskedNode {
  readonly route: ClusterRoute;
  readonly agent: TestAgent;
}

/**
 * One broker asks, and another one has node `a` with its ASKED_EVENTS, for as long as `run` takes. Nothing is refused, and in the
 * end the node answers nothing any more.
 */
export async function withAskedNode(
  links: readonly [NatsLink, NatsLink],
  [asker, server]: readonly [Partial<RouteBounds>, Partial<RouteBounds>],
  run: (node: AskedNode) => Promise<void>,
): Promise<void> {
  const cluster = await newCluster(links[0]);
  const brokers = await Promise.all([
    startRouteBroker(cluster, 0, links[0], asker),
    startRouteBroker(cluster, 1, links[1], server),
  ]);
  const [{ route }, has] = brokers;
  const agent = await TestAgent.connect(has.server.address, 'a', recorderOf(ASKED_EVENTS));
  try {
    await until('that it is reached', () => route.reaches('a'));
    await run({ route, agent });
    await until('that it answers nothing any more', () => agent.runningQueries === 0);
  } finally {
    agent.kill();
    await Promise.all(brokers.map((broker) => broker.close()));
  }
  assert.deepEqual(
    brokers.flatMap(({ refusals }) => refusals),
    [],
  );
}

const { spec: predicate } = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });

/** All that a node has. */
export const EVERYTHING = { client: 'me', predicates: [predicate], last: 0, creditBytes: 65_536 };

/** Of node `a`, whose events have 500 bytes of text. */
export function recorderOf(events: number): TestRecorder {
  const recorder = new TestRecorder('a', 1, BigInt(Date.now() - 60_000) * 1_000_000n);
  for (let pid = 0; pid < events; pid++) recorder.record('process.exec', pid, 'x'.repeat(500));
  return recorder;
}

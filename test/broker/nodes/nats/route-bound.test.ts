/**
 * What is on its way between brokers is bounded over all answers together: to the broker that asks, and from the one that
 * has the nodes. Each has a bound of its own, so each is tried where the other one would let all answers through.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HistoryAnswer } from '../../../../src/broker/nodes/history/history-answer.js';
import {
  HISTORY_CREDIT_BYTES,
  HISTORY_QUERIES_PER_CLIENT_MAX,
  ROUTE_OUTSTANDING_BYTES_MAX,
} from '../../../../src/limits.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { decodeHistoryFrame } from '../../../../src/wire/frame/history-frame.js';
import { TestAgent, TestRecorder } from '../../../harness/broker/test-agent.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { type RouteBroker, startRouteBroker } from '../../../harness/nats/route-broker.js';
import { linkTo, newCluster, twoOnNats } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

const skip = needsNats();
const nats = twoOnNats();

const NODES = 6;
/** Some more than an answer's first credit. */
const EVENTS = 700;
const EVENT_BYTES = 2_000;
const AT_ONCE = ROUTE_OUTSTANDING_BYTES_MAX / HISTORY_CREDIT_BYTES;
const ANSWERS = NODES * HISTORY_QUERIES_PER_CLIENT_MAX;
const { spec: predicate } = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const request = { client: 'me', predicates: [predicate], last: 0, creditBytes: HISTORY_CREDIT_BYTES };

/** The half of the nodes with even numbers, and the other one. */
type Halves<T> = readonly [T, T];
const half = (node: number) => node % 2;

for (const [what, askers, havers] of [
  ['come to one broker from the nodes of two others', 1, 2],
  ['go from the nodes of one broker to two others', 2, 1],
] as const)
  test(`answers that nobody reads, and that ${what}, are bounded together, and all go on when read`, {
    skip,
  }, async () => {
    const links = await Promise.all(Array.from({ length: askers + havers }, () => linkTo(nats.servers)));
    const cluster = await newCluster(links[0]!);
    const brokers = await Promise.all(links.map((link, at) => startRouteBroker(cluster, at, link)));
    const asked = [brokers[0]!, brokers[askers - 1]!] as const;
    const having = [brokers[askers]!, brokers.at(-1)!] as const;
    const nodes = await connectNodes(having);
    try {
      await bounded(asked, nodes);
    } finally {
      for (const node of nodes) node.kill();
      await Promise.all(brokers.map((broker) => broker.close()));
      await Promise.all(links.map((link) => link.close()));
    }
  });

async function connectNodes(having: Halves<RouteBroker>): Promise<TestAgent[]> {
  const connecting = Array.from({ length: NODES }, (_, node) => {
    const recorder = new TestRecorder(`n${node}`, 1, BigInt(Date.now() - 60_000) * 1_000_000n);
    for (let pid = 0; pid < EVENTS; pid++) recorder.record('process.exec', pid, 'x'.repeat(EVENT_BYTES));
    return TestAgent.connect(having[half(node)]!.server.address, `n${node}`, recorder);
  });
  return Promise.all(connecting);
}

async function bounded(asked: Halves<RouteBroker>, nodes: readonly TestAgent[]): Promise<void> {
  const routes = nodes.map((_, node) => asked[half(node)]!.route);
  await until('that all are reached', () => routes.every((route, node) => route.reaches(nodes[node]!.node)));
  let [sentBytes, frameBytesMax, runningMax] = [0, 0, 0];
  const running = () => nodes.reduce((sum, { runningQueries }) => sum + runningQueries, 0);
  for (const node of nodes) {
    node.mangleHistory = (bytes) => {
      sentBytes += bytes.length;
      frameBytesMax = Math.max(frameBytesMax, bytes.length);
      runningMax = Math.max(runningMax, running());
      return bytes;
    };
  }
  const answers = routes.flatMap((route, node) =>
    Array.from({ length: HISTORY_QUERIES_PER_CLIENT_MAX }, () => route.history(nodes[node]!.node, request)!),
  );
  assert.equal(answers.length, ANSWERS);
  assert.ok(ANSWERS > AT_ONCE && ANSWERS / 2 < AT_ONCE);
  const areFull = () => sentBytes >= ROUTE_OUTSTANDING_BYTES_MAX;
  await until('that answers stand at the bound', areFull, () => sentBytes);
  const beyond = sentBytes - ROUTE_OUTSTANDING_BYTES_MAX;
  assert.ok(beyond <= AT_ONCE * frameBytesMax, `${beyond} bytes beyond the bound, frames have ${frameBytesMax}`);
  assert.deepEqual(await Promise.all(answers.map(eventsOf)), Array(ANSWERS).fill(EVENTS));
  assert.ok(answers.every(({ outcome }) => outcome?.kind === 'end'));
  // Also while some are read and others begin.
  assert.equal(runningMax, AT_ONCE);
}

/** Of all frames of the answer, after its end. */
async function eventsOf(answer: HistoryAnswer): Promise<number> {
  let events = 0;
  for (let bytes = await answer.next(); bytes !== undefined; bytes = await answer.next()) {
    events += decodeHistoryFrame(bytes).wallNs.length;
  }
  return events;
}

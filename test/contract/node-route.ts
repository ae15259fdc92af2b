/** What every way to nodes must do, whichever broker has their sessions. */
import assert from 'node:assert/strict';
import type { HistoryAnswer } from '../../src/broker/nodes/history/history-answer.js';
import type { NodeRoute } from '../../src/broker/nodes/node-route.js';
import { HISTORY_QUERIES_PER_CLIENT_MAX, KiB } from '../../src/limits.js';
import { compilePredicate } from '../../src/subscriptions/predicate.js';
import { decodeHistoryFrame } from '../../src/wire/frame/history-frame.js';
import { type TestAgent, TestRecorder } from '../harness/broker/test-agent.js';
import { until } from '../harness/until.js';
import { type Each, eachWith } from './each.js';

export interface NodeRouteUnderTest {
  readonly route: NodeRoute;
  /** The node's agent connects, to whichever broker. */
  connect(node: string, recorder: TestRecorder): Promise<TestAgent>;
  destroy(): Promise<void>;
}

const CREDIT_BYTES = 64 * KiB;
const { spec: predicate } = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const request = { client: 'me', predicates: [predicate], last: 0, creditBytes: CREDIT_BYTES };

/** A recorder that has so many events with a text of so many bytes. */
function recorderOf(events: number, textBytes = 0): TestRecorder {
  const recorder = new TestRecorder('a', 1, BigInt(Date.now() - 60_000) * 1_000_000n);
  for (let pid = 0; pid < events; pid++) recorder.record('process.exec', pid, 'x'.repeat(textBytes));
  return recorder;
}

/** Events of all frames of the answer, after its end. */
async function read(answer: HistoryAnswer): Promise<number> {
  let events = 0;
  for (let bytes = await answer.next(); bytes !== undefined; bytes = await answer.next()) {
    events += decodeHistoryFrame(bytes).wallNs.length;
  }
  return events;
}

export function nodeRouteContract(name: string, create: () => Promise<NodeRouteUnderTest>): void {
  const each = eachWith(name, create);
  reachesNodes(each);
  answersUnderCredit(each);
}

function reachesNodes(each: Each<NodeRouteUnderTest>): void {
  each('a node that is not connected is not reached, and is asked for nothing', async ({ route, connect }) => {
    assert.equal(route.reaches('a'), false);
    assert.equal(route.history('a', request), undefined);
    route.tell('a', { lease: { budget: { liveBytesPerSecond: 1 } } });
    const agent = await connect('a', recorderOf(0));
    await until('that it is reached', () => route.reaches('a'));
    assert.equal(route.reaches('b'), false);
    agent.kill();
    await until('that it is gone', () => !route.reaches('a'));
    assert.equal(route.history('a', request), undefined);
  });

  each('an answer has all frames in order, and then an end', async ({ route, connect }) => {
    await connect('a', recorderOf(1_000));
    await until('that it is reached', () => route.reaches('a'));
    const answer = route.history('a', request)!;
    const times: bigint[] = [];
    for (let bytes = await answer.next(); bytes !== undefined; bytes = await answer.next()) {
      times.push(...decodeHistoryFrame(bytes).wallNs);
    }
    assert.equal(times.length, 1_000);
    assert.deepEqual(
      times,
      [...times].sort((a, b) => (a < b ? -1 : 1)),
    );
    assert.equal(answer.outcome?.kind, 'end');
    assert.equal(await answer.next(), undefined);
  });

  each('what the request says reaches the node: predicate, window, last', async ({ route, connect }) => {
    const recorder = recorderOf(100);
    await connect('a', recorder);
    await until('that it is reached', () => route.reaches('a'));
    const { position } = recorder.events[59]!.event;
    assert.equal(await read(route.history('a', { ...request, after: position })!), 40);
    assert.equal(await read(route.history('a', { ...request, upTo: position })!), 60);
    assert.equal(await read(route.history('a', { ...request, last: 7 })!), 7);
    const { position: to } = recorder.events[69]!.event;
    assert.equal(await read(route.history('a', { ...request, within: [{ from: position, to }] })!), 10);
    const wallNs = recorder.events[50]!.event.wallNs;
    assert.equal(await read(route.history('a', { ...request, sinceNs: wallNs })!), 50);
    assert.equal(await read(route.history('a', { ...request, untilNs: wallNs })!), 50);
    const network = compilePredicate({ topics: ['network'], filter: '', includeSelf: true }).spec;
    assert.equal(await read(route.history('a', { ...request, predicates: [network] })!), 0);
  });
}

function answersUnderCredit(each: Each<NodeRouteUnderTest>): void {
  each('an answer that nobody reads stops at its credit, holds up no other, and goes on when read', async (under) => {
    const { route, connect } = under;
    const agent = await connect('a', recorderOf(2_000, 500));
    await until('that it is reached', () => route.reaches('a'));
    let sentBytes = 0;
    agent.mangleHistory = (bytes) => {
      sentBytes += bytes.length;
      return bytes;
    };
    const unread = route.history('a', request)!;
    await until('that it stops at its credit', () => sentBytes >= CREDIT_BYTES / 2);
    assert.equal(await read(route.history('a', { ...request, client: 'other', last: 10 })!), 10);
    assert.ok(sentBytes < 3 * CREDIT_BYTES, `${sentBytes} bytes of about ${2_000 * 500}`);
    assert.equal(await read(unread), 2_000);
    assert.equal(unread.outcome?.kind, 'end');
  });

  each('a cancelled query ends at the node, and its place goes to the next', async ({ route, connect }) => {
    const agent = await connect('a', recorderOf(2_000, 500));
    await until('that it is reached', () => route.reaches('a'));
    const answers = Array.from({ length: HISTORY_QUERIES_PER_CLIENT_MAX }, () => route.history('a', request)!);
    const waiting = route.history('a', { ...request, last: 5 })!;
    await until('that all run', () => agent.runningQueries === HISTORY_QUERIES_PER_CLIENT_MAX);
    for (const answer of answers) answer.cancel();
    assert.equal(await answers[0]!.next(), undefined);
    assert.equal(await read(waiting), 5);
    await until('that the node runs none', () => agent.runningQueries === 0);
  });

  each('the answers of a node that goes fail, and say so; after it came back it is asked anew', async (under) => {
    const { route, connect } = under;
    const recorder = recorderOf(2_000, 500);
    const agent = await connect('a', recorder);
    await until('that it is reached', () => route.reaches('a'));
    const answer = route.history('a', request)!;
    assert.ok((await answer.next()) !== undefined);
    agent.kill();
    await read(answer);
    const { outcome } = answer;
    assert.ok(outcome?.kind === 'failed' && /^node a went: /.test(outcome.message), JSON.stringify(outcome));
    await until('that it is gone', () => !route.reaches('a'));
    await connect('a', recorder);
    await until('that it is back', () => route.reaches('a'));
    assert.equal(await read(route.history('a', request)!), 2_000);
  });

  each('a takeover ends the session of its node, and of no other; without one it does nothing', async (under) => {
    const { route, connect } = under;
    const [a, b] = [await connect('a', recorderOf(0)), await connect('b', new TestRecorder('b', 1, 0n))];
    await until('that both are reached', () => route.reaches('a') && route.reaches('b'));
    await route.takeover('a');
    await until('that it has ended', () => a.ended !== undefined && !route.reaches('a'));
    assert.equal(b.ended, undefined);
    await route.takeover('a');
    await route.takeover('c');
  });

  each('a lease reaches its node, and no other', async ({ route, connect }) => {
    const [a, b] = [await connect('a', recorderOf(0)), await connect('b', new TestRecorder('b', 1, 0n))];
    await until('that both are reached', () => route.reaches('a') && route.reaches('b'));
    route.tell('a', { lease: { budget: { liveBytesPerSecond: 4321 }, validMs: 1_000 } });
    await until('the lease', () => a.leases.includes(4321));
    assert.deepEqual(b.leases, []);
  });
}

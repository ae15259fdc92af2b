/** What brokers tell each other of from where their nodes' frames are complete. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BrokerLeases } from '../../../../src/broker/nodes/nats/broker-leases.js';
import { ClusterInterest } from '../../../../src/broker/nodes/nats/cluster-interest.js';
import { ClusterNodes } from '../../../../src/broker/nodes/nats/cluster-nodes.js';
import { checkClusterState } from '../../../../src/broker/nodes/nats/cluster-state.js';
import { NodePlaces } from '../../../../src/broker/nodes/nats/node-places.js';
import { NodeRegistry } from '../../../../src/broker/nodes/node-registry.js';
import type { NodeSession } from '../../../../src/broker/nodes/node-session.js';
import { HOLDS_LINGER_MS, INTEREST_GRACE_MS } from '../../../../src/limits.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { helloOf } from '../../../harness/broker/hello.js';
import { openLogs, openState } from '../../../harness/broker/stores.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { until } from '../../../harness/until.js';

const predicate = (type: string) =>
  compilePredicate({ topics: ['process'], filter: `event.type == "${type}"`, includeSelf: true }).spec;

/** One broker, `b1`, that has a session of the node `n`. */
async function oneNode(t: TestContext) {
  const dir = scratchDirectory('nodes');
  const state = openState(dir, { check: checkClusterState });
  const store = await openLogs(dir);
  const clock = { ms: 1_000 };
  const now = () => clock.ms;
  const broker = 'b1';
  const leases = new BrokerLeases(state, broker, now);
  const interest = new ClusterInterest({ state, broker, alive: () => true, now, warn: assert.fail });
  const registry = new NodeRegistry(interest, store, undefined, assert.fail);
  const places = new NodePlaces(state);
  const failures: unknown[] = [];
  const onFailure = (cause: unknown) => void failures.push(cause);
  const nodes = new ClusterNodes({ state, broker, registry, interest, places, leases, onFailure });
  t.after(async () => {
    await nodes.close();
    registry.close();
    await store.close();
    assert.deepEqual(failures, []);
  });
  const counts = { told: 0, written: 0 };
  const { record, session: id } = registry.admit(helloOf('n'), '10.0.0.1');
  const answer = (generation: number) => {
    counts.told++;
    const position = { epoch: 1, timeNs: BigInt(generation), lane: 0, tie: 0 };
    queueMicrotask(() => registry.acknowledged(record, generation, position, new Map()));
  };
  const session = { id, record, open: true, sendInterest: answer, sendInterestChange: answer };
  registry.attach(session as unknown as NodeSession);
  state.watch('holds.n', () => {
    counts.written++;
  });
  const steps = () => (state.get('holds.n')?.value.steps as object[] | undefined)?.length ?? 0;
  return { state, clock, interest, registry, places, leases, session, counts, steps };
}

test('a node is written down again for a predicate that comes, and for none that goes', async (t) => {
  const { clock, interest, counts, steps } = await oneNode(t);
  await interest.claim(predicate('process.exec'), []);
  await until('the first', () => steps() === 1);
  const release = await interest.claim(predicate('process.exit'), []);
  await until('both', () => steps() === 2);
  const before = { ...counts };
  release();
  clock.ms += INTEREST_GRACE_MS;
  await interest.expire();
  await until('it is told that one is not asked for any more', () => counts.told > before.told);
  await sleep(3 * HOLDS_LINGER_MS);
  assert.equal(counts.written, before.written);
  await interest.claim(predicate('process.fork'), []);
  await until('the third', () => counts.written > before.written);
  assert.equal(steps(), 2, 'what is not asked for is not in it');
});

test('of two brokers that have a session of one node, only the one where it is writes it down', async (t) => {
  const { state, interest, places, session, counts, steps } = await oneNode(t);
  await interest.claim(predicate('process.exec'), []);
  await until('the first', () => steps() === 1);
  const place = { recorderId: 'r', bootId: 'b', epoch: 1 };
  await places.take('n', () => ({ ...place, broker: 'b2', session: 'another' }));
  await state.put('holds.n', { steps: [], not: [], broker: 'b2' });
  await interest.claim(predicate('process.exit'), []);
  const before = counts.written;
  await sleep(5 * HOLDS_LINGER_MS);
  assert.equal(counts.written, before, 'what the other broker said stays');
  await places.take('n', () => ({ ...place, broker: 'b1', session: session.id }));
  await until('it is written down where it is again', () => steps() === 2);
  assert.equal(state.get('holds.n')?.value.broker, 'b1');
});

test('a node whose session here ended before it began is where it was', async (t) => {
  const { registry, places, leases, state } = await oneNode(t);
  const signs = { nodes: 1, bytesPerSecond: 0, address: '', version: '', retired: false };
  await state.put('broker.b2', { beat: 1, ...signs });
  assert.ok(leases.alive('b2'));
  const hello = helloOf('m');
  const { recorderId, bootId } = hello;
  await places.take('m', () => ({ recorderId, bootId, epoch: 1, broker: 'b2', session: 'there' }));
  const isThere = () =>
    registry.record('m')?.connection?.session === 'there' && registry.connected(() => true).includes('m');
  await until('it is known', isThere);
  const { record, session: id } = registry.admit(hello, '10.0.0.1');
  const session = { id, record, open: false } as unknown as NodeSession;
  registry.attach(session);
  registry.detach(session);
  assert.ok(isThere());
});

/** Which names a broker keeps, and for how long. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { LogStore } from '../../../src/broker/log/log-store.js';
import { HoldSteps } from '../../../src/broker/nodes/asked/holds.js';
import { NodeRegistry } from '../../../src/broker/nodes/node-registry.js';
import { checkNodeState, nodeEntries, type SavedNode, savedNodes } from '../../../src/broker/nodes/node-state.js';
import { NODE_KEPT_MS, NODE_UNPROVEN_KEPT_MS, NODES_MAX, NODES_PER_PEER_MAX } from '../../../src/limits.js';
import { range } from '../../harness/broker/harness.js';
import { helloOf } from '../../harness/broker/hello.js';
import { newBook, openLogs, openState } from '../../harness/broker/stores.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

const NOW_MS = Date.now();
let store: LogStore;
let dir: string;
beforeEach(async () => {
  dir = scratchDirectory();
  store = await openLogs(dir);
});
afterEach(() => store.close());

const stateIn = (dir: string) => openState(dir, { name: 'interest', check: checkNodeState });

async function registryOf(nodes: readonly SavedNode[]): Promise<NodeRegistry> {
  const state = stateIn(dir);
  await Promise.all(
    nodes.flatMap((each) => nodeEntries(each, HoldSteps.NONE)).map(([key, value]) => state.put(key, value)),
  );
  return new NodeRegistry(newBook(NOW_MS), store, state, (cause) => assert.fail(String(cause)));
}

const saved = (name: string, node: Partial<SavedNode> = {}): SavedNode => {
  const holds = HoldSteps.NONE;
  const seenMs = NOW_MS;
  return {
    name,
    recorderId: 'r',
    epoch: 1,
    holds,
    seenMs,
    connected: false,
    delivered: true,
    peer: '10.0.0.1',
    ...node,
  };
};

const names = (registry: NodeRegistry) => [...registry.all()].map(({ name }) => name);

test('a node that delivered is known for 30 days after it was last seen, one that never delivered for 10 minutes', async () => {
  const registry = await registryOf([saved('real'), saved('fake', { delivered: false })]);
  registry.expire(NOW_MS + NODE_UNPROVEN_KEPT_MS);
  assert.deepEqual(names(registry), ['real', 'fake']);
  registry.expire(NOW_MS + NODE_UNPROVEN_KEPT_MS + 1);
  assert.deepEqual(names(registry), ['real']);
  registry.expire(NOW_MS + NODE_KEPT_MS);
  assert.deepEqual(names(registry), ['real']);
  registry.expire(NOW_MS + NODE_KEPT_MS + 1);
  assert.deepEqual(names(registry), []);
  registry.close();
});

test('a connected node stays known, however long it is silent', async () => {
  const registry = await registryOf([]);
  registry.admit(helloOf('quiet'), '10.0.0.1');
  registry.expire(NOW_MS + 2 * NODE_KEPT_MS);
  assert.deepEqual(names(registry), ['quiet']);
  registry.close();
});

test('known nodes are saved and loaded with when they were seen, whether they delivered, and their address', async () => {
  const registry = await registryOf([]);
  const { record } = registry.admit(helloOf('a'), '10.0.0.7');
  registry.delivered(record);
  await registry.save();
  registry.close();
  const [node] = savedNodes(stateIn(dir));
  assert.deepEqual([node?.connected, node?.delivered, node?.peer], [true, true, '10.0.0.7']);
  assert.ok(node!.seenMs >= record.lastSeenMs);
  const again = await registryOf([node!]);
  assert.ok(again.record('a')!.lastSeenMs <= Date.now());
  again.close();
});

test('at the bound of names per address those that never delivered go first, then one more name is refused', async () => {
  const crowd = range(0, NODES_PER_PEER_MAX - 1).map((at) => saved(`n${at}`, { seenMs: NOW_MS - 1000 - at }));
  const registry = await registryOf([...crowd, saved('fake', { delivered: false })]);
  registry.admit(helloOf('new-0'), '10.0.0.1');
  assert.equal(registry.record('fake'), undefined);
  // Next goes the node that was seen least recently.
  registry.admit(helloOf('new-1'), '10.0.0.1');
  assert.equal(registry.record(`n${NODES_PER_PEER_MAX - 2}`), undefined);
  for (const at of range(2, NODES_PER_PEER_MAX)) registry.admit(helloOf(`new-${at}`), '10.0.0.1');
  assert.equal(names(registry).length, NODES_PER_PEER_MAX);
  const refused = /resource_exhausted|at most 1024 nodes of one address \(10\.0\.0\.1\) can be known at once/;
  assert.throws(() => registry.admit(helloOf('one-more'), '10.0.0.1'), refused);
  registry.admit(helloOf('one-more'), '10.0.0.2');
  // A known node may come back even at the bound.
  registry.admit(helloOf('new-0'), '10.0.0.1');
  registry.close();
});

test('at the bound over all addresses, names that never delivered do not push out a node that did', async () => {
  const fakes = range(0, NODES_MAX - 1).map((at) => saved(`f${at}`, { delivered: false, peer: `10.1.0.${at % 200}` }));
  const registry = await registryOf([saved('real', { seenMs: NOW_MS - NODE_KEPT_MS / 2 }), ...fakes]);
  for (const at of range(0, 100)) registry.admit(helloOf(`g${at}`), `10.2.0.${at}`);
  assert.equal(names(registry).length, NODES_MAX);
  assert.ok(registry.record('real'));
  registry.close();
});

test('the bound of one address is not on the nodes of other brokers', async () => {
  const registry = await registryOf([]);
  const place = { recorderId: 'r', bootId: 'b', epoch: 1, session: 's', holds: HoldSteps.NONE };
  for (const at of range(0, NODES_PER_PEER_MAX + 1)) registry.learn(`n${at}`, place);
  assert.equal(registry.connectedEverywhere, NODES_PER_PEER_MAX + 1);
  registry.close();
});

test('from when a node of another broker has a recording is as that broker says', async () => {
  const registry = await registryOf([]);
  const place = { recorderId: 'r', bootId: 'b', epoch: 1, session: 's', holds: HoldSteps.NONE };
  registry.learn('a', { ...place, recorded: { from: { seconds: '100', nanos: 5 }, all: true } });
  registry.learn('b', place);
  const [a, b] = [registry.record('a')!, registry.record('b')!];
  const second = 1_000_000_000n;
  assert.deepEqual([a.recordedAfter(100n * second), a.recordedAfter(101n * second)], [true, false]);
  assert.deepEqual([b.recordedFromNs, b.recordedAfter(0n)], [undefined, false]);
  registry.close();
});

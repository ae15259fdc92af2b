/** What a broker says to the others of the nodes that it has: that stands in the state, whatever happens to that. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SharedState, StateChange } from '../../../../src/broker/cluster/shared-state.js';
import { HoldSteps } from '../../../../src/broker/nodes/asked/holds.js';
import { BrokerLeases } from '../../../../src/broker/nodes/nats/broker-leases.js';
import { ClusterInterest } from '../../../../src/broker/nodes/nats/cluster-interest.js';
import { ClusterNodes } from '../../../../src/broker/nodes/nats/cluster-nodes.js';
import { checkClusterState } from '../../../../src/broker/nodes/nats/cluster-state.js';
import { NodePlaces } from '../../../../src/broker/nodes/nats/node-places.js';
import type { NodeElsewhere } from '../../../../src/broker/nodes/node-record.js';
import type { NodeListener, NodeRegistry } from '../../../../src/broker/nodes/node-registry.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { nsToTimestamp } from '../../../../src/wire/messages.js';
import { startNodeServer } from '../../../harness/broker/node-server.js';
import { openState } from '../../../harness/broker/stores.js';
import { TestAgent, TestRecorder } from '../../../harness/broker/test-agent.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { until } from '../../../harness/until.js';

const BUDGET = {
  ...{ liveBytesPerSecond: '1000', liveEventsPerSecond: '10', historyBytesPerSecond: '2000', burstMs: 500 },
};
const HOUR_NS = 3_600_000_000_000n;
const { spec: EXEC } = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });

/** One broker with a node, of which all holds but `holds.refused`, and whose clock is ahead by `holds.clockNs`. */
function brokerOn(state: SharedState) {
  const holds = { refused: '0', clockNs: 0n, looked: () => {} };
  const record = {
    stepsOf: () => ({ toValue: () => ({ steps: [], not: [holds.refused] }), isEnoughFor: () => false }),
    budget: BUDGET,
    get clockOffsetNs() {
      return holds.clockNs;
    },
  };
  let changed: NodeListener = () => assert.fail();
  const registry = {
    listen: (listener: NodeListener) => {
      changed = listener;
      return () => undefined;
    },
    session: (node: string) => (node === 'a' ? { id: 'session' } : undefined),
    record: () => record,
    connected: () => {
      holds.looked();
      return ['a'];
    },
  } as unknown as NodeRegistry;
  const broker = 'b1';
  const leases = new BrokerLeases(state, broker);
  const now = () => performance.now();
  const interest = new ClusterInterest({ state, broker, alive: () => true, now, warn: assert.fail });
  const places = new NodePlaces(state);
  const onFailure = (cause: unknown) => assert.fail(String(cause));
  const nodes = new ClusterNodes({ state, broker, registry, interest, places, leases, onFailure });
  return { holds, interest, nodes, changed: () => changed('a') };
}

const refusedIn = (state: SharedState) => String(state.get('holds.a')?.value.not);

test('what holds of a node is written again where the state has an earlier one again, or none', async () => {
  const state = openState(scratchDirectory('holds'), { check: checkClusterState });
  const { holds, interest, nodes } = brokerOn(state);
  const release = await interest.claim(EXEC, []);
  await until('it is written', () => refusedIn(state) === '0');
  const earlier = state.get('holds.a')!.value;
  holds.refused = '1';
  await interest.claim(EXEC, ['b']);
  await until('the next one is', () => refusedIn(state) === '1');
  // As a power cut can leave it.
  await state.put('holds.a', earlier);
  await until('it is again', () => refusedIn(state) === '1');
  await state.delete('holds.a');
  await until('it is once more', () => refusedIn(state) === '1');
  release();
  await nodes.close();
});

test('what holds is written again once the state went back: what it counts from may be lost', async () => {
  const state = openState(scratchDirectory('holds'), { check: checkClusterState });
  const gone = {
    epoch: 1,
    get: (key: string) => state.get(key),
    watch: (prefix: string, listener: (change: StateChange) => void) => state.watch(prefix, listener),
    put: (...all: Parameters<SharedState['put']>) => state.put(...all),
  };
  const { nodes, changed } = brokerOn(gone as unknown as SharedState);
  changed();
  await until('it is written', () => refusedIn(state) === '0');
  const before = state.get('holds.a')!.revision;
  gone.epoch++;
  changed();
  await until('it is again', () => state.get('holds.a')!.revision > before);
  await nodes.close();
});

test('what changes in the moment in which all is written is written, too', async () => {
  const state = openState(scratchDirectory('holds'), { check: checkClusterState });
  const { holds, nodes, changed } = brokerOn(state);
  changed();
  await until('the first is written', () => refusedIn(state) === holds.refused);
  for (let steps = 0; steps < 12; steps++) {
    const last = `${steps + 1}`;
    // So many steps after a look that finds nothing to write.
    holds.looked = () => {
      if (refusedIn(state) !== holds.refused) return;
      holds.looked = () => {};
      void (async () => {
        for (let at = 0; at < steps; at++) await undefined;
        holds.refused = last;
        changed();
      })();
    };
    changed();
    await until(`what changed ${steps} steps later`, () => refusedIn(state) === last);
  }
  await nodes.close();
});

test('of a node at another broker its own budget is known, and its clock by those of both, also once it is set', async () => {
  const state = openState(scratchDirectory('holds'), { check: checkClusterState });
  const { holds, nodes, changed } = brokerOn(state);
  const places = new NodePlaces(state);
  await places.take('a', () => ({ recorderId: 'r', bootId: 'b', epoch: 1, broker: 'b1', session: 'session' }));
  let learnt: NodeElsewhere | undefined;
  const other = new ClusterNodes({
    ...{ state, broker: 'b2', places, onFailure: (cause: unknown) => assert.fail(String(cause)) },
    interest: undefined as never,
    leases: { alive: () => true, listen: () => () => undefined, clockOffsetNs: () => 5n } as unknown as BrokerLeases,
    registry: {
      listen: () => () => undefined,
      session: () => undefined,
      connected: () => [],
      learn: (_node: string, known: NodeElsewhere) => {
        learnt = known;
      },
    } as unknown as NodeRegistry,
  });
  changed();
  await until('it is known', () => learnt?.budget !== undefined);
  assert.deepEqual([learnt?.budget, learnt?.clockOffsetNs?.()], [BUDGET, 5n]);
  holds.clockNs = HOUR_NS;
  changed();
  await until('its clock is', () => learnt?.clockOffsetNs?.() === HOUR_NS + 5n);
  await Promise.all([nodes.close(), other.close()]);
});

test('a node whose clock is set is one that has changed; of one elsewhere the clock is as its broker says', async () => {
  const server = await startNodeServer();
  const agent = await TestAgent.connect(server.address, 'a', new TestRecorder('r'));
  await until('it is connected', () => server.registry.session('a') !== undefined);
  let changes = 0;
  server.registry.listen(() => changes++);
  agent.say({ report: { wallTime: nsToTimestamp(BigInt(Date.now()) * 1_000_000n + HOUR_NS) } });
  await until('it is known', () => (server.registry.record('a')?.clockOffsetNs ?? 0n) > HOUR_NS / 2n);
  assert.equal(changes, 1);
  const known = { recorderId: 'r', bootId: 'b', epoch: 1, session: 's', holds: HoldSteps.NONE };
  server.registry.learn('b', { ...known, clockOffsetNs: () => HOUR_NS });
  assert.equal(server.registry.record('b')?.clockOffsetNs, HOUR_NS);
  agent.kill();
  await server.close();
});

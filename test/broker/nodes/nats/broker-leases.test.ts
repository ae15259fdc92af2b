/** What a broker knows of others by what each says of itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NatsState } from '../../../../src/broker/cluster/nats/nats-state.js';
import type { NatsLink } from '../../../../src/broker/nats/nats-link.js';
import { BrokerLeases } from '../../../../src/broker/nodes/nats/broker-leases.js';
import { ClusterMember } from '../../../../src/broker/nodes/nats/cluster-member.js';
import { CLUSTER_BROKERS_MAX } from '../../../../src/limits.js';
import { openState } from '../../../harness/broker/stores.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';

const SIGNS = { nodes: 0, bytesPerSecond: 0, address: '10.0.0.1:8484', version: '1.2.3', retired: false };
const LEASE_MS = 15_000;

test('a broker that lives is told from one that left a lease', async () => {
  const state = openState(scratchDirectory('leases'));
  let nowMs = 0;
  const [own, live, killed, left] = ['own', 'live', 'killed', 'left'].map(
    (name) => new BrokerLeases(state, name, () => nowMs, LEASE_MS),
  ) as [BrokerLeases, BrokerLeases, BrokerLeases, BrokerLeases];
  for (const leases of [live, killed, left]) await leases.beat(SIGNS);
  assert.deepEqual(
    own.all().map(({ broker }) => broker),
    ['killed', 'left', 'live'],
  );
  const beats = ['live', 'killed', 'left'].map((broker) => own.stillBeats(broker));
  nowMs = LEASE_MS - 1;
  await live.beat({ ...SIGNS, nodes: 1 });
  await left.leave();
  assert.deepEqual(await Promise.all([beats[0], beats[2]]), [true, false]);
  nowMs = LEASE_MS;
  assert.deepEqual(own.expire(true), ['killed']);
  assert.equal(await beats[1], false);
});

test('by how much the clock of another broker is ahead is known from what it says while it is read', async () => {
  const state = openState(scratchDirectory('leases'));
  const hourMs = 3_600_000;
  const say = (beat: number, lateMs: number) =>
    state.put('broker.other', { beat, wallMs: Date.now() + hourMs - lateMs, nodes: 0, bytesPerSecond: 0 });
  const offsetMs = () => Number(own.clockOffsetNs('other') / 1_000_000n);
  await say(1, 5_000);
  const own = new BrokerLeases(state, 'own');
  assert.equal(offsetMs(), 0, 'nobody knows when that was said');
  await say(2, 0);
  await say(3, 2_000);
  assert.ok(Math.abs(offsetMs() - hourMs) < 500, `${offsetMs()}`);
  assert.equal(own.clockOffsetNs('nobody'), 0n);
});

test('a broker more than a cluster can have does not begin, unless others have only left their leases', async () => {
  const state = openState(scratchDirectory('leases'));
  let nowMs = 0;
  const [own, ...others] = Array.from(
    { length: CLUSTER_BROKERS_MAX + 1 },
    (_, at) => new BrokerLeases(state, `b${at}`, () => nowMs, LEASE_MS),
  );
  await Promise.all(others.slice(1).map((leases) => leases.beat(SIGNS)));
  assert.equal(await own!.hasRoom(), true);
  await others[0]!.beat(SIGNS);
  const room = own!.hasRoom();
  nowMs = LEASE_MS - 1;
  await Promise.all(others.map((leases) => leases.beat(SIGNS)));
  assert.equal(await room, false);
  const later = own!.hasRoom();
  nowMs += LEASE_MS - 1;
  await Promise.all(others.slice(1).map((leases) => leases.beat(SIGNS)));
  nowMs += 1;
  assert.deepEqual(own!.expire(true), ['b1']);
  assert.equal(await later, true);
});

test('a broker that is one too many ends with a sentence that says so', async () => {
  const state = openState(scratchDirectory('leases'));
  const others = Array.from({ length: CLUSTER_BROKERS_MAX }, (_, at) => new BrokerLeases(state, `b${at}`));
  const beat = () => Promise.all(others.map((leases) => leases.beat(SIGNS)));
  await beat();
  const member = new ClusterMember({
    ...{ link: { asking: undefined } as unknown as NatsLink, cluster: 'c', broker: 'own' },
    ...{ state: state as unknown as NatsState, kept: { caughtUp: async () => undefined } },
    ...{ ceilingBytesPerSecond: undefined, warn: assert.fail },
  });
  const fits = member.fits(SIGNS.version);
  await beat();
  await assert.rejects(fits, {
    code: 'resource_exhausted',
    message: 'cluster c has 64 brokers and can have 64 at most: stop another one first',
  });
});

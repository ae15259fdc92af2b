/** Claims of many brokers: nothing that anybody asks for is missing, and what nobody asks for ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SharedState } from '../../../../src/broker/cluster/shared-state.js';
import { BrokerLeases } from '../../../../src/broker/nodes/nats/broker-leases.js';
import { ClusterInterest } from '../../../../src/broker/nodes/nats/cluster-interest.js';
import { checkClusterState } from '../../../../src/broker/nodes/nats/cluster-state.js';
import {
  BROKER_LEASE_MS,
  CLUSTER_BROKERS_MAX,
  INTEREST_BYTES_MAX,
  INTEREST_GRACE_MS,
  PREDICATES_MAX,
} from '../../../../src/limits.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { openState } from '../../../harness/broker/stores.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { until } from '../../../harness/until.js';

const predicate = (filter: string) => compilePredicate({ topics: ['process'], filter, includeSelf: true }).spec;
const [EXEC, EXIT] = [predicate('event.type == "process.exec"'), predicate('event.type == "process.exit"')];

/** Brokers on one state, and a clock. */
function brokersOn(state: SharedState) {
  const clock = { ms: 1_000 };
  const now = () => clock.ms;
  const start = (broker: string, warn: (message: string) => void = assert.fail) => {
    const leases = new BrokerLeases(state, broker, now);
    const interest = new ClusterInterest({ state, broker, alive: (name) => leases.alive(name), now, warn });
    return { leases, interest };
  };
  return { clock, start };
}

const signs = (nodes: number, bytesPerSecond: number) => {
  return { nodes, bytesPerSecond, address: '10.0.0.1:8484', version: '1.2.3', retired: false };
};
const ids = (interest: ClusterInterest, node: string) => interest.forNode(node).predicates.map(({ id }) => id);

test('what one broker claims all ask of their nodes, until the last of them has let it go for a while', async () => {
  const { clock, start } = brokersOn(openState(scratchDirectory('interest'), { check: checkClusterState }));
  const [one, other] = [start('b.1'), start('b.2')];
  for (const { leases } of [one, other]) await leases.beat(signs(1, 0));
  let told = 0;
  other.interest.listen(async () => {
    told++;
  });
  const before = other.interest.generation;
  const release = await one.interest.claim(EXEC, ['a*']);
  assert.deepEqual(
    [ids(one.interest, 'a1'), ids(other.interest, 'a1'), ids(other.interest, 'b')],
    [[EXEC.id], [EXEC.id], []],
  );
  assert.ok(told > 0 && other.interest.generation > before);
  const releases = [await other.interest.claim(EXEC, ['a*']), await one.interest.claim(EXEC, ['a*'])];
  assert.equal(one.interest.size, 2);
  for (const each of [release, ...releases, release]) each();
  clock.ms += INTEREST_GRACE_MS - 1;
  await one.interest.expire();
  await other.interest.expire();
  assert.deepEqual(ids(one.interest, 'a1'), [EXEC.id]);
  const again = await other.interest.claim(EXEC, ['a*']);
  clock.ms += 1;
  await one.interest.expire();
  await other.interest.expire();
  assert.deepEqual([ids(one.interest, 'a1'), one.interest.size], [[EXEC.id], 1]);
  again();
  clock.ms += INTEREST_GRACE_MS;
  await other.interest.expire();
  assert.deepEqual(ids(one.interest, 'a1'), []);
});

test('the claims of a broker that is gone end a grace after its lease; one that is back keeps them', async () => {
  const { clock, start } = brokersOn(openState(scratchDirectory('interest'), { check: checkClusterState }));
  const [one, other] = [start('b1'), start('b2')];
  await one.leases.beat(signs(1, 0));
  await other.leases.beat(signs(1, 0));
  await other.interest.claim(EXIT, []);
  await one.interest.claim(EXEC, []);
  /** Time passes, and only the first says that it is there. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 1_000) {
      clock.ms += 1_000;
      await one.leases.beat(signs(1, 0));
      one.leases.expire(true);
      await one.interest.expire();
    }
  };
  await pass(BROKER_LEASE_MS + INTEREST_GRACE_MS - 2_000);
  assert.equal(one.leases.alive('b2'), false);
  assert.equal(ids(one.interest, 'n').length, 2);
  await other.leases.beat(signs(1, 0));
  await pass(BROKER_LEASE_MS + INTEREST_GRACE_MS - 2_000);
  assert.equal(ids(one.interest, 'n').length, 2);
  await pass(4_000);
  assert.deepEqual(ids(one.interest, 'n'), [EXEC.id]);
  // Started again, it holds what it claimed for as long as its subscribers may need to come back.
  const again = start('b1');
  await again.interest.expire();
  assert.deepEqual(ids(again.interest, 'n'), [EXEC.id]);
  const release = await again.interest.claim(EXEC, []);
  clock.ms += 2 * INTEREST_GRACE_MS;
  await again.interest.expire();
  assert.deepEqual(ids(again.interest, 'n'), [EXEC.id]);
  release();
});

test('what a broker claims is claimed again where others deleted it, or the state lost it', async () => {
  const state = openState(scratchDirectory('interest'), { check: checkClusterState });
  const { clock, start } = brokersOn(state);
  const [one, other] = [start('b1'), start('b2')];
  const release = await one.interest.claim(EXEC, ['a*']);
  const lose = async () => {
    for (const { key } of state.entries('claim.')) await state.delete(key);
    assert.deepEqual(ids(other.interest, 'a1'), []);
  };
  await lose();
  await one.interest.expire();
  await until('it is asked for again', () => ids(other.interest, 'a1').length === 1);
  // Who asks for the same meanwhile does not take it for claimed.
  await lose();
  const second = await one.interest.claim(EXEC, ['a*']);
  assert.deepEqual(ids(other.interest, 'a1'), [EXEC.id]);
  release();
  clock.ms += 2 * INTEREST_GRACE_MS;
  await one.interest.expire();
  assert.deepEqual(ids(other.interest, 'a1'), [EXEC.id]);
  // What nobody holds any more is not made again.
  second();
  await lose();
  await one.interest.expire();
  clock.ms += 2 * INTEREST_GRACE_MS;
  await one.interest.expire();
  assert.deepEqual(state.entries('claim.'), []);
});

test('a claim that is over is deleted once at a time, and again where that failed', async () => {
  const state = openState(scratchDirectory('interest'), { check: checkClusterState });
  const { clock, start } = brokersOn(state);
  const { interest } = start('b.1');
  const release = await interest.claim(EXEC, []);
  const deletes: (() => void)[] = [];
  const deleting = state.delete.bind(state);
  state.delete = () => new Promise((_, reject) => deletes.push(() => reject(new Error('NATS is away'))));
  release();
  clock.ms += INTEREST_GRACE_MS;
  const first = interest.expire();
  await interest.expire();
  assert.equal(deletes.length, 1, 'the second does not wait behind the first');
  deletes[0]!();
  await first;
  state.delete = deleting;
  await interest.expire();
  assert.equal(interest.size, 0);
});

test('there is a bound on all claims together, also on those of brokers that do not see each other', async () => {
  const state = openState(scratchDirectory('interest'), { check: checkClusterState });
  const { start } = brokersOn(state);
  const warnings: string[] = [];
  const { interest } = start('b1', (message) => warnings.push(message));
  const globs = ['n'.repeat(200)];
  const long = (at: number) => predicate(`process.pid == ${at} || "${'x'.repeat(3_000)}" == process.comm`);
  const many = async () => {
    for (let at = 0; at <= PREDICATES_MAX; at++) await interest.claim(long(at), globs);
  };
  await assert.rejects(many(), { code: 'resource_exhausted', message: /at most \d+ different predicates/ });
  const { size } = interest;
  assert.ok(size > 1 && size * 3_000 <= INTEREST_BYTES_MAX);
  await interest.claim(long(0), globs);
  for (let at = 0; at < 2 * size; at++) {
    const { id, ...rest } = long(PREDICATES_MAX + 1 + at);
    await state.put(`claim.${id}.x.b2`, { ...rest, id: id.toString(), globs, broker: 'b2' });
  }
  assert.ok(warnings.length > 0 && interest.size < 2.5 * size, `${warnings.length} ${interest.size}`);
});

test('a lease holds from when it was read; while nothing is read no broker is taken for gone', async () => {
  const state = openState(scratchDirectory('leases'), { check: checkClusterState });
  const { clock, start } = brokersOn(state);
  const [{ leases: one }, { leases: other }] = [start('b1'), start('b2')];
  let changes = 0;
  one.listen(() => {
    changes++;
  });
  await one.beat(signs(3, 500));
  await other.beat({ ...signs(4, 700), retired: true });
  assert.deepEqual(one.all(), [
    { broker: 'b1', ...signs(3, 500) },
    { broker: 'b2', ...signs(4, 700), retired: true },
  ]);
  assert.deepEqual([one.others(), other.others()], [0, 1], 'one that is retired takes nobody');
  const quiet = (ms: number) => {
    for (const endMs = clock.ms + ms; clock.ms < endMs; ) {
      clock.ms = Math.min(clock.ms + 1_000, endMs);
      if (clock.ms < endMs) assert.deepEqual(one.expire(true), []);
    }
  };
  quiet(BROKER_LEASE_MS - 1);
  assert.deepEqual(one.expire(true), []);
  await one.beat(signs(3, 500));
  clock.ms += 1;
  // Its reader stands still: whatever the others said since, it has not read it.
  assert.deepEqual(one.expire(false), []);
  quiet(BROKER_LEASE_MS - 1);
  assert.deepEqual(one.expire(true), []);
  clock.ms += 1;
  const before = changes;
  assert.deepEqual(one.expire(true), ['b1', 'b2']);
  assert.equal(changes, before + 1);
  await one.forget(['b2', 'b9']);
  await until('that it is deleted', () => state.get('broker.b2') === undefined);
  await one.leave();
  assert.deepEqual(state.entries('broker.'), []);
  for (let at = 0; at < 3 * CLUSTER_BROKERS_MAX; at++)
    await state.put(`broker.x${at}`, { beat: 1, nodes: 1, bytesPerSecond: 1 });
  assert.equal(one.all().length, 2 * CLUSTER_BROKERS_MAX);
});

/** What brokers read of each other's members, on a real server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SharedState, StateChange, StateValue } from '../../../../src/broker/cluster/shared-state.js';
import type { Delivery, Sink } from '../../../../src/broker/delivery/outlet.js';
import { MemberStream } from '../../../../src/broker/groups/member-stream.js';
import { CommitRelay } from '../../../../src/broker/groups/presence/commit-relay.js';
import { type MemberFacts, withoutReplaced } from '../../../../src/broker/groups/presence/group-presence.js';
import { SharedPresence } from '../../../../src/broker/groups/presence/shared-presence.js';
import { SliceLease } from '../../../../src/broker/groups/slice-lease.js';
import { BrokerLeases } from '../../../../src/broker/nodes/nats/broker-leases.js';
import type { CheckedSubscription } from '../../../../src/subscriptions/request/subscription-request.js';
import { openState } from '../../../harness/broker/stores.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { SharedStream, StreamView } from '../../../harness/groups/shared-stream.js';
import { needsNats } from '../../../harness/nats/nats-package.js';
import { newCluster, openNatsState, twoOnNats } from '../../../harness/nats/state-under-test.js';
import { until } from '../../../harness/until.js';

const skip = needsNats();
const nats = twoOnNats();
const LEASE_MS = 15_000;
const SIGNS = { nodes: 0, bytesPerSecond: 0, address: '', version: '', retired: false };

function facts(id: string, changes: Partial<MemberFacts> = {}): MemberFacts {
  return {
    ...{ id, named: false, order: 1, away: false, slow: false, joinedMs: 1 },
    ...{ client: '', peer: '', identity: '', replaces: [], ...changes },
  };
}

test('members are there as long as the lease of their broker, and are told again by one that comes back', {
  skip,
}, async () => {
  let nowMs = 0;
  const cluster = await newCluster(nats.links[0]);
  const brokers = await Promise.all(
    nats.links.map(async (link, at) => {
      const broker = `b${at}`;
      const state = await openNatsState(link, cluster, { broker });
      const leases = new BrokerLeases(state, broker, () => nowMs, LEASE_MS);
      const onFailure = (cause: unknown) => assert.fail(String(cause));
      const presence = new SharedPresence({ state, leases, broker, relay: undefined, onFailure });
      return { state, leases, presence };
    }),
  );
  const [one, other] = brokers as [(typeof brokers)[0], (typeof brokers)[0]];
  assert.equal(one.presence.isCurrent, false, 'nobody has read of it yet');
  const current = one.presence.whenCurrent(new AbortController().signal);
  await Promise.all(brokers.map(({ leases }) => leases.beat(SIGNS)));
  await current;
  assert.equal(one.presence.isCurrent, true);
  const heard: string[] = [];
  other.presence.listen((group) => heard.push(group));
  await one.presence.tell('a.b', [facts('x')]);
  // Who has told something itself has read what was told before.
  await other.presence.tell('a.b', [facts('y')]);
  assert.deepEqual(
    other.presence.others('a.b').map(({ broker, id }) => [broker, id]),
    [['b0', 'x']],
  );
  assert.ok(heard.includes('a.b'));
  nowMs = LEASE_MS - 1;
  await other.leases.beat(SIGNS);
  assert.equal(one.presence.isCurrent, true);
  nowMs = LEASE_MS;
  assert.equal(one.presence.isCurrent, false, 'before the others take it for dead');
  assert.deepEqual(other.leases.expire(true), ['b0']);
  assert.deepEqual(other.presence.others('a.b'), []);
  await other.presence.tell('other', [facts('z')]);
  assert.ok(other.state.get('members.b0.a.b'), 'others may have heard of it');
  // The one that is taken for dead says it again as soon as it reads that.
  let isDeleted = false;
  const unwatch = other.state.watch('members.b0.', ({ value }) => {
    isDeleted ||= value === undefined;
  });
  await other.leases.forget(['b0']);
  await until('what it said is deleted', () => isDeleted);
  unwatch();
  await one.leases.beat(SIGNS);
  await until('it says it again', () => other.presence.others('a.b').length === 1);
  await one.presence.leave();
  await until('it left', () => other.presence.others('a.b').length === 0);
  for (const { presence, state } of brokers) {
    presence.close();
    await state.close();
  }
});

test('a broker is asked for commits, and neither what is asked nor what is answered is trusted', { skip }, async () => {
  const [asking, serving] = nats.links.map(({ asking: connection }, at) => {
    return new CommitRelay({ connection, cluster: 'relay', broker: `b${at}` });
  }) as [CommitRelay, CommitRelay];
  const taken: unknown[] = [];
  serving.serve(async (group, slices) => void taken.push([group, slices]));
  await nats.links[1].asking.flush();
  const commits = [{ slice: 1, epoch: 2, cursor: 'c' }];
  await asking.send('b1', 'g', commits);
  assert.deepEqual(taken, [['g', commits]]);
  await assert.rejects(asking.send('b9', 'g', commits), { code: 'unavailable' });
  const many = JSON.stringify({ group: 'g', slices: Array.from({ length: 200_000 }, () => 1) });
  for (const text of ['', 'null', many]) {
    const answer = await nats.links[0].asking.request('bp.relay.commit.b1', text, { timeout: 10_000 });
    assert.match(answer.string(), /"code":"invalid_argument".*that no broker asks for/);
  }
  const odd = nats.links[1].asking.subscribe('bp.relay.commit.odd', {
    callback: (_error, message) => void message.respond('[]'),
  });
  await nats.links[1].asking.flush();
  await assert.rejects(asking.send('odd', 'g', commits), { code: 'unavailable', message: /none that a broker gives/ });
  odd.unsubscribe();
  serving.close();
});

test('a broker that others took for dead is current only once it has read what they decided since', async () => {
  let nowMs = 0;
  const state = new StreamView(new SharedStream());
  const reads: (() => void)[] = [];
  const caughtUp = () => new Promise<void>((resolve) => reads.push(resolve));
  const leases = new BrokerLeases(state, 'b0', () => nowMs, LEASE_MS, caughtUp);
  const beat = () => {
    const said = leases.beat(SIGNS);
    state.read(Number.POSITIVE_INFINITY);
    return said;
  };
  const read = async () => {
    await until('it asks for what others decided', () => reads.length > 0);
    reads.shift()!();
  };
  const first = beat();
  await read();
  await first;
  assert.equal(leases.holds, true);
  nowMs = LEASE_MS - 1;
  await beat();
  assert.deepEqual([leases.holds, reads.length], [true, 0], 'its lease never ended');
  nowMs = 3 * LEASE_MS;
  assert.equal(leases.holds, false);
  const back = beat();
  await until('it asks for what others decided', () => reads.length > 0);
  assert.equal(leases.holds, false, 'its sign of life was read, what others took from it was not');
  await read();
  await back;
  assert.equal(leases.holds, true);
});

test('a broker that stood still takes nobody for dead before it has read what came meanwhile', () => {
  let nowMs = 0;
  const stream = new SharedStream();
  const state = new StreamView(stream);
  const leases = new BrokerLeases(state, 'b0', () => nowMs, LEASE_MS);
  stream.append('broker.b1', { beat: 1, ...SIGNS });
  state.read(1);
  for (; nowMs < LEASE_MS - 1_000; nowMs += 1_000) assert.deepEqual(leases.expire(true), []);
  nowMs += 2 * LEASE_MS;
  assert.deepEqual(leases.expire(true), []);
  assert.equal(leases.alive('b1'), true);
  for (const untilMs = nowMs + LEASE_MS; nowMs < untilMs; nowMs += 1_000) assert.deepEqual(leases.expire(true), []);
  assert.deepEqual(leases.expire(true), ['b1']);
});

test('who came back elsewhere is there once: the later of a name, and not what somebody was before', () => {
  const at = (broker: string, member: MemberFacts) => ({ ...member, broker });
  const replaces = [{ broker: 'b0', member: 'x' }];
  const all = [
    at('b0', facts('x')),
    at('b0', facts('y')),
    at('b1', facts('z', { replaces })),
    at('b0', facts('n', { named: true, order: 4 })),
    at('b1', facts('n', { named: true, order: 5 })),
    at('b2', facts('n', { named: true, order: 5 })),
  ];
  assert.deepEqual(
    withoutReplaced(all).map(({ broker, id }) => `${broker} ${id}`),
    ['b0 y', 'b1 z', 'b2 n'],
  );
});

test('a broker that the others take for dead gives nothing until they do not', async () => {
  let isCurrent = false;
  let backAgain: () => void = () => undefined;
  const presence = {
    get isCurrent() {
      return isCurrent;
    },
    whenCurrent: () => new Promise<void>((resolve) => (backAgain = resolve)),
  };
  const written: Delivery[] = [];
  const sink: Sink = {
    client: '',
    closed: new AbortController().signal,
    write: async (each) => void written.push(each),
  };
  const caller = { peer: '', identity: { kind: 'token', name: '' } } as const;
  const asked = {} as CheckedSubscription;
  const stream = new MemberStream(sink, caller, asked, new AbortController().signal, presence);
  const lease = new SliceLease(3, 7, '', 1_000, 8);
  const slice = stream.begin(lease);
  const gap = { kind: 'message', message: { gap: {} } } as const;
  const given = slice.write(gap);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([written.length, lease.isSettled], [0, true]);
  isCurrent = true;
  backAgain();
  await given;
  assert.equal(written.length, 1);
  // Its slice was given to another member meanwhile.
  isCurrent = false;
  const late = slice.write(gap);
  stream.stop(3);
  backAgain();
  await assert.rejects(late, /has another member/);
  assert.equal(written.length, 1);
});

test('a broker that ends before it is said that its members left says so once', async () => {
  const state = openState(scratchDirectory('presence'));
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  let deletes = 0;
  const slow = {
    get: (key: string) => state.get(key),
    put: (key: string, value: StateValue) => state.put(key, value),
    watch: (prefix: string, listener: (change: StateChange) => void) => state.watch(prefix, listener),
    delete: async (key: string) => {
      deletes++;
      if (deletes > 10) throw new Error('again and again');
      await gate;
      return state.delete(key);
    },
  } as SharedState;
  const leases = { holds: true, alive: () => true, isForgotten: () => false, listen: () => () => undefined };
  const onFailure = (cause: unknown) => assert.fail(String(cause));
  const presence = new SharedPresence({ state: slow, leases, broker: 'b', relay: undefined, onFailure });
  await presence.tell('g', [facts('x')]);
  const left = presence.leave();
  presence.close();
  open();
  await left;
  assert.equal(deletes, 1);
  assert.equal(state.get('members.b.g'), undefined);
});

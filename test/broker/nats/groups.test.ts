/** A group whose members are connected to two brokers on NATS. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { keptStream } from '../../../src/broker/cluster/nats/coordination-streams.js';
import { connect } from '../../../src/client/library/grpc.js';
import { commitBy, TestMember } from '../../harness/broker/group-member.js';
import { Harness, range, until } from '../../harness/broker/harness.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { Relay } from '../../harness/cluster/relay.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { linkTo, makeTestCluster, openNatsState } from '../../harness/nats/state-under-test.js';

const skip = needsNats();
const GROUP = { topics: ['process'], since: '1h', group: { slices: 8 } };
let servers: NatsServers;
let brokers: readonly [Harness, Harness];

beforeEach(async () => {
  if (skip !== false) return;
  servers = await NatsServers.start();
  await makeTestCluster(servers);
  brokers = [new Harness(), new Harness()];
  for (const harness of brokers) {
    harness.nats = { servers: servers.urls.split(','), cluster: 'test', onLost: assert.fail };
    harness.groups = { memberMs: 10_000, commitMs: 300_000, revokeMs: 500, interestMs: 600_000, cursorsMs: 86_400_000 };
    await harness.startBroker();
  }
});
afterEach(async () => {
  if (skip !== false) return;
  await Promise.all(brokers.map((harness) => harness.destroy()));
  await servers.destroy();
});

const slicesOf = (member: TestMember) => [...member.slices.keys()].sort((a, b) => a - b);

async function shown({ broker }: Harness, name = 'g') {
  const answer = await fetch(`http://${broker.httpAddress}/v1/groups/${name}`);
  return (await answer.json()) as {
    group: {
      members: { member: string; slices?: number[] }[];
      lagEvents?: string;
      since: string;
      cursorsUntil?: string;
    };
    slices: { slice?: number; epoch: string; member: string }[];
  };
}

async function answerOf({ broker }: Harness, method: string, path: string, body = {}): Promise<number> {
  const url = `http://${broker.httpAddress}/v1/groups/g${path}`;
  const headers = { 'content-type': 'application/json' };
  const content = method === 'POST' ? { body: JSON.stringify(body), headers } : {};
  return (await fetch(url, { method, ...content })).status;
}

function publish(agent: TestAgent, pids: readonly number[]): void {
  for (const pid of pids) agent.recorder.record('process.exec', pid);
  agent.publish();
}

test('members of two brokers share a group, go on where another left, and are fenced over brokers', {
  skip,
}, async () => {
  const [one, other] = brokers;
  const agents = await Promise.all(range(0, 12).map((at) => one.agent(`n${at}`)));
  for (const agent of agents) publish(agent, range(0, 3));
  const a = new TestMember(one, 'g', GROUP);
  await a.has(8);
  const b = new TestMember(other, 'g', { group: {} });
  await Promise.all([a.has(4), b.has(4)]);
  // Each got all of its nodes, and nothing that the other has.
  assert.equal(new Set([...slicesOf(a), ...slicesOf(b)]).size, 8);
  await until('all came', () => new Set([...a.subscriber.events, ...b.subscriber.events]).size === 36);
  await committedAnywhere(one, other, a);
  await Promise.all([a.commit(), b.commit()]);
  // Who joins takes from each as little as is its share.
  const before = [slicesOf(a), slicesOf(b)];
  const c = new TestMember(other, 'g', { group: {} });
  await c.has(2);
  await until('shares', () => a.slices.size === 3 && b.slices.size === 3);
  for (const [at, member] of [a, b].entries()) {
    assert.ok(
      slicesOf(member).every((slice) => before[at]!.includes(slice)),
      'nothing else moved',
    );
  }
  // Both brokers show all.
  for (const harness of brokers) {
    await until('all members are shown', async () => (await shown(harness)).group.members.length === 3);
    const { group, slices } = await shown(harness);
    assert.deepEqual(group.members.map(({ slices: its = [] }) => its.length).sort(), [2, 3, 3]);
    assert.ok(slices.every(({ member }) => group.members.some((each) => each.member === member)));
    assert.equal(await answerOf(harness, 'POST', '/reset', { to: 'now' }), 409, 'it has members');
  }
  // What was another's: at whichever broker.
  for (const agent of agents) publish(agent, range(3, 5));
  await until('all came', () => {
    const seen = [a, b, c].flatMap(({ subscriber }) => subscriber.events);
    return new Set(seen).size === 60;
  });
  await Promise.all([a.commit(), b.commit(), c.commit()]);
  const old = a.commits;
  a.cancel();
  await until('others have all', () => b.slices.size + c.slices.size === 8);
  for (const harness of brokers) {
    await assert.rejects(commitBy(harness.groupsClient(), 'g', old), /no longer this member's/);
  }
  const counts = new Map<string, number>();
  for (const event of [a, b, c].flatMap(({ subscriber }) => subscriber.events)) {
    counts.set(event, (counts.get(event) ?? 0) + 1);
  }
  assert.equal(counts.size, 60);
  b.cancel();
  c.cancel();
  await changedElsewhere(one, other);
});

/** Commits of a member of the first broker. */
async function committedAnywhere(one: Harness, other: Harness, a: TestMember): Promise<void> {
  // A commit may come to any broker: it is made where the member is.
  const elsewhere = other.groupsClient();
  await commitBy(elsewhere, 'g', a.commits);
  const [first] = a.commits;
  const forged = { ...first!, cursor: `${first!.cursor.slice(0, -1)}!` };
  await assert.rejects(commitBy(elsewhere, 'g', [forged]), /must be one that/);
  // Where only some of it is over, that is named: whoever is told so drops it, and is not given it again.
  const [, second] = a.commits;
  const partlyOver = [first!, { ...second!, epoch: Number(second!.epoch) - 1 }];
  for (const client of [elsewhere, one.groupsClient()]) {
    await assert.rejects(
      commitBy(client, 'g', partlyOver),
      new RegExp(`slices.1.: slice ${second!.slice} is no longer`),
    );
  }
  // Of what a broker has not read yet it does not say that it is over.
  const later = { ...first!, epoch: Number(first!.epoch) + 1 };
  for (const client of [elsewhere, one.groupsClient()]) {
    await assert.rejects(commitBy(client, 'g', [later]), /has not read yet/);
  }
}

/** A group without members, that has 60 events. */
async function changedElsewhere(one: Harness, other: Harness): Promise<void> {
  const { group } = await shown(one);
  await until('it has no members', async () => {
    const all = await Promise.all([one, other].map((each) => shown(each)));
    return all.every(({ group: its }) => its.members.length === 0);
  });
  const { cursorsUntil } = (await shown(other)).group;
  assert.equal(await answerOf(one, 'POST', '/reset', { to: 'oldest' }), 200);
  assert.notEqual((await shown(one)).group.since, group.since);
  await until('its cursors last anew', async () => (await shown(other)).group.cursorsUntil !== cursorsUntil);
  const d = new TestMember(other, 'g', { group: {} });
  await d.has(8);
  await until('all came again', () => new Set(d.subscriber.events).size === 60);
  await d.commit();
  await until('both see that all is committed', async () => {
    const lags = await Promise.all([one, other].map(async (harness) => (await shown(harness)).group.lagEvents ?? '0'));
    return lags.every((lag) => lag === '0');
  });
  d.cancel();
  await until('it has no members', async () => (await shown(one)).group.members.length === 0);
  await writtenByAnother([one, other]);
  assert.equal(await answerOf(one, 'DELETE', ''), 200);
  await until('it is gone', async () => (await answerOf(other, 'GET', '')) === 404);
}

/** What a broker reads at once may be of a group that was deleted and made anew, or what only a later one can read. */
async function writtenByAnother(harnesses: readonly Harness[]): Promise<void> {
  const link = await linkTo(servers);
  const state = await openNatsState(link, 'test', { ...keptStream('test'), broker: 'another' });
  try {
    const { value } = state.get('group.g')!;
    const slices = range(0, 16).map(() => ({ epoch: 2_000_000_000, cursor: '', committedMs: 0 }));
    const odd = slices.map((each) => ({ ...each, cursor: 'of-a-later-broker' }));
    await state.put('group.x', value);
    await state.put('group.y', { ...value, name: 'y', slices: odd });
    await state.put('group.g', { ...value, createdMs: Number(value.createdMs) + 1, slices });
    for (const harness of harnesses) {
      const statusOf = async (name: string) =>
        (await fetch(`http://${harness.broker.httpAddress}/v1/groups/${name}`)).status;
      await until('it has 16 slices', async () => (await shown(harness)).slices.length === 16);
      assert.deepEqual([await statusOf('x'), await statusOf('y')], [503, 200]);
    }
    const member = new TestMember(harnesses[1]!, 'g', { group: {} });
    await member.has(16);
    member.cancel();
    await until('it has no members', async () => (await shown(harnesses[0]!)).group.members.length === 0);
  } finally {
    await state.close();
    await link.close();
  }
}

test('a member whose broker is killed has its slices at another one at once, and goes on behind its commits', {
  skip,
}, async () => {
  const [one, other] = brokers;
  const agents = await Promise.all(range(0, 12).map((at) => other.agent(`n${at}`)));
  for (const agent of agents) publish(agent, range(0, 3));
  const addresses = [`${one.broker.grpcAddress}@here`, other.broker.grpcAddress];
  const bus = await connect({ brokers: addresses, zone: 'here' });
  const ends = new AbortController();
  const seen = { events: [] as string[], slices: new Set<number>(), committed: 0 };
  const moving = (async () => {
    const group = bus.group('g', { slices: 8 });
    for await (const batch of group.batches({ topics: ['process'], since: '1h', signal: ends.signal })) {
      seen.events.push(...batch.events.map((event) => `${batch.node}:${'process' in event ? event.process?.pid : 0}`));
      seen.slices.add(batch.slice);
      assert.deepEqual(batch.gaps, []);
      await batch.commit().then(
        () => seen.committed++,
        (cause: { code: string }) => assert.equal(cause.code, 'fenced'),
      );
    }
  })();
  await until('it has all', async () => (await shown(other)).slices?.every(({ member }) => member !== ''));
  const b = new TestMember(other, 'g', { group: {} });
  await b.has(4);
  const kept = slicesOf(b);
  const all = () => new Set([...seen.events, ...b.subscriber.events]).size;
  await until('all came', () => all() === 36);
  await b.commit();
  await until('all is committed', async () => ((await shown(other)).group.lagEvents ?? '0') === '0');
  const epochs = (await shown(other)).slices.map(({ epoch }) => Number(epoch));
  const before = [...seen.events];
  seen.slices.clear();
  await one.broker.abort();
  for (const agent of agents) publish(agent, range(3, 5));
  await until('the rest came', () => all() === 60);
  const { slices } = await shown(other);
  assert.deepEqual(slicesOf(b), kept, 'nothing else moved');
  assert.ok(
    [...seen.slices].every((slice) => !kept.includes(slice)),
    'what it had',
  );
  const moved = slices.filter(({ slice = 0 }) => !kept.includes(slice));
  assert.ok(
    moved.every(({ slice = 0, epoch }) => Number(epoch) > epochs[slice]!),
    'in later epochs',
  );
  const again = seen.events.slice(before.length).filter((event) => before.includes(event));
  assert.deepEqual(again, [], 'nothing that was committed came again');
  assert.deepEqual(b.subscriber.gaps, []);
  ends.abort();
  await moving;
  await bus.close();
});

test('a name that connects to another broker keeps its slices, and a member that hangs does not', {
  skip,
}, async () => {
  const [one, other] = brokers;
  const first = new TestMember(one, 'g', GROUP, 'm');
  await first.has(8);
  const second = new TestMember(other, 'g', { group: {} }, 'm');
  await second.has(8);
  await first.subscriber.end();
  assert.match(first.subscriber.error?.message ?? '', /connected to another broker/);
  const { group } = await shown(one);
  assert.deepEqual(
    group.members.map(({ member, slices }) => [member, slices?.length]),
    [['m', 8]],
  );
  // One that hangs, at the other broker, loses its slices.
  await one.broker.abort();
  one.groups = { ...one.groups!, memberMs: 1_500 };
  await one.startBroker();
  const relay = await Relay.start([one.broker.grpcAddress]);
  const hung = new TestMember(one, 'g', { group: {} }, '', relay.address);
  await Promise.all([hung.has(4), second.has(4)]);
  relay.halfOpen();
  await second.has(8);
  relay.close();
});

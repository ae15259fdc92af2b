/** A group whose members are connected to two brokers on NATS. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { TestMember } from '../../harness/broker/group-member.js';
import { Harness, range, until } from '../../harness/broker/harness.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { makeTestCluster } from '../../harness/nats/state-under-test.js';

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
    group: { members: { member: string; slices?: number[] }[]; lagEvents?: string; since: string };
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
  const old = [...a.slices].map(([slice, held]) => ({ slice, ...held }));
  a.cancel();
  await until('others have all', () => b.slices.size + c.slices.size === 8);
  for (const harness of brokers) {
    const sender = new TestMember(harness, 'g', { group: {} });
    await assert.rejects(sender.commitAs(old), /no longer this member's/);
    sender.cancel();
  }
  await until('others have all', () => b.slices.size + c.slices.size === 8);
  const counts = new Map<string, number>();
  for (const event of [a, b, c].flatMap(({ subscriber }) => subscriber.events)) {
    counts.set(event, (counts.get(event) ?? 0) + 1);
  }
  assert.equal(counts.size, 60);
  b.cancel();
  c.cancel();
  await changedElsewhere(one, other);
});

/** A group without members, that has 60 events. */
async function changedElsewhere(one: Harness, other: Harness): Promise<void> {
  const { group } = await shown(one);
  await until('it has no members', async () => (await shown(one)).group.members.length === 0);
  assert.equal(await answerOf(one, 'POST', '/reset', { to: 'oldest' }), 200);
  assert.notEqual((await shown(one)).group.since, group.since);
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
  assert.equal(await answerOf(one, 'DELETE', ''), 200);
  await until('it is gone', async () => (await answerOf(other, 'GET', '')) === 404);
}

test('a member whose broker is killed has its slices at another one at once, and goes on behind its commits', {
  skip,
}, async () => {
  const [one, other] = brokers;
  const agents = await Promise.all(range(0, 12).map((at) => other.agent(`n${at}`)));
  for (const agent of agents) publish(agent, range(0, 3));
  const a = new TestMember(one, 'g', GROUP);
  await a.has(8);
  const b = new TestMember(other, 'g', { group: {} });
  await Promise.all([a.has(4), b.has(4)]);
  await until('all came', () => new Set([...a.subscriber.events, ...b.subscriber.events]).size === 36);
  await Promise.all([a.commit(), b.commit()]);
  const had = slicesOf(a);
  const kept = slicesOf(b);
  const epochs = new Map((await shown(other)).slices.map(({ slice = 0, epoch }) => [slice, Number(epoch)]));
  await one.broker.abort();
  for (const agent of agents) publish(agent, range(3, 5));
  const again = new TestMember(other, 'g', { group: { had: a.had } });
  await again.has(4);
  assert.deepEqual(slicesOf(again), had, 'what it had');
  assert.deepEqual(slicesOf(b), kept, 'nothing else moved');
  await until(
    'the rest came',
    () => again.subscriber.events.length + b.subscriber.events.length >= 24 + 36 - a.subscriber.events.length,
  );
  for (const { slice, epoch } of again.had) assert.ok(Number(epoch) > epochs.get(slice)!, 'later epochs');
  const committed = new Set(a.subscriber.events);
  assert.ok(
    again.subscriber.events.every((event) => !committed.has(event)),
    'nothing that was committed came again',
  );
  assert.equal(again.subscriber.gaps.length, 0);
});

test('a name that connects to another broker ends what has it here, and keeps its slices', { skip }, async () => {
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
});

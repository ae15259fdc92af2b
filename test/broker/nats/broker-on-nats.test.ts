/** A broker whose log is on NATS: what agents and subscribers see of what happens to the servers and to the broker. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { partitionOf } from '../../../src/broker/log/partition-log.js';
import { Client } from '../../../src/client/client.js';
import type { SubscribeItem } from '../../../src/client/subscribe-item.js';
import { nsToTimestamp } from '../../../src/wire/messages.js';
import { Harness, range, until } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { needsNats } from '../../harness/nats/nats-package.js';
import { NatsServers } from '../../harness/nats/nats-servers.js';
import { linkTo, makeTestCluster, openNatsState } from '../../harness/nats/state-under-test.js';
import { ownAddress } from '../../harness/own-address.js';

const FOLLOW = { topics: ['process'], follow: true };
const skip = needsNats();

let servers: NatsServers;
let harness: Harness;
let lost: string[];

beforeEach(async () => {
  if (skip !== false) return;
  servers = await NatsServers.start();
  const urls = servers.urls.split(',');
  await makeTestCluster(servers);
  harness = new Harness();
  lost = [];
  harness.nats = { servers: urls, cluster: 'test', onLost: ({ message }) => lost.push(message) };
  await harness.startBroker();
});
afterEach(async () => {
  if (skip !== false) return;
  await harness.destroy();
  await servers.destroy();
});

function publish(agent: TestAgent, pids: readonly number[]): void {
  for (const pid of pids) {
    agent.recorder.record('process.exec', pid);
    agent.publish();
  }
}

test('the server and the broker are killed: every event comes once, live and by cursor', { skip }, async () => {
  const { agent, subscriber } = await harness.delivered(range(0, 5));
  const early = subscriber.cursor;
  await servers.first.kill();
  publish(agent, range(5, 10));
  servers.first.start();
  await servers.first.ready();
  await subscriber.has(10);
  publish(agent, range(10, 12));
  await subscriber.has(12);
  assert.deepEqual(subscriber.pids, range(0, 12));
  assert.deepEqual(subscriber.gaps, []);
  const late = subscriber.cursor;
  // Brokers of a cluster keep together from where a node's frames are complete, and nothing of it by themselves.
  const link = await linkTo(servers);
  const told = await openNatsState(link, 'test');
  await until('it is told', () => (told.get('holds.a')?.value.steps as object[] | undefined)?.length);
  assert.ok(!existsSync(harness.interestFile));
  await told.close();
  await link.close();
  await harness.broker.abort();
  await harness.startBroker();
  const again = [early, late].map((cursor) => harness.subscribe({ ...FOLLOW, cursor }));
  const back = await harness.agent('a', agent.recorder);
  await until('that it is asked', () => back.interests.length > 0);
  await Promise.all(again.map((one) => one.isAccepted()));
  publish(back, [12, 13]);
  for (const [at, from] of [5, 12].entries()) {
    await again[at]!.has(14 - from);
    assert.deepEqual(again[at]!.pids, range(from, 14));
    assert.deepEqual(again[at]!.gaps, []);
  }
});

test('a server that lost acknowledged frames gets them again, and who was ahead none twice, also by cursor', {
  skip,
}, async () => {
  const { agent, subscriber } = await harness.delivered(range(0, 5));
  const [store, copy] = ['jetstream', 'copy'].map((name) => join(servers.first.dir, name)) as [string, string];
  await servers.first.stop();
  cpSync(store, copy, { recursive: true });
  servers.first.start();
  await servers.first.ready();
  publish(agent, range(5, 10));
  await subscriber.has(10);
  await until('it is acknowledged', () => agent.acknowledged.get('process')?.timeNs === agent.recorder.frontier.timeNs);
  await servers.first.kill();
  rmSync(store, { recursive: true });
  cpSync(copy, store, { recursive: true });
  servers.first.start();
  await servers.first.ready();
  await until(
    'its session is ended',
    () => agent.ended,
    () => harness.logged.length,
  );
  assert.match(agent.ended!, /the log has lost what it had acknowledged/);
  // Given while the log had more than it has now, and since.
  const ahead = subscriber.cursor;
  const other = await harness.agent('b');
  await until('that it is asked', () => other.interests.length > 0);
  publish(other, [100]);
  await subscriber.until('that it is told another cursor', () => subscriber.cursor !== ahead);
  const cursors = [ahead, subscriber.cursor];
  const early = cursors.map((cursor) => harness.subscribe({ ...FOLLOW, cursor }));
  await Promise.all(early.map((one) => one.isAccepted()));
  const back = await harness.agent('a', agent.recorder);
  const covered = back.welcome!.covered.find(({ topic }) => topic === 'process');
  assert.equal(Number(covered?.to?.timeNs), 5_000_000, 'up to what the log still has');
  await until('that it is asked', () => back.interests.length > 0);
  back.publish();
  publish(back, range(10, 12));
  await subscriber.has(13);
  const ofNode = ({ pids }: typeof subscriber) => pids.filter((pid) => pid !== 100);
  assert.deepEqual(ofNode(subscriber), range(0, 12));
  for (const one of [...early, ...cursors.map((cursor) => harness.subscribe({ ...FOLLOW, cursor }))]) {
    await one.until('what is new', () => ofNode(one).length >= 2);
    assert.deepEqual(ofNode(one), [10, 11]);
    assert.deepEqual(one.gaps, []);
  }
  const all = harness.subscribe({ ...FOLLOW, since: '1h' });
  await all.has(13);
  assert.deepEqual(ofNode(all), range(0, 12));
});

test('a message that nobody can read is passed, and neither loses nor repeats an event', { skip }, async () => {
  const { agent, subscriber } = await harness.delivered(range(0, 5));
  const link = await linkTo(servers);
  const partition = partitionOf('a');
  const { seq } = await link.client.publish(`bp.test.${partition}.f.process.a`, 'no frame at all');
  await link.close();
  publish(agent, range(5, 10));
  await subscriber.has(10);
  const again = harness.subscribe({ ...FOLLOW, cursor: subscriber.cursors[0]!.cursor });
  publish(agent, range(10, 12));
  await subscriber.has(12);
  assert.deepEqual(subscriber.pids, range(0, 12));
  const first = subscriber.cursors[0]!.count;
  await again.has(12 - first);
  assert.deepEqual(again.pids, range(first, 12));
  assert.ok(seq > 1, 'it lies behind what was published first');
});

test('a broker whose stream is deleted is told so once', { skip }, async () => {
  const link = await linkTo(servers);
  await link.manager.streams.delete('BP_test_2');
  await link.close();
  await until('it says so', () => lost.length > 0);
  assert.deepEqual(lost, [
    'stream BP_test_2 is gone. It is not made again: what it held is lost, unless it is restored',
  ]);
});

test('killed and retired brokers are left by cursor and position: each event once, and no gap', { skip }, async (t) => {
  const [first, second] = [harness, new Harness()];
  t.after(() => second.destroy());
  second.nats = first.nats;
  second.grpcListen = await ownAddress();
  first.grpcListen = first.broker.grpcAddress;
  await second.startBroker();
  const client = new Client([second.grpcListen, `${first.grpcListen}@here`], undefined, { zone: 'here' });
  t.after(() => client.close());
  const ending = new AbortController();
  const items: SubscribeItem[] = [];
  const pids = () =>
    items.flatMap((item) =>
      item.kind === 'events' ? item.batch.received.map(({ message }) => message.process!.pid) : [],
    );
  let agent: TestAgent = await first.agent('n');
  const { recorder } = agent;
  const reading = (async () => {
    for await (const item of client.subscribe({ topics: ['process'], follow: true }, ending.signal)) items.push(item);
  })();
  let told = 0;
  const publish = async () => {
    await until('it is asked', () => agent.topics.includes('process'));
    for (let count = 0; count < 5; count += 1) recorder.record('process.exec', ++told);
    agent.publish();
    await until(
      `${told} events`,
      () => pids().length >= told,
      () => items.length,
    );
  };
  await publish();
  await first.broker.abort();
  // What is recorded while it has no broker comes from its recorder.
  recorder.record('process.exec', ++told);
  agent = await second.agent('n', recorder);
  await publish();
  await first.startBroker();
  const link = await linkTo(servers);
  const state = await openNatsState(link, 'test');
  const knows = (address: string) => state.entries('broker.').some(({ value }) => value.address === address);
  t.after(async () => {
    await state.close();
    await link.close();
  });
  await until('the brokers know of each other', () => knows(first.grpcListen) && knows(second.grpcListen));
  const own = (await client.getStatus()).brokers.find((broker) => broker.own);
  assert.equal(own?.nodes, 1, 'who retires a broker is told of those that it has itself');
  await second.broker.drain();
  await until('it has left', () => !knows(second.grpcListen));
  recorder.record('process.exec', ++told);
  agent = await first.agent('n', recorder);
  await publish();
  ending.abort();
  await reading;
  assert.deepEqual(pids(), range(1, told + 1));
  assert.deepEqual(
    items.filter(({ kind }) => kind === 'gap'),
    [],
  );
  const links = items.flatMap((item) => (item.kind === 'link' ? [[item.broker, item.cause?.code]] : []));
  assert.deepEqual(links, [
    [first.grpcListen, 'unavailable'],
    [second.grpcListen, undefined],
    [second.grpcListen, 'unavailable'],
    [first.grpcListen, undefined],
  ]);
});

test("a node's own budget and clock are known at all brokers; a budget that is set holds at all, also later", {
  skip,
}, async () => {
  const other = new Harness();
  other.nats = harness.nats;
  await other.startBroker();
  const client = new Client([harness.broker.grpcAddress]);
  try {
    const first = await harness.agent('a');
    first.kill();
    const hourNs = 3_600_000_000_000n;
    const nowNs = BigInt(Date.now()) * 1_000_000n;
    const recorder = new TestRecorder('recorder-a', 1, nowNs + hourNs);
    recorder.budget = { liveBytesPerSecond: 777_777, burstMs: 500 };
    for (const pid of range(0, 3)) recorder.record('process.exec', pid);
    const moved = await other.agent('a', recorder, { wallTime: nsToTimestamp(nowNs + hourNs) });
    const listed = async () => (await fetch(`http://${harness.broker.httpAddress}/v1/budgets`)).text();
    await until('its own budget is known', async () => /"liveBytesPerSecond":"777777"/.test(await listed()));
    const replay = harness.subscribe({ topics: ['process'], since: '5m' });
    await until('the end', () => replay.ended);
    assert.deepEqual(replay.pids, range(0, 3), 'it is asked in the time of its own clock');
    const { changes } = await client.setBudget({ nodes: ['a'], budget: { liveBytesPerSecond: 123_456 } });
    assert.equal(changes?.[0]?.before?.liveBytesPerSecond, '777777');
    await until('the lease', () => moved.leases.includes(123_456));
    await other.broker.abort();
    await other.startBroker();
    const again = await other.agent('a', recorder);
    await until('the lease of the new session', () => again.leases.includes(123_456));
  } finally {
    client.close();
    await other.destroy();
  }
});

/** Live delivery: interest, acknowledgements, sessions of nodes that come, go and come back. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AccessControl } from '../../../../src/broker/access/access-control.js';
import { Subscriptions } from '../../../../src/broker/delivery/subscriptions.js';
import { MiB } from '../../../../src/limits.js';
import { Harness, range } from '../../../harness/broker/harness.js';
import { TestRecorder } from '../../../harness/broker/test-agent.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

test('a node is asked for events only while somebody subscribes', async () => {
  const agent = await harness.agent('a');
  await until('interest', () => agent.interests.length === 1);
  assert.deepEqual(agent.topics, []);
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  assert.deepEqual(agent.topics, ['process']);
  assert.deepEqual(subscriber.accepted?.nodes, ['a']);
});

test('live events arrive in order, and only those that match, filtered by the node', async () => {
  const agent = await harness.agent('a');
  const all = harness.subscribe({ topics: ['process'], follow: true });
  const odd = harness.subscribe({ topics: ['process'], filter: 'process.pid % 2 == 1', follow: true });
  const elsewhere = harness.subscribe({ topics: ['process'], nodes: ['b*'], follow: true });
  await Promise.all([all.isAccepted(), odd.isAccepted(), elsewhere.isAccepted()]);
  for (let pid = 1; pid <= 100; pid++) {
    agent.recorder.record(pid % 3 ? 'process.exec' : 'network.tcp.connect', pid);
    if (pid % 7 === 0) agent.publish();
  }
  agent.publish();
  const process = range(1, 101).filter((pid) => pid % 3);
  await all.has(process.length);
  await odd.has(process.filter((pid) => pid % 2).length);
  assert.deepEqual(all.pids, process);
  assert.deepEqual(
    odd.pids,
    process.filter((pid) => pid % 2),
  );
  await sleep(50);
  assert.deepEqual(elsewhere.pids, []);
  assert.ok(all.responses.every(({ events }) => !events || (events.node === 'a' && !events.history)));
});

test('each frame is acknowledged once, a repeated one is dropped, and an overlapping one ends the session', async () => {
  const { agent } = await harness.delivered([1]);
  await until('acknowledgement', () => agent.acknowledged.get('process') !== undefined);
  assert.deepEqual(agent.acknowledged.get('process'), agent.recorder.frontier);
  agent.sendFrame(Buffer.from('not a frame'));
  await until('end of the session', () => agent.ended !== undefined);
  assert.match(agent.ended ?? '', /frame: /);
});

test('a second living recorder with a known name is refused, and the same recorder takes its session over', async () => {
  const first = await harness.agent('a', new TestRecorder('one'));
  await assert.rejects(harness.agent('a', new TestRecorder('two')), /node a is connected with another recorder/);
  const again = await harness.agent('a', first.recorder);
  await until('end of the first', () => first.ended !== undefined);
  assert.equal(again.ended, undefined);
});

test('a recorder that lost its data begins a later epoch than the log knows', async () => {
  const agent = await harness.agent('a', new TestRecorder('one', 5));
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  agent.recorder.record('process.exec', 1);
  agent.publish();
  await until('acknowledgement', () => agent.acknowledged.size > 0);
  agent.kill();
  await until('gone', () => subscriber.responses.some(({ nodeStatus }) => nodeStatus?.state === 'NODE_STATE_GONE'));
  const reborn = await harness.agent('a', new TestRecorder('two', 1));
  assert.equal(reborn.welcome?.epochMin, '6');
});

test('a machine that rebooted while it was behind sends the events of the boot before, over any connection', async () => {
  const agent = await harness.agent('a', new TestRecorder('one', 5));
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  agent.recorder.record('process.exec', 1);
  agent.publish();
  await subscriber.has(1);
  agent.kill();
  // The agent was killed before it could send this event.
  agent.recorder.record('process.exec', 2);
  const rebooted = new TestRecorder('one', 6);
  const gone = await harness.agent('a', rebooted);
  gone.kill();
  const again = await harness.agent('a', rebooted);
  await until('interest', () => again.interests.length > 0);
  again.recorder = agent.recorder;
  again.publish();
  await subscriber.has(2);
  assert.equal(again.ended, undefined);
});

test('a node that is killed and comes back continues where the log ends', async () => {
  const { agent, subscriber } = await harness.delivered([1]);
  agent.kill();
  for (const pid of range(2, 10)) agent.recorder.record('process.exec', pid);
  const again = await harness.agent('a', agent.recorder);
  await until('interest', () => again.interests.length > 0);
  again.publish();
  await subscriber.has(9);
  assert.deepEqual(subscriber.pids, range(1, 10));
});

test('a subscriber that never reads does not hold up another', async () => {
  const agent = await harness.agent('a');
  const stalled = harness.subscribe({ topics: ['process'], follow: true });
  const reading = harness.subscribe({ topics: ['process'], follow: true });
  await Promise.all([stalled.isAccepted(), reading.isAccepted()]);
  stalled.pause();
  const count = 40_000;
  for (let pid = 1; pid <= count; pid++) {
    agent.recorder.record('process.exec', pid);
    if (pid % 1000 === 0) {
      agent.publish();
      await sleep(1);
    }
  }
  await reading.has(count);
  assert.deepEqual(reading.pids, range(1, count + 1));
  assert.ok(stalled.pids.length < count);
});

test('a limit ends the stream at exactly that event, and the cursor continues behind it', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe({ topics: ['process'], follow: true, limit: 5 });
  await subscriber.isAccepted();
  for (const pid of range(1, 10)) agent.recorder.record('process.exec', pid);
  agent.publish();
  await subscriber.end();
  assert.deepEqual(subscriber.pids, range(1, 6));
  const rest = harness.subscribe({ topics: ['process'], follow: true, cursor: subscriber.cursor });
  await rest.has(4);
  assert.deepEqual(rest.pids, range(6, 10));
});

test('of frames that a log forgot before they were read is told whose they were, and from where to where', async () => {
  await harness.broker.abort();
  harness.log = { bytesMax: MiB };
  await harness.startBroker();
  const [busy, quiet] = [await harness.agent('a'), await harness.agent('b')];
  const slow = harness.subscribe({ topics: ['process'], follow: true });
  await slow.isAccepted();
  for (const agent of [busy, quiet]) {
    agent.recorder.record('process.exec', 1);
    agent.publish();
  }
  await slow.has(2);
  slow.pause();
  // More than waits in front of it, and than the broker remembers of the log's end.
  for (let frame = 0; frame < 60; frame++) {
    for (let at = 0; at < 80; at++) busy.recorder.record('process.exec', 2 + frame, 'x'.repeat(3_000));
    busy.publish();
  }
  await until('the last to be in the log', () => {
    return busy.acknowledged.get('process')?.timeNs === busy.recorder.frontier.timeNs;
  });
  slow.resume();
  await slow.until('the last event', () => slow.pids.at(-1) === 61);
  const [gap, ...others] = slow.gaps.filter(({ reason }) => reason === 'expired');
  assert.deepEqual([gap?.node, gap?.topic, gap?.eventsUnknown, others.length], ['a', 'process', true, 0]);
  const [from, to] = [gap!.from!, gap!.to!].map(({ timeNs }) => BigInt(timeNs));
  assert.ok(from! < to! && to! <= busy.recorder.frontier.timeNs);
});

test('as time passes only those are looked at whose credential ends by itself', async () => {
  const [asked, looks] = [
    mock.method(AccessControl.prototype, 'whyOver'),
    mock.method(Subscriptions.prototype, 'reviewEnding'),
  ];
  try {
    const subscriber = harness.subscribe({ topics: ['process'], follow: true });
    await subscriber.isAccepted();
    const before = looks.mock.callCount();
    await until('a look', () => looks.mock.callCount() > before);
    assert.equal(asked.mock.callCount(), 0);
  } finally {
    mock.restoreAll();
  }
});

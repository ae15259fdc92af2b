/** A frame that is not sound, and comes again whenever its node reads its recorder: stated, and passed by. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Harness, type Subscriber } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

let harness: Harness;
let subscriber: Subscriber;
let refilled: Subscriber;
let agent: TestAgent;
let recorder: TestRecorder;

/** Field 4 again: another count than there are events. */
const poisoned = (frameBytes: Buffer): Buffer => Buffer.concat([frameBytes, Buffer.from([0x20, 99])]);

beforeEach(async () => {
  harness = await Harness.start();
  recorder = new TestRecorder('recorder-a');
  agent = await harness.agent('a', recorder);
  subscriber = harness.subscribe({ topics: ['process'], follow: true });
  refilled = harness.subscribe({ topics: ['process'], follow: true, refill: true });
  await Promise.all([subscriber.isAccepted(), refilled.isAccepted()]);
  await record(1, 2);
  await subscriber.has(2);
});
afterEach(() => harness.destroy());

async function record(...pids: number[]): Promise<void> {
  for (const pid of pids) agent.recorder.record('process.exec', pid);
  agent.publish();
}

/** The node sends what it has recorded since, and is refused. */
async function refused(pid: number): Promise<void> {
  agent.mangle = poisoned;
  await record(pid);
  await until('the session ends', () => agent.ended !== undefined);
  assert.match(agent.ended!, /no sound frame of process behind 1:\d+:\d:0: frame: count must be .*, 1, got 99/);
}

async function connectAgain(): Promise<void> {
  agent = await harness.agent('a', recorder);
  await until('interest', () => agent.interests.length > 0);
}

async function metric(): Promise<string | undefined> {
  const text = await (await fetch(`http://${harness.broker.httpAddress}/metrics`)).text();
  return /refused_frames_total (\d+)/.exec(text)?.[1];
}

test('a frame that is invalid once is read again from the recorder, and nothing is lost', async () => {
  await refused(3);
  await connectAgain();
  await record(4);
  await subscriber.has(4);
  assert.deepEqual(subscriber.pids, [1, 2, 3, 4]);
  assert.deepEqual(subscriber.gaps, []);
  assert.equal(await metric(), '1');
});

test('a frame that is invalid again becomes a gap of unknown count; the node goes on and the recorder refills it', async () => {
  await refused(3);
  await connectAgain();
  agent.mangle = poisoned;
  agent.publish();
  await until(
    'the stretch is acknowledged',
    () => agent.acknowledged.get('process')?.timeNs === recorder.frontier.timeNs,
  );
  agent.mangle = (frameBytes) => frameBytes;
  await record(4);
  await subscriber.has(3);
  assert.deepEqual(subscriber.pids, [1, 2, 4]);
  const told = subscriber.gaps.map(({ node, topic, reason, eventsUnknown }) => [node, topic, reason, eventsUnknown]);
  assert.deepEqual(told, [['a', 'process', 'refused', true]]);
  assert.ok(subscriber.responses.some(({ nodeStatus }) => /no sound frame of process/.test(nodeStatus?.message ?? '')));
  assert.ok(harness.logged.some(({ msg }) => /^node a: no sound frame of process.*it is stated as a gap/.test(msg)));
  assert.equal(await metric(), '2');
  await refilled.has(4);
  assert.deepEqual(refilled.refilled, [3]);
  assert.deepEqual([...refilled.pids].sort(), [1, 2, 3, 4]);
});

/** What a node may send is what the broker reads, whatever the node does. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../../../src/client/client.js';
import { BUDGET_BURST_BYTES_MIN, BUDGET_TOLERANCE, KiB } from '../../../src/limits.js';
import { comparePositions } from '../../../src/wire/position.js';
import { Harness, range } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

/** So many frames of about 4 KiB. */
function publish(agent: TestAgent, frames: number): void {
  for (let frame = 0; frame < frames; frame++) {
    for (const pid of range(0, 80)) agent.recorder.record('process.exec', pid);
    agent.publish();
  }
}

function allAcknowledged(agent: TestAgent): boolean {
  const to = agent.acknowledged.get('process');
  return to !== undefined && comparePositions(to, agent.recorder.frontier) >= 0;
}

test('a node that waits for a too small budget goes on as soon as the budget is raised', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  const client = new Client([harness.broker.grpcAddress]);
  try {
    await client.setBudget({ nodes: ['a'], budget: { liveBytesPerSecond: 1 } });
    publish(agent, 200);
    await until('that it is not read on', () => subscriber.pids.length > 0);
    await sleep(1_000);
    assert.ok(!allAcknowledged(agent));
    await client.setBudget({ nodes: ['a'], budget: { liveBytesPerSecond: 2 ** 30 } });
    await until('all of it', () => allAcknowledged(agent));
  } finally {
    client.close();
  }
});

test('a node that reconnects again and again may send no more than one that stays connected', async () => {
  const recorder = new TestRecorder('a');
  recorder.budget = { liveBytesPerSecond: KiB, burstMs: 1_000 };
  const beganMs = performance.now();
  let frameBytesMax = 0;
  let agent = await harness.agent('a', recorder);
  const subscriber = harness.subscribe({ topics: ['process'], follow: true });
  await subscriber.isAccepted();
  for (let session = 0; session < 7; session++) {
    agent.mangle = (frameBytes) => {
      frameBytesMax = Math.max(frameBytesMax, frameBytes.length);
      return frameBytes;
    };
    for (const pid of range(0, 4_000)) recorder.record('process.exec', pid);
    // Frames stay small also when the sessions before left much to send: each session may overdraw by one frame.
    for (let at = 79; at < recorder.events.length; at += 80) {
      agent.publishTopic('process', recorder.events[at]!.event.position);
    }
    await sleep(200);
    agent.kill();
    agent = await harness.agent('a', recorder);
    await until('interest', () => agent.topics.includes('process'));
  }
  const answer = await fetch(`http://${harness.broker.httpAddress}/v1/nodes`);
  const { nodes } = (await answer.json()) as { nodes: { uplinkBytes: string }[] };
  const read = Number(nodes[0]?.uplinkBytes);
  const seconds = (performance.now() - beganMs) / 1_000;
  const granted = BUDGET_BURST_BYTES_MIN + (1 + seconds) * KiB * BUDGET_TOLERANCE;
  assert.ok(read <= granted + frameBytesMax, `${read} bytes were read in ${seconds} s`);
});

test('a node that sends history far above its budget is no longer read, and its live stream goes on', async () => {
  const recorder = new TestRecorder('a');
  recorder.budget = { historyBytesPerSecond: 4 * KiB, burstMs: 1_000 };
  const agent = await harness.agent('a', recorder);
  for (const pid of range(0, 60_000)) recorder.record('process.exec', pid);
  const past = harness.subscribe({ topics: ['process'], since: '1h' });
  await past.has(1);
  const live = harness.subscribe({ topics: ['process'], follow: true });
  await live.isAccepted();
  publish(agent, 1);
  await live.has(80);
  await sleep(3_000);
  assert.ok(past.pids.length < 20_000, `${past.pids.length} events were read`);
});

test('however many nodes connect at once, the ceiling is shared out among them', async () => {
  await harness.broker.abort();
  harness.ceilingBytesPerSecond = 1024 * KiB;
  await harness.startBroker();
  const agents: TestAgent[] = [];
  for (const at of range(0, 24)) agents.push(await harness.agent(`n${at}`));
  await until('that each has a lease', () => agents.every(({ leases }) => leases.length > 0));
  const granted = () => agents.reduce((sum, { leases }) => sum + leases.at(-1)!, 0);
  await until('that it is shared out', () => granted() <= 1024 * KiB && granted() > 1023 * KiB);
});

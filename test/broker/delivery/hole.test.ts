/** Frames that the log had, or should have had, are not there: the next one says that it continues something else. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { decodeFrame, encodeFrame, type Frame } from '../../../src/wire/frame/frame.js';
import { Harness, range, until } from '../../harness/broker/harness.js';
import { openLogs } from '../../harness/broker/stores.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';

const FOLLOW = { topics: ['process'], follow: true };

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

/** Each in a frame of its own. */
function publish(agent: TestAgent, pids: readonly number[], loses = false): void {
  agent.loses = loses;
  for (const pid of pids) {
    agent.recorder.record('process.exec', pid);
    agent.publish();
  }
  agent.loses = false;
}

test('a hole in the log is stated, and its events come from the recorder, each once and in order', async () => {
  const { agent, subscriber } = await harness.delivered(range(0, 5));
  publish(agent, range(5, 10), true);
  publish(agent, range(10, 15));
  await subscriber.has(15);
  publish(agent, range(15, 20));
  await subscriber.has(20);
  assert.deepEqual(subscriber.pids, range(0, 20));
  const gaps = subscriber.responses.flatMap(({ gap }) => gap ?? []);
  assert.deepEqual(
    gaps.map(({ node, topic, reason }) => [node, topic, reason]),
    [['a', 'process', 'damaged']],
  );
});

test('where a node was not asked for a while, though a subscriber was there, its recorder has what it did not send', async () => {
  const { agent, subscriber } = await harness.delivered(range(0, 5));
  publish(agent, range(5, 10), true);
  // As if interest had just begun.
  agent.mangle = (bytes) => encodeFrame({ ...decodeFrame(bytes), continues: false });
  publish(agent, [10]);
  agent.mangle = (bytes) => bytes;
  publish(agent, range(11, 15));
  await subscriber.has(15);
  publish(agent, range(15, 20));
  await subscriber.has(20);
  assert.deepEqual(subscriber.pids, range(0, 20));
  assert.deepEqual(
    subscriber.responses.flatMap(({ gap }) => gap ?? []),
    [],
  );
});

test('a subscriber that resumes before or behind the hole gets every event once', async () => {
  const { agent, subscriber } = await harness.delivered(range(0, 5));
  const before = subscriber.cursor;
  publish(agent, range(5, 10), true);
  publish(agent, range(10, 15));
  await subscriber.has(15);
  const behind = subscriber.cursor;
  publish(agent, range(15, 20));
  for (const [cursor, from] of [
    [before, 5],
    [behind, 15],
  ] as const) {
    const again = harness.subscribe({ ...FOLLOW, cursor });
    await again.has(20 - from);
    assert.deepEqual(again.pids, range(from, 20));
  }
});

test('no event is missing where the interest in a node begins again after it reconnected', async () => {
  const { agent, subscriber: first } = await harness.delivered(range(0, 5));
  agent.kill();
  await until('that it goes', () => agent.ended !== undefined);
  for (const pid of range(5, 8)) agent.recorder.record('process.exec', pid);
  const again = await harness.agent('a', agent.recorder);
  await until('that it is asked', () => again.interests.length > 0);
  again.publish();
  publish(again, range(8, 12));
  await first.has(12);
  assert.deepEqual(first.pids, range(0, 12));
  assert.ok(first.responses.every(({ gap }) => !gap));
});

test('frames that stand in the log twice are delivered once', async () => {
  const { agent, subscriber } = await harness.delivered([0]);
  publish(agent, range(1, 10));
  await subscriber.has(10);
  const { cursor, count } = subscriber.cursors.find((each) => each.count >= 4)!;
  await harness.interestIsSaved();
  await harness.broker.abort();
  const dir = join(harness.dataDir, 'broker', 'log');
  const store = await openLogs(dir, 'commit');
  const log = store.of('a');
  const reader = log.reader(log.firstOffset, new Set(['process']));
  const frames: Frame[] = [];
  for (let item = await reader.next(); item; item = await reader.next())
    if (item.kind === 'frame') frames.push(item.frame);
  for (const frame of frames.slice(-4)) await log.append('a', frame, encodeFrame(frame));
  await store.close();
  await harness.startBroker();
  const again = await harness.agent('a', agent.recorder);
  const resumed = harness.subscribe({ ...FOLLOW, cursor });
  await resumed.has(10 - count);
  await until('that it is asked', () => again.topics.includes('process'));
  publish(again, range(10, 15));
  await resumed.has(15 - count);
  assert.deepEqual(resumed.pids, range(count, 15));
});

test('whom frames do not concern stands at the end of the log, is told of a hole in them, and misses nothing', async () => {
  const { agent, subscriber } = await harness.delivered([1]);
  const idle = harness.subscribe({ ...FOLLOW, filter: 'process.pid == 100' });
  await idle.isAccepted();
  publish(agent, range(2, 20));
  await subscriber.has(19);
  const passedNs = agent.recorder.events.at(-1)!.event.wallNs;
  const reached = () => idle.responses.some(({ watermark }) => nsOf(watermark?.time) >= passedNs);
  await until('a watermark behind them', reached);
  assert.deepEqual(
    (await harness.subscriptions()).map(({ lagFrames }) => lagFrames),
    ['0', '0'],
  );
  const { cursor } = idle;
  publish(agent, range(20, 25), true);
  publish(agent, [25]);
  await until('the hole', () => idle.responses.some(({ gap }) => gap?.reason === 'damaged'));
  publish(agent, [100, 26, 27]);
  await idle.has(1);
  assert.deepEqual(idle.pids, [100]);
  const again = harness.subscribe({ ...FOLLOW, filter: 'process.pid == 100', cursor });
  await again.has(1);
  publish(agent, range(28, 40));
  await subscriber.has(39 + 1);
  assert.deepEqual([idle.pids, again.pids], [[100], [100]]);
});

function nsOf(time: { readonly seconds: unknown; readonly nanos: number } | null | undefined): bigint {
  return time ? BigInt(String(time.seconds)) * 1_000_000_000n + BigInt(time.nanos) : 0n;
}

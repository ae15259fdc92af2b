/** Every match is delivered, throttled, shed or skipped: once, whatever breaks in between. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { encodeFrame, refusedFrame } from '../../../src/wire/frame/frame.js';
import { comparePositions } from '../../../src/wire/position.js';
import { Harness, range } from '../../harness/broker/harness.js';
import { publish, REFILL, sorted } from '../../harness/broker/refills.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

async function untilLedger(expected: Record<string, number>): Promise<void> {
  let last: Record<string, number> = {};
  await until(
    'the ledger',
    async () => {
      last = await harness.ledger(-1);
      return isDeepStrictEqual(last, expected);
    },
    () => last,
  );
}

test('when a node leaves during a refill and returns, the rest is refilled and no longer counts as shed', async () => {
  const first = await harness.agent('a');
  const subscriber = harness.subscribe(REFILL);
  await subscriber.isAccepted();
  first.midHistory = async () => {
    await until('some of it', () => subscriber.refilled.length > 0);
    first.kill();
  };
  publish(first, range(0, 120), true);
  publish(first, range(120, 130), false);
  await until('that it goes', () => first.ended !== undefined);
  const again = await harness.agent('a', first.recorder);
  await until('interest', () => again.topics.includes('process'));
  await subscriber.has(130);
  assert.deepEqual(sorted(subscriber.pids), range(0, 130));
  const expected = { matched: 130, delivered: 130, shed: 0, skipped: 0, throttled: 0, refilled: 120 };
  assert.deepEqual(await harness.ledger(-1), expected);
});

test('a subscription that skips while it is refilled gets no event twice', async () => {
  const recorder = new TestRecorder('a');
  recorder.budget = { liveBytesPerSecond: 2 ** 30, liveEventsPerSecond: 2 ** 30, historyBytesPerSecond: 2 ** 30 };
  const agent = await harness.agent('a', recorder);
  const subscriber = harness.subscribe({ ...REFILL, lagPolicy: 'skip', lagMax: '1s' });
  await subscriber.isAccepted();
  let filled = 0;
  agent.midHistory = async () => {
    if (filled > 0) return;
    filled = 1;
    await until('some of it', () => subscriber.refilled.length > 0);
    subscriber.pause();
    for (let frame = 0; frame < 40; frame++)
      publish(agent, range(1000 + frame * 40, 1040 + frame * 40), false, 'x'.repeat(4000));
    await until('that all is in the log', () => {
      const to = agent.acknowledged.get('process');
      return to !== undefined && comparePositions(to, agent.recorder.frontier) >= 0;
    });
    await sleep(1_200);
    subscriber.resume();
    await until('that it skips', () => subscriber.gaps.some(({ reason }) => reason === 'skipped'));
  };
  publish(agent, range(0, 200), true);
  await until('the fill', () => filled === 1);
  for (let frames = 0; frames <= 40; frames += 8) await subscriber.has(200 + frames * 40);
  await sleep(3_500);
  const all = [...range(0, 200), ...range(1000, 1000 + 40 * 40)];
  assert.equal(subscriber.pids.length, all.length);
  assert.deepEqual(sorted(subscriber.pids), all);
  const { shed, skipped, matched } = await harness.ledger(-1);
  assert.deepEqual({ shed, skipped, matched }, { shed: 0, skipped: 0, matched: all.length });
});

test('throttling passes one event of a key per interval, even if the clocks of nodes differ', async () => {
  const nowNs = BigInt(Date.now()) * 1_000_000n;
  const ahead = await harness.agent('a', new TestRecorder('a', 1, nowNs + 3_600_000_000_000n));
  const behind = await harness.agent('b', new TestRecorder('b', 1, nowNs));
  const subscriber = harness.subscribe({ topics: ['process'], follow: true, throttle: '1m' });
  await subscriber.isAccepted();
  publish(ahead, range(0, 10), false);
  await subscriber.has(1);
  publish(behind, range(10, 20), false);
  publish(behind, range(20, 30), false);
  await until('all', () => true);
  await subscriber.has(2);
  await sleep(200);
  assert.deepEqual(subscriber.pids, [0, 10]);
});

test('a refill brings no events that throttling would have held back', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe({ ...REFILL, throttle: '1m' });
  await subscriber.isAccepted();
  publish(agent, range(0, 10), false);
  publish(agent, range(10, 20), true);
  publish(agent, range(20, 30), false);
  const expected = { matched: 30, delivered: 1, shed: 0, skipped: 0, throttled: 29, refilled: 10 };
  await untilLedger(expected);
  assert.deepEqual(subscriber.pids, [0]);
});

const TOPICS = { topics: ['process', 'network'], follow: true };

/** Nodes that are over their budget tell what they shed now and then; topics that are not go on meanwhile. */
async function joinWithin(request: object): Promise<{ matched: number; unknown: boolean }> {
  const agent = await harness.agent('a');
  const first = harness.subscribe(TOPICS);
  await first.isAccepted();
  publish(agent, range(0, 10), false);
  // Shed and not told yet.
  for (const pid of range(10, 20)) agent.recorder.record('process.exec', pid);
  agent.shedding = false;
  agent.recorder.record('network.tcp.connect', 1);
  agent.publishTopic('network', agent.recorder.frontier);
  await until('the connection', () => first.events.length === 11);
  const second = harness.subscribe({ ...TOPICS, ...request });
  await second.isAccepted();
  publish(agent, range(20, 30), true);
  publish(agent, [30], false);
  await until('the last', () => second.pids.includes(30));
  first.cancel();
  await until('that the first has gone', () => true);
  const { matched } = await harness.ledger(-1);
  return { matched: matched!, unknown: second.gaps.some(({ eventsUnknown }) => eventsUnknown) };
}

test('a subscriber that joins during a shed stretch is told exactly how many of its own events are shed', async () => {
  // From the last frame of its topic on.
  assert.deepEqual(await joinWithin({}), { matched: 21, unknown: false });
});

test('a subscriber that got part of a shed stretch as history is told exactly the rest', async () => {
  assert.deepEqual(await joinWithin({ since: '1h' }), { matched: 32, unknown: false });
});

/** A frame without events that says what the kernel lost. */
function lose(agent: TestAgent, topic: string, from: number, to: number, lost: number, lostUnknown = false): void {
  const at = (timeNs: number) => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });
  const stretch = refusedFrame({ topic, coveredFrom: at(from), coveredTo: at(to) });
  agent.sendFrame(encodeFrame({ ...stretch, refused: false, lost, lostUnknown }));
}

test('a loss in the kernel is told once, however many topics state it and whenever they do', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe(TOPICS);
  await subscriber.isAccepted();
  const losses = () => subscriber.gaps.filter(({ reason }) => reason === 'kernel_overrun');
  lose(agent, 'process', 0, 100, 7);
  lose(agent, 'process', 100, 200, 0, true);
  await until('the loss', () => losses().some(({ eventsUnknown }) => eventsUnknown));
  lose(agent, 'network', 0, 150, 7);
  lose(agent, 'network', 150, 220, 0, true);
  lose(agent, 'process', 200, 300, 5);
  await until('the next', () => losses().reduce((sum, { events }) => sum + Number(events), 0) >= 12);
  await sleep(1_200);
  assert.equal(
    losses().reduce((sum, { events }) => sum + Number(events), 0),
    12,
  );
  assert.equal(losses().filter(({ eventsUnknown }) => eventsUnknown).length, 1);
});

test('a loss that a node states repeatedly is told once when it begins and once when it ends', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe(TOPICS);
  await subscriber.isAccepted();
  const at = (timeNs: number) => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });
  const state = (topic: string, from: number, to: number, over: boolean) => {
    const message = 'events of file are not recorded';
    const loss = {
      reason: 'overhead',
      events: 0,
      unknown: true,
      from: at(50),
      to: over ? at(280) : undefined,
      message,
    };
    const stretch = refusedFrame({ topic, coveredFrom: at(from), coveredTo: at(to) });
    agent.sendFrame(encodeFrame({ ...stretch, refused: false, losses: [loss] }));
  };
  const told = () => subscriber.gaps.filter(({ reason }) => reason === 'overhead');
  state('process', 0, 100, false);
  await until('its beginning', () => told().length === 1);
  state('network', 0, 100, false);
  state('process', 100, 200, false);
  state('network', 100, 300, true);
  state('process', 200, 300, true);
  lose(agent, 'process', 300, 400, 1);
  await until('what came behind it', () => subscriber.gaps.some(({ reason }) => reason === 'kernel_overrun'));
  assert.deepEqual(
    told().map(({ from, to, message, eventsUnknown }) => [from?.timeNs, to?.timeNs, message, eventsUnknown]),
    [
      ['50', undefined, 'events of file are not recorded', true],
      ['50', '280', 'events of file are not recorded', true],
    ],
  );
});

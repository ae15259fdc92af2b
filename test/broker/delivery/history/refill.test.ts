/** Subscriptions with refill: shed and skipped events are delivered later, each once. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SilencePace } from '../../../../src/broker/delivery/live/silence-pace.js';
import { Harness, range, type Subscriber } from '../../../harness/broker/harness.js';
import { publish, REFILL, sorted } from '../../../harness/broker/refills.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const shedGaps = (subscriber: Subscriber) =>
  subscriber.gaps.filter(({ reason }) => reason === 'shed').reduce((sum, { events }) => sum + Number(events), 0);

test('shed events come later, marked as refills, each once, until the ledger counts none as shed', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe(REFILL);
  const plain = harness.subscribe({ topics: ['process'], follow: true });
  await Promise.all([subscriber.isAccepted(), plain.isAccepted()]);
  publish(agent, range(0, 10), false);
  publish(agent, range(10, 30), true);
  publish(agent, range(30, 40), false);
  publish(agent, range(40, 90), true);
  publish(agent, range(90, 100), false);
  await subscriber.has(100);
  assert.deepEqual(sorted(subscriber.pids), range(0, 100));
  assert.deepEqual(subscriber.refilled, [...range(10, 30), ...range(40, 90)]);
  assert.equal(shedGaps(subscriber), 70);
  const expected = { matched: 100, delivered: 100, shed: 0, skipped: 0, throttled: 0, refilled: 70 };
  assert.deepEqual(await harness.ledger(), expected);
  assert.deepEqual(plain.pids, [...range(0, 10), ...range(30, 40), ...range(90, 100)]);
});

test('resumed at any cursor, even after the broker was killed, every event comes once', async () => {
  let agent = await harness.agent('a');
  const first = harness.subscribe(REFILL);
  await first.isAccepted();
  for (let at = 0; at < 400; at += 20) publish(agent, range(at, at + 20), at % 40 === 20);
  await first.has(400);
  assert.equal(first.refilled.length, 200);
  const cursors = first.cursors;
  const before = first.pids;
  await harness.broker.abort();
  await harness.startBroker();
  agent = await harness.agent('a', agent.recorder);
  await until('interest', () => agent.topics.includes('process'));
  for (const { cursor, count } of cursors) {
    const again = harness.subscribe({ ...REFILL, cursor });
    await again.has(400 - count);
    assert.deepEqual(sorted([...before.slice(0, count), ...again.pids]), range(0, 400), `behind ${count} events`);
    again.cancel();
  }
});

test('a broker that is killed during a refill leaves nothing missing and nothing doubled', async () => {
  const first = await harness.agent('a');
  const subscriber = harness.subscribe(REFILL);
  await subscriber.isAccepted();
  first.midHistory = async () => {
    // One frame of the answer has come; the rest never does.
    await until('some of it', () => subscriber.refilled.length > 0);
    await harness.broker.abort();
  };
  publish(first, range(0, 200), true);
  publish(first, range(200, 210), false);
  await until('the end', () => subscriber.ended);
  const got = subscriber.pids;
  assert.ok(got.length < 210);
  // Streams end before the directory is released.
  await harness.broker.abort();
  await harness.startBroker();
  const again = await harness.agent('a', first.recorder);
  await until('interest', () => again.topics.includes('process'));
  const resumed = harness.subscribe({ ...REFILL, cursor: subscriber.cursor });
  await resumed.has(210 - got.length);
  assert.deepEqual(sorted([...got, ...resumed.pids]), range(0, 210));
});

test('events shed while a subscriber was away reach it once, as history and not as a refill', async () => {
  const agent = await harness.agent('a');
  const first = harness.subscribe(REFILL);
  await first.isAccepted();
  publish(agent, range(0, 20), true);
  publish(agent, range(20, 30), false);
  await first.has(10);
  const { cursor } = first;
  const had = first.pids;
  first.cancel();
  publish(agent, range(30, 50), true);
  publish(agent, range(50, 60), false);
  const second = harness.subscribe({ ...REFILL, cursor });
  await second.has(60 - had.length);
  await sleep(50);
  assert.deepEqual(sorted([...had, ...second.pids]), range(0, 60));
});

test('what is shed after a silence comes at once, also where thousands are told of silence seldom', async () => {
  mock.method(SilencePace.prototype, 'intervalMs', () => 3_600_000);
  try {
    const agent = await harness.agent('a');
    const subscriber = harness.subscribe(REFILL);
    await subscriber.isAccepted();
    publish(agent, [1], false);
    await subscriber.has(1);
    publish(agent, [2, 3], true);
    await subscriber.has(3);
    assert.deepEqual(subscriber.refilled, [2, 3]);
  } finally {
    mock.restoreAll();
  }
});

test('a node that is away holds nobody up, and is refilled when it is back', async () => {
  const gone = await harness.agent('a');
  const here = await harness.agent('b');
  const subscriber = harness.subscribe(REFILL);
  await subscriber.isAccepted();
  publish(gone, range(0, 10), true);
  publish(here, range(100, 110), true);
  await until('both gaps', () => shedGaps(subscriber) === 20);
  gone.kill();
  await subscriber.has(10);
  const back = await harness.agent('a', gone.recorder);
  await until('interest', () => back.topics.includes('process'));
  await subscriber.has(20);
  assert.deepEqual(sorted(subscriber.refilled), [...range(0, 10), ...range(100, 110)]);
});

test('events that the recorder no longer has are stated, and stay counted as shed', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe(REFILL);
  await subscriber.isAccepted();
  publish(agent, range(0, 6), true);
  agent.evictedTo = agent.recorder.frontier;
  publish(agent, range(6, 10), true);
  await subscriber.has(4);
  await until('the gap', () => subscriber.gaps.some(({ reason }) => reason === 'evicted'));
  assert.deepEqual(subscriber.refilled, range(6, 10));
  const [gap] = subscriber.gaps.filter(({ reason }) => reason === 'evicted');
  assert.deepEqual([gap?.events, gap?.eventsUnknown], ['6', false]);
  assert.deepEqual(await harness.ledger(), {
    matched: 10,
    delivered: 4,
    shed: 6,
    skipped: 0,
    throttled: 0,
    refilled: 4,
  });
});

test('a limit counts refilled events, and ends at exactly that event', async () => {
  const agent = await harness.agent('a');
  const subscriber = harness.subscribe({ ...REFILL, limit: 15 });
  await subscriber.isAccepted();
  publish(agent, range(0, 5), false);
  publish(agent, range(5, 30), true);
  await subscriber.end();
  assert.deepEqual(subscriber.pids, range(0, 15));
  const rest = harness.subscribe({ ...REFILL, cursor: subscriber.cursor });
  await rest.has(15);
  assert.deepEqual(rest.pids, range(15, 30));
});

test('a subscriber too far behind skips to the end of the log, is told how much, and gets it later', async () => {
  const agent = await harness.agent('a');
  const first = harness.subscribe({ ...REFILL, lagPolicy: 'skip', lagMax: '1s' });
  await first.isAccepted();
  publish(agent, range(0, 10), false);
  await first.has(10);
  const { cursor } = first;
  first.cancel();
  publish(agent, range(10, 20), false);
  publish(agent, range(20, 30), true);
  publish(agent, range(30, 40), false);
  await sleep(1_100);
  const second = harness.subscribe({ ...REFILL, lagPolicy: 'skip', lagMax: '1s', cursor });
  await second.isAccepted();
  publish(agent, range(40, 50), false);
  await second.has(40);
  assert.deepEqual(sorted(second.pids), range(10, 50));
  assert.deepEqual(sorted(second.refilled), range(10, 40));
  const told = (wanted: string) =>
    second.gaps.filter(({ reason }) => reason === wanted).reduce((sum, { events }) => sum + Number(events), 0);
  assert.deepEqual([told('skipped'), told('shed')], [20, 10]);
  const { shed, skipped, delivered, matched } = await harness.ledger();
  assert.deepEqual({ shed, skipped, delivered, matched }, { shed: 0, skipped: 0, delivered: 40, matched: 40 });
});

test('without refill, skipped events stay skipped, and the ledger counts them', async () => {
  const agent = await harness.agent('a');
  const request = { topics: ['process'], follow: true, lagPolicy: 'skip', lagMax: '1s' };
  const first = harness.subscribe(request);
  await first.isAccepted();
  publish(agent, [0], false);
  await first.has(1);
  const { cursor } = first;
  first.cancel();
  publish(agent, range(1, 20), false);
  await sleep(1_100);
  const second = harness.subscribe({ ...request, cursor });
  await second.isAccepted();
  publish(agent, range(20, 25), false);
  await second.has(5);
  assert.deepEqual(second.pids, range(20, 25));
  const expected = { matched: 24, delivered: 5, shed: 0, skipped: 19, throttled: 0, refilled: 0 };
  assert.deepEqual(await harness.ledger(), expected);
});

test('throttling by key holds over all nodes, in history and live, and throttled events are counted', async () => {
  const a = await harness.agent('a');
  const b = await harness.agent('b');
  // Events of one recorder are a millisecond apart.
  for (const pid of range(0, 20)) a.recorder.record('process.exec', pid, `c${pid % 2}`);
  const subscriber = harness.subscribe({
    topics: ['process'],
    follow: true,
    since: '1h',
    throttle: '1h',
    throttleBy: ['process.comm'],
  });
  await subscriber.has(2);
  assert.deepEqual(subscriber.pids, [0, 1]);
  for (const pid of range(20, 30)) b.recorder.record('process.exec', pid, `c${pid % 3}`);
  b.publish();
  await subscriber.has(3);
  assert.deepEqual(subscriber.pids, [0, 1, 20]);
  await until('the count', () => subscriber.responses.length > 0);
  const { matched, delivered, throttled } = await harness.ledger();
  assert.deepEqual({ matched, delivered, throttled }, { matched: 30, delivered: 3, throttled: 27 });
  const atSeam = subscriber.responses.find(({ coverage }) => coverage)?.coverage?.ledger;
  assert.deepEqual(
    { ...atSeam },
    { matched: '20', delivered: '2', throttled: '18', shed: '0', skipped: '0', refilled: '0', selectors: [] },
  );
});

test('options that exclude each other are refused with the field that is wrong', async () => {
  const refusals: [object, RegExp][] = [
    [{ refill: true }, /refill: needs follow/],
    [{ throttle: '0s' }, /throttle: must be a duration above 0/],
    [{ throttle: '5s', last: 3 }, /throttle: excludes last/],
    [{ throttleBy: ['process.pid'] }, /throttle_by: needs throttle/],
    [{ throttle: '5s', throttleBy: ['process.nonsense'] }, /throttle_by: unknown field "process.nonsense"/],
    [{ follow: true, lagPolicy: 'drop' }, /lag_policy: must be keep or skip, got "drop"/],
    [{ lagPolicy: 'skip' }, /lag_policy: skip needs follow/],
    [{ follow: true, lagMax: '5s' }, /lag_max: needs the lag policy skip/],
    [{ follow: true, lagPolicy: 'skip', lagMax: '1ms' }, /lag_max: must be a duration of at least 1s/],
  ];
  for (const [request, message] of refusals) {
    const refused = harness.subscribe(request);
    await refused.end();
    assert.match(refused.error?.details ?? '', message);
    assert.equal(refused.error?.code, 3);
  }
});

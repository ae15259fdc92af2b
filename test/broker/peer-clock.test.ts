/** Windows are by the broker's clock; a message that was long under way says nothing about a node's. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { PeerClock } from '../../src/broker/peer-clock.js';
import { CLOCK_MEASUREMENTS_MAX, CLOCK_TOLERANCE_MS } from '../../src/limits.js';
import { nsToTimestamp } from '../../src/wire/messages.js';
import { Harness, range } from '../harness/broker/harness.js';
import { TestRecorder } from '../harness/broker/test-agent.js';
import { until } from '../harness/until.js';

const SECOND_NS = 1_000_000_000n;
const TOLERANCE_NS = BigInt(CLOCK_TOLERANCE_MS) * 1_000_000n;
const nowNs = () => BigInt(Date.now()) * 1_000_000n;

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

/** A node whose clock is so far from the broker's, with 20 events from a time by that clock, which is returned. */
async function nodeWith({ offsetNs, reportsLateNs }: { offsetNs: bigint; reportsLateNs: bigint }) {
  const startNs = nowNs() + offsetNs - 600n * SECOND_NS;
  const recorder = new TestRecorder('recorder', 1, startNs);
  for (const pid of range(0, 20)) recorder.record('process.exec', pid);
  const agent = await harness.agent('node', recorder, { wallTime: nsToTimestamp(nowNs() + offsetNs) });
  // On a busy machine the hello itself takes long; one report that did not is what this is about.
  const measured = async () => BigInt(/"clockOffsetNs":"(-?\d+)"/.exec(await nodes())?.[1] ?? '0');
  await until('a report that arrived soon', async () => {
    agent.say({ report: { wallTime: nsToTimestamp(nowNs() + offsetNs) } });
    return (await measured()) > offsetNs - TOLERANCE_NS / 2n;
  });
  for (const recordedBytes of [1, 2, 3]) {
    agent.say({ report: { recordedBytes, wallTime: nsToTimestamp(nowNs() + offsetNs - reportsLateNs) } });
  }
  await until('the last report', async () => /"recordedBytes":"3"/.test(await nodes()));
  return startNs;
}

const nodes = async () => (await fetch(`http://${harness.broker.httpAddress}/v1/nodes`)).text();

/** What of the node lies within [from, to). */
async function within(fromNs: bigint, toNs: bigint): Promise<number[]> {
  const time = (ns: bigint) => new Date(Number(ns / 1_000_000n)).toISOString();
  const replay = harness.subscribe({ topics: ['process'], since: time(fromNs), until: time(toNs) });
  await until('the end', () => replay.ended);
  assert.equal(replay.error, undefined);
  return replay.pids;
}

test('clock reports that travelled for seconds move no window', async () => {
  const startNs = await nodeWith({ offsetNs: 0n, reportsLateNs: 2n * SECOND_NS });
  assert.deepEqual(await within(startNs + 5_000_000n, startNs + 10_000_000n), range(4, 9));
});

for (const [how, offsetNs] of [
  ['behind', -3_600n * SECOND_NS],
  ['ahead', 3_600n * SECOND_NS],
] as const) {
  test(`a node whose clock is an hour ${how} is asked in the time of its own clock`, async () => {
    const startNs = await nodeWith({ offsetNs, reportsLateNs: 2n * SECOND_NS });
    const trueNs = startNs - offsetNs;
    assert.deepEqual(await within(trueNs - 300n * SECOND_NS, trueNs + 300n * SECOND_NS), range(0, 20));
  });
}

test('a clock that is set forward is believed at once, one that is set back only once all measurements agree', () => {
  const clock = new PeerClock();
  assert.equal(clock.windowOffsetNs, 0n);
  clock.measured(0n, 0n);
  clock.measured(5n * SECOND_NS, 0n);
  assert.equal(clock.windowOffsetNs, 5n * SECOND_NS);
  for (const _ of range(1, CLOCK_MEASUREMENTS_MAX)) clock.measured(0n, SECOND_NS);
  assert.equal(clock.windowOffsetNs, 5n * SECOND_NS);
  clock.measured(SECOND_NS / 10n, SECOND_NS);
  assert.equal(clock.windowOffsetNs, -900_000_000n);
  clock.measured(SECOND_NS, SECOND_NS);
  assert.equal(clock.windowOffsetNs, 0n);
});

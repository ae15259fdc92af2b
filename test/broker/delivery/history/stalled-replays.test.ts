/** Replays that are not read keep nobody from history, and miss nothing when they are read on. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { HISTORY_CREDIT_BYTES, HISTORY_QUERIES_PER_AGENT_MAX } from '../../../../src/limits.js';
import { Harness, range, type Subscriber } from '../../../harness/broker/harness.js';
import { TestRecorder } from '../../../harness/broker/test-agent.js';

const EVENTS = 1_800;
/** So that what one replay brings is more than sockets and queues between its ends take. */
const COMM = 'x'.repeat(3_500);

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

/** Fails after a minute without progress. */
async function ends(subscriber: Subscriber): Promise<void> {
  let progress = -1;
  for (let idleMs = 0; !subscriber.ended; idleMs += 50) {
    if (subscriber.responses.length !== progress) idleMs = 0;
    progress = subscriber.responses.length;
    assert.ok(idleMs < 60_000, 'no progress for a minute');
    await sleep(50);
  }
}

test('beside as many stalled replays as a node may run another one is served, and each completes once it is read', async () => {
  const recorder = new TestRecorder('recorder-a', 1, BigInt(Date.now()) * 1_000_000n - 3_600_000_000_000n);
  for (const pid of range(0, EVENTS)) recorder.record('process.exec', pid, COMM);
  assert.ok(EVENTS * COMM.length > 5 * HISTORY_CREDIT_BYTES);
  const agent = await harness.agent('a', recorder);
  const stalled = range(0, HISTORY_QUERIES_PER_AGENT_MAX).map(() => {
    const subscriber = harness.subscribe({ topics: ['process'], since: '2h' });
    subscriber.pause();
    return subscriber;
  });
  while (agent.runningQueries < HISTORY_QUERIES_PER_AGENT_MAX) await sleep(20);
  const another = harness.subscribe({ topics: ['process'], since: '2h', filter: 'process.pid < 10' });
  await ends(another);
  assert.equal(another.error, undefined);
  assert.deepEqual(another.pids, range(0, 10));
  assert.equal(another.coverage?.nodes[0]?.absent, false);
  for (const subscriber of stalled) subscriber.resume();
  for (const subscriber of stalled) {
    await ends(subscriber);
    assert.equal(subscriber.error, undefined);
    assert.deepEqual(subscriber.pids, range(0, EVENTS));
    assert.deepEqual([subscriber.gaps, subscriber.coverage?.nodes[0]?.brokenOff], [[], false]);
  }
});

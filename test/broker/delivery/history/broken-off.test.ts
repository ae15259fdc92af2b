/** Answers of recorders that lack something: that is told before what comes behind it, however they end. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { decodeHistoryFrame, encodeHistoryFrame } from '../../../../src/wire/frame/history-frame.js';
import { positionFromMessage } from '../../../../src/wire/messages.js';
import { Harness, range, until } from '../../../harness/broker/harness.js';
import { TestRecorder } from '../../../harness/broker/test-agent.js';

/** What the test agent sends in a frame. */
const FRAME = 50;

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

test('what a recorder lacks is told before the events behind it, though its answer breaks off and is never whole', async () => {
  const recorder = new TestRecorder('recorder-a');
  for (const pid of range(0, 3 * FRAME)) recorder.record('process.exec', pid);
  const subscriber = harness.subscribe({ topics: ['process'], follow: true, since: new Date(0).toISOString() });
  await subscriber.isAccepted();
  const agent = await harness.agent('a', recorder);
  let frames = 0;
  agent.mangleHistory = (bytes) => {
    frames += 1;
    return frames === 2 ? encodeHistoryFrame({ ...decodeHistoryFrame(bytes), incomplete: true }) : bytes;
  };
  agent.midHistory = async () => {
    if (frames < 2) return;
    await subscriber.has(2 * FRAME);
    agent.kill();
  };
  await until('it goes', () => agent.ended !== undefined);
  // It says no more of what is missing: the subscriber has what comes before and behind it.
  await harness.agent('a', recorder);
  await subscriber.has(3 * FRAME);
  assert.deepEqual(subscriber.pids, range(0, 3 * FRAME));
  const told = subscriber.responses.flatMap(({ gap, events }): unknown[] => {
    if (gap) return [[gap.reason, positionOf(gap.from), positionOf(gap.to), gap.eventsUnknown]];
    return events ? [events.events.length] : [];
  });
  const { position: last } = recorder.events[FRAME - 1]!.event;
  const { position: to } = recorder.events[2 * FRAME - 1]!.event;
  assert.deepEqual(told.slice(0, 3), [FRAME, ['kernel_overrun', last, to, true], FRAME]);
  assert.equal(subscriber.gaps.length, 1);
});

test('a replay that is resumed where the recorder was removed meanwhile is told that its past is gone', async () => {
  const recorder = new TestRecorder('recorder-a');
  for (const pid of range(0, 2 * FRAME)) recorder.record('process.exec', pid);
  const agent = await harness.agent('a', recorder);
  agent.midHistory = () => new Promise(() => undefined);
  const first = harness.subscribe({ topics: ['process'], follow: true, since: new Date(0).toISOString() });
  await first.has(FRAME);
  const { cursor } = first;
  first.cancel();
  agent.kill();
  await until('it goes', () => agent.ended !== undefined);
  const later = new TestRecorder('recorder-b', 2);
  const again = await harness.agent('a', later);
  again.begins = true;
  await until('interest', () => again.interests.length > 0);
  for (const pid of range(1000, 1003)) later.record('process.exec', pid);
  again.publish();
  const resumed = harness.subscribe({ topics: ['process'], follow: true, cursor });
  await resumed.has(3);
  assert.deepEqual(resumed.pids, range(1000, 1003));
  await resumed.until('coverage', () => resumed.coverage !== undefined);
  const [covered] = resumed.coverage!.nodes;
  assert.deepEqual([covered?.node, covered?.evicted, covered?.beginsLater], ['a', true, false]);
});

function positionOf(position: Parameters<typeof positionFromMessage>[1] | null) {
  return position && positionFromMessage('gap', position);
}

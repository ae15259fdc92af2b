/** A follow over many nodes: at every moment its cursor resumes without loss and without duplicates. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { CURSOR_BYTES_MAX } from '../../src/limits.js';
import { Harness, range, type Subscriber } from '../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../harness/broker/test-agent.js';
import { runs } from '../harness/runs.js';

const FOLLOW = { topics: ['process', 'network'], follow: true };

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

async function connect(recorders: readonly TestRecorder[]): Promise<TestAgent[]> {
  const agents: TestAgent[] = [];
  for (let at = 0; at < recorders.length; at += 50) {
    const some = recorders.slice(at, at + 50);
    agents.push(...(await Promise.all(some.map((recorder) => harness.agent(recorder.id, recorder)))));
  }
  return agents;
}

function recordersOf(count: number): TestRecorder[] {
  const startNs = BigInt(Date.now() - 30_000) * 1_000_000n;
  return range(0, count).map((at) => new TestRecorder(`node-${at}`, 1, startNs + BigInt(at)));
}

/** `node:pid` of everything recorded. */
const recorded = (recorders: readonly TestRecorder[]) =>
  recorders.flatMap(({ id, events }) => events.map(({ event }) => `${id}:${event.process?.pid}`)).sort();

/** What came up to the cursor of the batch that brought the `count`th event or more. */
function upTo(subscriber: Subscriber, count: number): { cursor: string; events: string[] } {
  const at = subscriber.cursors.find((each) => each.count >= count)!;
  return { cursor: at.cursor, events: subscriber.events.slice(0, at.count) };
}

function assertCursors(subscriber: Subscriber): void {
  for (const { events, watermark, coverage } of subscriber.responses) {
    const cursor = (events ?? watermark ?? coverage)?.cursor;
    if (cursor === undefined) continue;
    assert.ok(cursor.length > 0 && cursor.length <= CURSOR_BYTES_MAX, `a cursor of ${cursor.length} characters`);
  }
}

for (const count of new Set([100, Math.min(1000, runs(100))])) {
  test(`${count} nodes: history, seam and live events are complete, and every cursor resumes, twice over`, async () => {
    const recorders = recordersOf(count);
    for (const pid of range(0, 2)) for (const recorder of recorders) recorder.record('process.exec', pid);
    const agents = await connect(recorders);
    const first = harness.subscribe({ ...FOLLOW, since: '1h' });
    await first.has(2 * count);
    await first.until('the seam', () => first.coverage !== undefined);
    // Half of the nodes publish: the others stand apart on.
    for (const [at, { recorder }] of agents.entries()) if (at % 2) recorder.record('network.tcp.connect', 2);
    for (const [at, agent] of agents.entries()) if (at % 2) agent.publish();
    await first.has(2.5 * count);
    assertCursors(first);
    const places = [1, 2 * count, 2 * count + 1, 2.2 * count, 2.5 * count].map((events) => upTo(first, events));
    for (const { recorder } of agents) recorder.record('process.exec', 3);
    for (const agent of agents) agent.publish();
    for (const { cursor, events } of places) {
      const second = harness.subscribe({ ...FOLLOW, cursor });
      await second.has(3.5 * count - events.length);
      assertCursors(second);
      assert.deepEqual([...events, ...second.events].sort(), recorded(recorders));
      second.cancel();
    }
  });
}

test('brokers that lost interest.json get the missed events from the recorders, even after a second failure', async () => {
  const count = 200;
  const recorders = recordersOf(count);
  for (const recorder of recorders) recorder.record('process.exec', 0);
  await connect(recorders);
  const first = harness.subscribe({ ...FOLLOW, since: '1h' });
  await first.has(count);
  await first.until('the seam', () => first.coverage !== undefined);
  let events = first.events;
  let { cursor } = first;
  for (const pid of range(1, 4)) {
    await harness.broker.abort();
    rmSync(join(harness.dataDir, 'broker', 'interest.json'));
    for (const recorder of recorders) recorder.record(pid % 2 ? 'network.tcp.connect' : 'process.exec', pid);
    await harness.startBroker();
    // Every third node comes back at the end only.
    await connect(recorders.filter((_, at) => pid === 3 || at % 3));
    const next = harness.subscribe({ ...FOLLOW, cursor });
    const due = pid === 3 ? count * 4 - events.length : 40;
    await next.has(due);
    assertCursors(next);
    const place = pid === 3 ? { cursor: next.cursor, events: next.events } : upTo(next, due);
    ({ cursor } = place);
    events = [...events, ...place.events];
    next.cancel();
  }
  assert.deepEqual(events.sort(), recorded(recorders));
});

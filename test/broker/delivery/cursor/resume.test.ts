/** Subscriptions that resume by their cursor, over broker restarts, lost interest and damage. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { ResumedCursor } from '../../../../src/broker/delivery/cursor/resumed-cursor.js';
import { SelectorSet } from '../../../../src/broker/delivery/selectors/selector-set.js';
import type { LogStore } from '../../../../src/broker/log/log-store.js';
import { compilePredicate } from '../../../../src/subscriptions/predicate.js';
import { encodeFrame } from '../../../../src/wire/frame/frame.js';
import { frameOf } from '../../../contract/partition-log.js';
import { Harness, range } from '../../../harness/broker/harness.js';
import { openLogs } from '../../../harness/broker/stores.js';
import { scratchDirectory } from '../../../harness/files/scratch-directory.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const FOLLOW = { topics: ['process'], follow: true };

test('after a broker is killed, its subscriptions resume with every event exactly once', async () => {
  const agent = await harness.agent('a');
  const first = harness.subscribe({ ...FOLLOW, since: '1h' });
  await first.isAccepted();
  for (const pid of range(0, 200)) {
    agent.recorder.record('process.exec', pid);
    if (pid % 10 === 9) agent.publish();
  }
  await first.has(200);
  await harness.interestIsSaved();
  // Every batch's cursor must do, also those from before the last ones were framed.
  const cursors = first.cursors.filter((_, index) => index % 4 === 0);
  await harness.broker.abort();
  for (const pid of range(200, 250)) agent.recorder.record('process.exec', pid);
  await harness.startBroker();
  const again = await harness.agent('a', agent.recorder);
  assert.deepEqual(
    again.welcome?.covered.map(({ topic, resume }) => [topic, resume]),
    [['process', true]],
  );
  await until('interest', () => again.topics.includes('process'));
  again.publish();
  const queriesBefore = again.historyQueries;
  for (const { cursor, count } of cursors) {
    const resumed = harness.subscribe({ ...FOLLOW, cursor });
    await resumed.has(250 - count);
    assert.deepEqual(resumed.pids, range(count, 250));
  }
  assert.equal(again.historyQueries, queriesBefore, 'interest was kept: the log says all');
});

test('a subscriber that returns within the grace period reads the log from its cursor', async () => {
  const { agent, subscriber: first } = await harness.delivered([1]);
  const { cursor } = first;
  first.cancel();
  for (const pid of range(2, 50)) {
    agent.recorder.record('process.exec', pid);
    agent.publish();
  }
  await until('acknowledgement', () => agent.acknowledged.get('process')?.timeNs === agent.recorder.frontier.timeNs);
  const second = harness.subscribe({ ...FOLLOW, cursor });
  await second.has(48);
  agent.recorder.record('process.exec', 50);
  agent.publish();
  await second.has(49);
  assert.deepEqual(second.pids, range(2, 51));
  assert.equal(agent.historyQueries, 0);
});

test('when the interest was interrupted, the recorder fills in the missing events', async () => {
  const { agent, subscriber: first } = await harness.delivered(range(0, 10));
  const { cursor } = first;
  first.cancel();
  await until('nobody subscribed', () => agent.ended === undefined);
  // A broker that lost what was asked cannot know that the log is complete.
  await harness.broker.abort();
  rmSync(harness.interestFile);
  for (const pid of range(10, 20)) agent.recorder.record('process.exec', pid);
  await harness.startBroker();
  const again = await harness.agent('a', agent.recorder);
  for (const pid of range(20, 30)) agent.recorder.record('process.exec', pid);
  const second = harness.subscribe({ ...FOLLOW, cursor });
  await second.has(20);
  for (const pid of range(30, 40)) agent.recorder.record('process.exec', pid);
  again.publish();
  await second.has(30);
  assert.deepEqual(second.pids, range(10, 40));
  assert.ok(again.historyQueries > 0);
  const third = harness.subscribe({ ...FOLLOW, cursor: second.cursors[0]!.cursor });
  await third.has(30 - second.cursors[0]!.count);
  assert.deepEqual(third.pids, range(10 + second.cursors[0]!.count, 40));
});

test("a replay interrupted by the broker's end continues at its cursor, over the seam into live events", async () => {
  const agent = await harness.agent('a');
  for (const pid of range(0, 300)) agent.recorder.record('process.exec', pid);
  const first = harness.subscribe({ ...FOLLOW, since: '1h' });
  await first.has(300);
  const { cursor, count } = first.cursors[2]!;
  assert.ok(count < 300);
  await harness.broker.abort();
  await harness.startBroker();
  const again = await harness.agent('a', agent.recorder);
  const second = harness.subscribe({ ...FOLLOW, cursor });
  await second.isAccepted();
  for (const pid of range(300, 310)) agent.recorder.record('process.exec', pid);
  again.publish();
  await second.has(310 - count);
  assert.deepEqual(second.pids, range(count, 310));
});

test('a gap is told before any cursor behind it, since a subscriber that resumes there would never hear of it', async () => {
  const agent = await harness.agent('a');
  const first = harness.subscribe(FOLLOW);
  await first.isAccepted();
  for (const pid of range(0, 40)) {
    agent.recorder.record('process.exec', pid);
    agent.publish();
  }
  await first.has(40);
  await harness.interestIsSaved();
  const { cursor, count } = first.cursors[0]!;
  await harness.broker.abort();
  damageMiddle(join(harness.dataDir, 'broker', 'log'));
  await harness.startBroker();
  const again = await harness.agent('a', agent.recorder);
  // The recorder no longer has the events that the log cannot read.
  again.evictedTo = agent.recorder.events[38]!.event.position;
  const second = harness.subscribe({ ...FOLLOW, cursor });
  await until('the last event', () => second.pids.includes(39));
  const missing = range(count, 40).find((pid) => !second.pids.includes(pid));
  assert.ok(missing !== undefined, 'a frame was damaged');
  const gapAt = second.responses.findIndex(({ gap }) => gap?.reason === 'damaged');
  const behindAt = second.responses.findIndex(({ events }) => events?.events.some((e) => e.process!.pid > missing));
  assert.ok(gapAt >= 0 && gapAt < behindAt, `the gap is response ${gapAt}, what is behind it ${behindAt}`);
});

/** Flips a bit in the middle of the one partition that has frames. */
function damageMiddle(log: string): void {
  for (const name of readdirSync(log).filter((entry) => entry.startsWith('partition-'))) {
    const [segment] = readdirSync(join(log, name)).filter((file) => file.endsWith('.log'));
    const bytes = segment === undefined ? Buffer.alloc(0) : readFileSync(join(log, name, segment));
    if (bytes.length < 1024) continue;
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(join(log, name, segment!), bytes);
  }
}

test('a resumed cursor without follow replays the events since, and ends', async () => {
  const { agent, subscriber: first } = await harness.delivered(range(0, 10));
  for (const pid of range(10, 20)) agent.recorder.record('process.exec', pid);
  const rest = harness.subscribe({ topics: ['process'], cursor: first.cursor });
  await rest.end();
  assert.deepEqual(rest.pids, range(10, 20));
});

test('a draining broker ends each stream with a cursor that continues at the next broker', async () => {
  const { agent, subscriber } = await harness.delivered(range(0, 10));
  await harness.broker.drain();
  await subscriber.end();
  assert.match(subscriber.error?.details ?? '', /shutting down: resume/);
  const { cursor } = subscriber;
  await harness.startBroker();
  const again = await harness.agent('a', agent.recorder);
  for (const pid of range(10, 20)) agent.recorder.record('process.exec', pid);
  const resumed = harness.subscribe({ ...FOLLOW, cursor });
  await resumed.isAccepted();
  again.publish();
  await resumed.has(10);
  assert.deepEqual(resumed.pids, range(10, 20));
});

test('every cursor keeps its place within a frame until that frame has been read again', async () => {
  const agent = await harness.agent('a');
  const request = { topics: ['network', 'process'], follow: true };
  const first = harness.subscribe({ ...request, limit: 4 });
  await first.isAccepted();
  for (const pid of range(0, 10)) agent.recorder.record('process.exec', pid);
  agent.publish();
  await first.end();
  assert.deepEqual(first.pids, range(0, 4));
  for (const pid of range(10, 15)) agent.recorder.record('network.tcp.connect', pid);
  agent.publish();
  await until('acknowledged', () => agent.acknowledged.get('network')?.timeNs === agent.recorder.frontier.timeNs);
  // As a rule this reads the other topic first, and goes within a frame there as well.
  const second = harness.subscribe({ ...request, cursor: first.cursor, limit: 2 });
  await second.end();
  assert.equal(second.pids.length, 2);
  const third = harness.subscribe({ ...request, cursor: second.cursor });
  await third.has(9);
  const rest = [...second.pids, ...third.pids];
  assert.deepEqual(
    rest.toSorted((x, y) => x - y),
    range(4, 15),
  );
});

test('cursors of other filters, of other logs, and of unknown origin are refused', async () => {
  const { subscriber } = await harness.delivered([1]);
  const { cursor } = subscriber;
  const refusals: [object, RegExp][] = [
    [{ ...FOLLOW, cursor, filter: 'process.pid == 1' }, /cursor is of another subscription/],
    [{ ...FOLLOW, cursor: `${cursor.slice(0, -2)}AA` }, /checksum|gave out/],
    [{ ...FOLLOW, cursor: 'x' }, /cursor/],
  ];
  for (const [request, message] of refusals) {
    const refused = harness.subscribe(request);
    await refused.end();
    assert.match(refused.error?.details ?? '', message);
    assert.equal(refused.error?.code, 3);
  }
  const other = await Harness.start();
  try {
    const foreign = other.subscribe({ ...FOLLOW, cursor });
    await foreign.end();
    assert.match(
      foreign.error?.details ?? '',
      /cursor is of another broker, or of this one before its data was removed/,
    );
  } finally {
    await other.destroy();
  }
});

const ALL = new SelectorSet([
  { id: '', predicate: compilePredicate({ topics: ['process'], filter: '', includeSelf: true }) },
]);

/** A log with three frames. */
async function shortLog() {
  const store = await openLogs(scratchDirectory('lost-end'));
  const log = store.partition(0);
  for (const at of range(0, 3)) {
    const frame = frameOf(at, at + 1, 100);
    await log.append('n', frame, encodeFrame(frame));
  }
  return { store, log };
}

test('a cursor is known not to be there where the log loses its end after it was opened', async () => {
  const { store, log } = await shortLog();
  const offset = log.deliverableOffset;
  const own = log.markBefore(offset)!;
  const state = { clusterId: '', predicateId: 1n, sinceNs: 0n, places: [{ offset, mark: own }], nodes: [] };
  const resumed = await ResumedCursor.open(state, ['process'], ALL, store);
  const isThere = (deliverableOffset: number, mark: number | undefined) => {
    const now = Object.create(log, {
      deliverableOffset: { value: deliverableOffset },
      markBefore: { value: () => mark },
    });
    return resumed.isThere({ partition: () => now } as unknown as LogStore, undefined);
  };
  assert.ok(isThere(offset, own));
  assert.ok(isThere(offset + 1, undefined), 'it is not known any more');
  assert.ok(!isThere(offset - 1, undefined), 'it has not been read so far again');
  assert.ok(!isThere(offset + 1, own + 1), 'it has something else there');
  await store.close();
});

test('while a log goes back no cursor is resumed, and none is taken for one that never was: it is to be tried again', async () => {
  const { store, log } = await shortLog();
  let goesBack = true;
  const next = async () => {
    goesBack = true;
  };
  const now = new Proxy(log, {
    get(target, key) {
      if (key === 'isGoingBack') return goesBack;
      if (key === 'reader') return () => ({ next, close: () => undefined });
      const value = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const opened = (index: number | undefined) => {
    const { firstOffset: offset } = log;
    const state = { clusterId: '', predicateId: 1n, sinceNs: 0n, places: [{ offset, index }], nodes: [] };
    return ResumedCursor.open(state, ['process'], ALL, { partition: () => now } as unknown as LogStore);
  };
  await assert.rejects(opened(undefined), { code: 'unavailable', message: /partition 0 of the log .* read again/ });
  goesBack = false;
  await assert.rejects(opened(1), { code: 'unavailable' }, 'it begins to while what stands there is read');
  await store.close();
});

/** A broker starts on whatever a disk left of its files, serves what is good, and says what is not. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { partitionOf } from '../../../src/broker/log/partition-log.js';
import { MARKER, RECORD_HEADER_BYTES } from '../../../src/storage/segment-log/format.js';
import { Harness, range } from '../../harness/broker/harness.js';
import type { TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

const FOLLOW = { topics: ['process'], follow: true };
const brokerFile = (...names: string[]) => join(harness.dataDir, 'broker', ...names);
const warnings = () => harness.logged.filter(({ level }) => level === 40).map(({ msg }) => msg);

/** One subscriber has seen pids 0 to 9, and went; the broker is down. Returns its cursor. */
async function deliveredTen(): Promise<{ cursor: string; recorder: TestRecorder }> {
  const { agent, subscriber } = await harness.delivered(range(0, 10));
  await harness.interestIsSaved();
  const { cursor } = subscriber;
  await harness.broker.abort();
  return { cursor, recorder: agent.recorder };
}

const STATE_DAMAGES: Record<string, (file: string) => void> = {
  'cut in the middle': (file) => truncateSync(file, 40),
  empty: (file) => truncateSync(file, 0),
  'full of zeros': (file) => writeFileSync(file, Buffer.alloc(200)),
  'wrong in a glob': (file) => {
    writeFileSync(file, readFileSync(file, 'utf8').replace('"globs":[]', '"globs":["-;"]'));
  },
  'wrong in a lane': (file) => {
    writeFileSync(file, readFileSync(file, 'utf8').replace(/,\d+,0\]\}/, ',70000,0]}'));
  },
};

for (const [what, damage] of Object.entries(STATE_DAMAGES)) {
  test(`an interest.json that is ${what} is put aside, and the cursor resumes exactly`, async () => {
    const { cursor, recorder } = await deliveredTen();
    const before = readFileSync(brokerFile('interest.json'));
    damage(brokerFile('interest.json'));
    const damaged = readFileSync(brokerFile('interest.json'));
    assert.ok(!damaged.equals(before), 'the test did damage it');
    for (const pid of range(10, 20)) recorder.record('process.exec', pid);
    await harness.startBroker();
    assert.deepEqual(readFileSync(brokerFile('interest.json.damaged')), damaged);
    assert.equal(warnings().length, 1);
    assert.match(warnings()[0]!, /interest\.json is damaged .*kept as .*nodes are asked anew.*cursors stay valid/);
    const again = await harness.agent('a', recorder);
    const resumed = harness.subscribe({ ...FOLLOW, cursor });
    await resumed.has(10);
    for (const pid of range(20, 30)) recorder.record('process.exec', pid);
    again.publish();
    await resumed.has(20);
    assert.deepEqual(resumed.pids, range(10, 30));
    await until('a new state', () => existsSync(brokerFile('interest.json')));
  });
}

test('a lost log identity is restored from its copy, and cursors resume', async () => {
  for (const lose of [(file: string) => truncateSync(file, 3), (file: string) => rmSync(file)]) {
    const { cursor, recorder } = await deliveredTen();
    const identity = readFileSync(brokerFile('log', 'identity'), 'utf8');
    harness.logged.length = 0;
    lose(brokerFile('log', 'identity'));
    await harness.startBroker();
    assert.match(warnings().join('\n'), /identity was lost or damaged and is restored from its copy/);
    assert.equal(readFileSync(brokerFile('log', 'identity'), 'utf8'), identity);
    const again = await harness.agent('a', recorder);
    const resumed = harness.subscribe({ ...FOLLOW, cursor });
    await resumed.isAccepted();
    recorder.record('process.exec', 10);
    again.publish();
    await resumed.has(1);
    assert.deepEqual(resumed.pids, [10]);
    await harness.destroy();
    harness = await Harness.start();
  }
});

test('without identity and copy the log gets a new name, says so, and refuses old cursors', async () => {
  const { cursor, recorder } = await deliveredTen();
  for (const name of ['identity', 'identity.copy']) writeFileSync(brokerFile('log', name), 'noise');
  await harness.startBroker();
  assert.equal(warnings().length, 1);
  assert.match(warnings()[0]!, /new name [0-9a-f]{16}\..*cursors that were given out before are refused/);
  await harness.agent('a', recorder);
  const refused = harness.subscribe({ ...FOLLOW, cursor });
  await refused.end();
  assert.match(refused.error?.details ?? '', /cursor is of another broker, or of this one before/);
  const history = harness.subscribe({ topics: ['process'], since: '1h' });
  await history.end();
  assert.deepEqual(history.pids, range(0, 10));
});

/** A subscriber that has seen pids 0 to 9 resumes, when pids 10 to 29 are in the log and some of their frames cannot be read. */
async function resumedOverDamage(evictedTo: number): Promise<{ subscriber: ReturnType<Harness['subscribe']> }> {
  const agent = await harness.agent('a');
  const first = harness.subscribe(FOLLOW);
  await first.isAccepted();
  const record = (pid: number) => {
    agent.recorder.record('process.exec', pid);
    agent.publish();
  };
  for (const pid of range(0, 10)) record(pid);
  await first.has(10);
  // From here on another one holds the interest.
  const other = harness.subscribe(FOLLOW);
  await other.isAccepted();
  const { cursor } = first;
  first.cancel();
  for (const pid of range(10, 30)) record(pid);
  await other.has(20);
  await harness.interestIsSaved();
  await harness.broker.abort();
  const partition = `partition-${partitionOf('a')}`;
  const segment = readdirSync(brokerFile('log', partition)).find((name) => name.endsWith('.log'))!;
  const path = brokerFile('log', partition, segment);
  const bytes = readFileSync(path);
  // The frames of pids about 15 to 20: in the middle of what is still to be read.
  const middle = Math.floor(bytes.length * 0.6);
  bytes.fill(0x5a, middle, middle + 400);
  writeFileSync(path, bytes);
  await harness.startBroker();
  const again = await harness.agent('a', agent.recorder);
  if (evictedTo > 0) again.evictedTo = agent.recorder.events[evictedTo]!.event.position;
  again.evicts = evictedTo > 0;
  const subscriber = harness.subscribe({ ...FOLLOW, cursor });
  await subscriber.isAccepted();
  again.recorder.record('process.exec', 30);
  again.publish();
  return { subscriber };
}

/**
 * Two subscribers that have seen pids 0 to 9, each in a frame of its own, and pids 0 to 4, come again when some of the log's
 * records cannot be read any more, and pid 10 is recorded.
 * @param damage gets the log's file and where its records begin: the last ten of them are the frames
 */
async function resumedBehindDamage(damage: (path: string, records: readonly number[]) => void) {
  const agent = await harness.agent('a');
  const first = harness.subscribe(FOLLOW);
  await first.isAccepted();
  for (const pid of range(0, 10)) {
    agent.recorder.record('process.exec', pid);
    agent.publish();
    await first.has(pid + 1);
  }
  await harness.interestIsSaved();
  await harness.broker.abort();
  const partition = brokerFile('log', `partition-${partitionOf('a')}`);
  const path = join(partition, readdirSync(partition).find((name) => name.endsWith('.log'))!);
  const bytes = readFileSync(path);
  const records: number[] = [];
  for (let at = bytes.indexOf(MARKER); at >= 0; at = bytes.indexOf(MARKER, at + 1)) records.push(at);
  damage(path, records);
  await harness.startBroker();
  const again = await harness.agent('a', agent.recorder);
  const half = first.cursors.find(({ count }) => count === 5)!;
  const [whole, later] = [first.cursor, half.cursor].map((cursor) => harness.subscribe({ ...FOLLOW, cursor }));
  await Promise.all([whole!.isAccepted(), later!.isAccepted()]);
  again.recorder.record('process.exec', 10);
  again.publish();
  await Promise.all([whole!.has(1), later!.has(6)]);
  again.recorder.record('process.exec', 11);
  again.publish();
  await Promise.all([whole!.has(2), later!.has(7)]);
  assert.deepEqual(whole!.pids, [10, 11]);
  assert.deepEqual(later!.pids, range(5, 12));
  return { whole: whole!, later: later! };
}

/** Noise in place of what the record holds. */
const noise = (path: string, records: readonly number[], at: number) => {
  const bytes = readFileSync(path);
  bytes.fill(0x5a, records.at(at)! + RECORD_HEADER_BYTES, records[records.length + at + 1] ?? bytes.length);
  writeFileSync(path, bytes);
};

test('where the last frame of the log cannot be read, who has had it gets no event twice, and others miss none', async () => {
  const { whole, later } = await resumedBehindDamage((path, records) => noise(path, records, -1));
  assert.deepEqual(whole.gaps, []);
  assertBounded(later.gaps);
});

test('where the last frames of the log are cut off, who has had them gets no event twice, and others miss none', async () => {
  const { whole, later } = await resumedBehindDamage((path, records) => truncateSync(path, records.at(-3)));
  assert.deepEqual(whole.gaps, []);
  assertBounded(later.gaps);
});

test('whose last frame cannot be read any more gets no event twice where other frames follow it in the log', async () => {
  const { whole, later } = await resumedBehindDamage((path, records) => noise(path, records, -6));
  assert.deepEqual([whole.gaps, later.gaps], [[], []]);
});

function assertBounded([gap, ...others]: ReturnType<Harness['subscribe']>['gaps']): void {
  assert.deepEqual(others, []);
  assert.deepEqual([gap?.node, gap?.topic, gap?.reason, gap?.eventsUnknown], ['a', 'process', 'damaged', true]);
  assert.ok(gap?.from && gap.to && BigInt(gap.from.timeNs) < BigInt(gap.to.timeNs));
}

test('unreadable frames of the log come from the recorder, in order, behind a gap of their node', async () => {
  const { subscriber } = await resumedOverDamage(0);
  await subscriber.has(21);
  assert.deepEqual(subscriber.pids, range(10, 31));
  assertBounded(subscriber.gaps);
});

test('events that neither log nor recorder has are a gap of their node, and its coverage states the loss', async () => {
  const { subscriber } = await resumedOverDamage(25);
  await until('the last event', () => subscriber.pids.includes(30));
  assertBounded(subscriber.gaps);
  const says = () => subscriber.responses.some(({ coverage }) => coverage?.nodes.some(({ evicted }) => evicted));
  await until('its coverage says so', () => says() || undefined);
  assert.deepEqual(new Set(subscriber.pids).size, subscriber.pids.length, 'nothing comes twice');
});

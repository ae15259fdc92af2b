/** Refills where the log has lost the frames that say what is owed: forgotten by retention, or damaged. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { partitionOf } from '../../../../src/broker/log/partition-log.js';
import { MiB } from '../../../../src/limits.js';
import { Harness, range, type Subscriber } from '../../../harness/broker/harness.js';
import { publish, REFILL, sorted } from '../../../harness/broker/refills.js';
import type { TestAgent } from '../../../harness/broker/test-agent.js';
import { until } from '../../../harness/until.js';

let harness: Harness;
before(async () => {
  harness = new Harness();
  harness.log = { bytesMax: MiB };
  await harness.startBroker();
});
after(() => harness.destroy());

/** A name of a node of this partition. */
function named(partition: number, letter: string): string {
  return range(0, 1_000)
    .map((at) => letter + at)
    .find((name) => partitionOf(name) === partition)!;
}

/** The oldest file of the node's partition. */
function fileOf(node: string): string {
  const dir = join(harness.dataDir, 'broker', 'log', `partition-${partitionOf(node)}`);
  const [oldest] = readdirSync(dir)
    .filter((name) => name.endsWith('.log'))
    .sort();
  return join(dir, oldest!);
}

async function isInLog(agent: TestAgent): Promise<void> {
  await until('it is in the log', () => agent.acknowledged.get('process')?.timeNs === agent.recorder.frontier.timeNs);
}

/** Where in the node's file it stands what is appended meanwhile: in the middle of it. */
async function appended(agent: TestAgent, node: string, append: () => void): Promise<number> {
  await isInLog(agent);
  const from = statSync(fileOf(node)).size;
  append();
  await isInLog(agent);
  return Math.floor((from + statSync(fileOf(node)).size) / 2);
}

/** Nothing behind it can be read any more, as long as the file is the newest. */
function damage(file: string, at: number): void {
  const opened = openSync(file, 'r+');
  writeSync(opened, Buffer.of(0x5a, 0xa5), 0, 2, at);
  closeSync(opened);
}

/** Until retention has taken the file. */
async function forget(file: string, noise: TestAgent, subscriber: Subscriber): Promise<void> {
  while (existsSync(file)) {
    publish(noise, range(1_000, 1_080), false, 'x'.repeat(3_000));
    await isInLog(noise);
  }
  await subscriber.until('all of the noise', () => {
    return subscriber.pids.filter((pid) => pid >= 1_000).length === noise.recorder.events.length;
  });
}

/** A frame is lost on the way; what is shed behind it comes with the history that is asked for it. */
function publishHole(agent: TestAgent): void {
  publish(agent, range(400, 401), false);
  publish(agent, range(401, 403), true);
  agent.loses = true;
  publish(agent, range(403, 405), false);
  agent.loses = false;
  publish(agent, range(405, 407), true);
  publish(agent, range(407, 408), false);
}

const lost = ({ gaps }: Subscriber) =>
  gaps
    .filter(({ reason }) => reason === 'evicted')
    .map(({ node, events, eventsUnknown }) => [node, eventsUnknown ? 'unknown' : Number(events)])
    .sort();

test('what a log lost of what is owed comes from recorders where that is all they have, and is told as lost else', async () => {
  const names = { a: named(0, 'a'), b: named(1, 'b'), c: named(2, 'c'), d: named(2, 'd'), e: named(3, 'e') };
  const { a, b, c, d, e } = names;
  const all = Object.values(names);
  const agents = new Map<string, TestAgent>();
  for (const name of all) agents.set(name, await harness.agent(name));
  const of = (node: string) => agents.get(node)!;
  const noise = await harness.agent(named(2, 'z'));
  const subscriber = harness.subscribe(REFILL);
  await subscriber.isAccepted();
  // Nothing is refilled as long as it can still be read what is owed.
  for (const node of [a, b, c, d]) of(node).answerWith = () => undefined;
  publish(of(a), range(0, 2), false);
  const inA = await appended(of(a), a, () => publish(of(a), range(2, 7), true));
  publish(of(a), range(7, 11), true);
  publish(of(b), range(100, 102), false);
  const inB = await appended(of(b), b, () => publish(of(b), range(102, 105), true));
  publish(of(b), range(105, 108), false);
  publish(of(b), range(108, 110), true);
  publish(of(c), range(200, 201), false);
  publish(of(c), range(201, 206), true);
  publish(of(d), range(300, 301), false);
  publish(of(d), range(301, 304), true);
  publish(of(d), range(304, 307), false);
  publishHole(of(e));
  const sent = [0, 1, 100, 101, 105, 106, 107, 200, 300, 304, 305, 306, 400, ...range(403, 408)];
  const owed = [...range(2, 11), ...range(102, 105), 108, 109, ...range(201, 206), ...range(301, 304), 401, 402];
  await subscriber.has(sent.length);
  for (const node of all) await isInLog(of(node));
  await subscriber.until('all that is shed', () => {
    const shed = subscriber.gaps.filter(({ reason }) => reason === 'shed');
    return shed.reduce((sum, { events }) => sum + Number(events), 0) === owed.length;
  });
  for (const node of [a, b, c, d]) of(node).kill();
  damage(fileOf(a), inA);
  damage(fileOf(b), inB);
  await forget(fileOf(c), noise, subscriber);
  const { cursor } = subscriber;
  const connected = [a, b, c, d].map((node) => harness.agent(node, of(node).recorder));
  for (const again of await Promise.all(connected)) await until('interest', () => again.topics.includes('process'));
  const gone = [...range(102, 105), 108, 109, ...range(301, 304)];
  const settled = () => subscriber.refilled.length + gone.length >= owed.length && lost(subscriber).length > 1;
  await until('all that is owed', settled, () => [subscriber.refilled.length, lost(subscriber)]);
  assert.deepEqual(
    sorted(subscriber.refilled),
    owed.filter((pid) => !gone.includes(pid)),
  );
  assert.deepEqual(lost(subscriber), [
    [b, 5],
    [d, 3],
  ]);
  const { shed, refilled, matched, delivered } = await harness.ledger();
  assert.deepEqual([shed, refilled, matched], [8, owed.length - 8, delivered! + 8]);
  const received = subscriber.pids.filter((pid) => pid < 1_000);
  assert.deepEqual(sorted(received), sorted([...sent, ...owed.filter((pid) => !gone.includes(pid))]));
  // Who resumes does not know how much it was, nor that nothing else was delivered.
  const resumed = harness.subscribe({ ...REFILL, cursor });
  await resumed.until('the gaps', () => lost(resumed).length >= 4);
  assert.deepEqual(
    lost(resumed),
    [a, b, c, d].map((node) => [node, 'unknown']),
  );
  assert.deepEqual(
    resumed.refilled.filter((pid) => pid < 400),
    [],
  );
});

/** A disk that is full or fails under a whole broker: nothing is acknowledged that is not kept, nobody is sent away. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { comparePositions } from '../../../src/wire/position.js';
import { Harness, range } from '../../harness/broker/harness.js';
import type { TestAgent } from '../../harness/broker/test-agent.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { until } from '../../harness/until.js';

let files: FaultyFiles;
let harness: Harness;
beforeEach(async () => {
  files = new FaultyFiles();
  harness = await Harness.start(files.ops);
});
afterEach(() => harness.destroy());

const FOLLOW = { topics: ['process'], follow: true };
const get = (path: string) => fetch(`http://${harness.broker.httpAddress}${path}`);
const metric = async (name: string) => {
  const text = await (await get('/metrics')).text();
  return Number(new RegExp(`^backplane_${name} (\\S+)$`, 'm').exec(text)?.[1]);
};
const said = (level: number) => harness.logged.filter((line) => line.level === level).map(({ msg }) => msg);

function acknowledgedAll({ acknowledged, recorder }: TestAgent): boolean {
  const to = acknowledged.get('process');
  return to !== undefined && comparePositions(to, recorder.frontier) === 0;
}

async function publishing(node: string) {
  const agent = await harness.agent(node);
  const subscriber = harness.subscribe(FOLLOW);
  await subscriber.isAccepted();
  publish(agent, 0, 10);
  await subscriber.has(10);
  await until('acknowledged', () => acknowledgedAll(agent));
  return { agent, subscriber };
}

function publish(agent: TestAgent, from: number, to: number): void {
  for (const pid of range(from, to)) {
    agent.recorder.record('process.exec', pid);
    agent.publish();
  }
}

test('on a full disk the session waits and the broker says so, and both go on when there is room', async () => {
  const { agent, subscriber } = await publishing('a');
  assert.equal((await get('/readyz')).status, 200);
  files.space = 0;
  publish(agent, 10, 60);
  await until('not ready', async () => (await get('/readyz')).status === 503);
  assert.match(await (await get('/readyz')).text(), /^no space for the log in .*: free some, or move the data\n$/);
  const status = (await (await get('/v1/status')).json()) as { logTrouble: string };
  assert.match(status.logTrouble, /^no space for the log/);
  assert.equal(await metric('log_refusing'), 1);
  assert.equal(await metric('held_frames'), 1, 'what is behind it is not read');
  const refused = files.refused;
  await until('tried again', () => files.refused > refused + 2);
  assert.equal(agent.ended, undefined);
  assert.equal(acknowledgedAll(agent), false);
  assert.equal(subscriber.pids.length, 10);
  assert.deepEqual(said(50), ['the log takes no frames: agents wait, unacknowledged, until it does']);
  files.space = Number.POSITIVE_INFINITY;
  await until('acknowledged', () => acknowledgedAll(agent));
  await subscriber.has(60);
  assert.deepEqual(subscriber.pids, range(0, 60));
  assert.equal(agent.ended, undefined);
  assert.equal((await get('/readyz')).status, 200);
  assert.deepEqual([await metric('log_refusing'), await metric('held_frames'), await metric('held_bytes')], [0, 0, 0]);
  assert.equal(said(50).length, 1);
  assert.deepEqual(said(30), ['the log takes frames again: agents are acknowledged']);
});

test('a session that ends drops its held frames, and a disk with room again is noticed without a new frame', async () => {
  const { agent, subscriber } = await publishing('a');
  files.space = 0;
  publish(agent, 10, 20);
  await until('held', async () => (await metric('held_frames')) === 1);
  agent.kill();
  await until('dropped', async () => (await metric('held_bytes')) === 0);
  assert.equal((await get('/readyz')).status, 503, 'the disk is still full');
  files.space = Number.POSITIVE_INFINITY;
  await until('over', async () => (await get('/readyz')).status === 200);
  const again = await harness.agent('a', agent.recorder);
  await until('interest', () => again.topics.includes('process'));
  again.publish();
  await subscriber.has(20);
  assert.deepEqual(subscriber.pids, range(0, 20));
});

test('a write that fails is tried again', async () => {
  const { agent, subscriber } = await publishing('a');
  files.failNext = { operation: 'writev', code: 'EIO' };
  publish(agent, 10, 30);
  await until('acknowledged', () => acknowledgedAll(agent));
  await subscriber.has(30);
  assert.deepEqual(subscriber.pids, range(0, 30));
  assert.equal(agent.ended, undefined);
  assert.deepEqual([said(50).length, said(30).length], [1, 1]);
});

test('after a failed sync nothing is acknowledged until a restart, and nothing is lost', async () => {
  const { agent, subscriber } = await publishing('a');
  files.failNext = { operation: 'sync', code: 'EIO' };
  publish(agent, 10, 11);
  await until('not ready', async () => (await get('/readyz')).status === 503);
  publish(agent, 11, 30);
  await until('held', async () => (await metric('held_frames')) === 1);
  assert.match(await (await get('/readyz')).text(), /^cannot sync the log in .*: EIO; check the disk and restart\n$/);
  assert.equal(agent.ended, undefined);
  assert.equal(agent.acknowledged.get('process')?.timeNs, agent.recorder.events[9]!.event.position.timeNs);
  assert.equal(said(50).length, 1);
  const { cursor } = subscriber;
  await harness.broker.abort();
  await harness.startBroker();
  const again = await harness.agent('a', agent.recorder);
  const resumed = harness.subscribe({ ...FOLLOW, cursor });
  await resumed.isAccepted();
  again.publish();
  await resumed.has(30 - subscriber.pids.length);
  assert.deepEqual([...subscriber.pids, ...resumed.pids], range(0, 30));
});

/** Nodes that are gone: listed, told apart by when they went, forgotten on request. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../../../src/client/client.js';
import { timestampNs } from '../../../src/subscriptions/timestamp.js';
import { valueToJson } from '../../../src/wire/event/event-json.js';
import type { SubscribeRequest } from '../../../src/wire/messages.js';
import { documentsOf } from '../../harness/broker/documents.js';
import { Harness, range, until } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { run } from '../../harness/bus/command.js';

let harness: Harness;
let client: Client;
beforeEach(async () => {
  harness = await Harness.start();
  client = new Client([harness.broker.grpcAddress]);
});
afterEach(async () => {
  client.close();
  await harness.destroy();
});

async function restart(): Promise<void> {
  await harness.broker.abort();
  await harness.startBroker();
  client.close();
  client = new Client([harness.broker.grpcAddress]);
}

async function listed(node: string) {
  return (await client.listNodes()).nodes.find(({ name }) => name === node);
}

/** Gone, as the broker sees it, for a millisecond at least. */
async function goes(agent: TestAgent): Promise<void> {
  agent.kill();
  while ((await listed(agent.node))?.state !== 'NODE_STATE_GONE') await sleep(5);
  await sleep(2);
}

/** What a replay says of each node. */
async function coverage(request: SubscribeRequest): Promise<Record<string, string>> {
  const subscriber = harness.subscribe({ topics: ['process'], ...request });
  await subscriber.end();
  assert.equal(subscriber.error, undefined);
  const nodes = subscriber.coverage!.nodes.map(({ node, gone, absent, lastSeen }) => {
    assert.equal(gone, lastSeen !== null);
    return [node, gone ? 'gone' : absent ? 'absent' : 'covered'];
  });
  return Object.fromEntries(nodes);
}

const now = () => new Date().toISOString();

test('a node that left before the window is listed as gone, and one that left within it as absent', async () => {
  await harness.agent('stays');
  const before = now();
  await goes(await harness.agent('went'));
  assert.deepEqual(await coverage({ since: now() }), { stays: 'covered', went: 'gone' });
  assert.deepEqual(await coverage({ since: before }), { stays: 'covered', went: 'absent' });
  assert.deepEqual(await coverage({ until: now() }), { stays: 'covered', went: 'absent' });
});

test('with last N, a node that left before the oldest of these events is gone, and otherwise absent', async () => {
  await goes(await harness.agent('went'));
  const recorder = new TestRecorder('recorder-stays', 1, BigInt(Date.now()) * 1_000_000n);
  for (const pid of range(0, 5)) recorder.record('process.exec', pid);
  await harness.agent('stays', recorder);
  assert.deepEqual(await coverage({ last: 5 }), { stays: 'covered', went: 'gone' });
  assert.deepEqual(await coverage({ last: 6 }), { stays: 'covered', went: 'absent' });
});

test('a follow reports nodes that left as a replay does', async () => {
  await harness.agent('stays');
  await goes(await harness.agent('went'));
  const subscriber = harness.subscribe({ topics: ['process'], since: now(), follow: true });
  await until('coverage', () => subscriber.coverage !== undefined);
  assert.deepEqual(
    subscriber.coverage!.nodes.map(({ node, gone }) => [node, gone]),
    [
      ['stays', false],
      ['went', true],
    ],
  );
});

test('a gone node stays listed with the time it was last seen, and replays name it after a broker restart too', async () => {
  const agent = await harness.agent('went');
  const beforeNs = BigInt(Date.now()) * 1_000_000n;
  await goes(agent);
  const seen = await listed('went');
  assert.ok(timestampNs(seen!.lastSeen!) >= beforeNs);
  await until('it is written down that it went', () => /"went"[^{}]*"connected":false/.test(savedState()));
  await restart();
  await harness.agent('stays');
  assert.deepEqual((await listed('went'))?.lastSeen, seen!.lastSeen);
  assert.equal((await listed('went'))?.state, 'NODE_STATE_GONE');
  assert.deepEqual(await coverage({ since: now() }), { stays: 'covered', went: 'gone' });
});

test('a node that was connected when the broker was killed may have recorded since, so it is absent', async () => {
  const agent = await harness.agent('perhaps');
  await until('it is written down', () => savedState().includes('perhaps'));
  await restart();
  agent.kill();
  const perhaps = await listed('perhaps');
  assert.equal(perhaps?.state, 'NODE_STATE_GONE');
  assert.ok(timestampNs(perhaps.lastSeen!) <= BigInt(Date.now()) * 1_000_000n);
  assert.deepEqual(await coverage({ since: now() }), { perhaps: 'absent' });
});

function savedState(): string {
  const file = join(harness.dataDir, 'broker/interest.json');
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

test('a forgotten node is neither listed nor named, even after a restart, and is audited; a connected one stays', async () => {
  await harness.agent('stays');
  const before = now();
  for (const name of ['fake-1', 'fake-2', 'fake-3']) await goes(await harness.agent(name));
  const forget = (...nodes: string[]) => run(['nodes', 'forget', '--broker', harness.broker.grpcAddress, ...nodes]);
  assert.deepEqual(await forget('fake-1'), { code: 0, out: 'fake-1\n', err: '' });
  assert.deepEqual((await client.forgetNodes(['*'])).nodes, ['fake-2', 'fake-3']);
  const overHttp = (method: string, name: string) =>
    fetch(`http://${harness.broker.httpAddress}/v1/nodes/${name}`, { method });
  await goes(await harness.agent('fake-4'));
  const answer = await overHttp('DELETE', 'fake-%2A');
  assert.deepEqual([answer.status, await answer.json()], [200, { nodes: ['fake-4'] }]);
  assert.equal((await overHttp('DELETE', 'fake-4')).status, 404);
  assert.equal((await overHttp('DELETE', 'stays')).status, 409);
  assert.deepEqual([(await overHttp('GET', 'stays')).status, (await overHttp('DELETE', '%ff')).status], [405, 400]);
  const refused = await forget('stays');
  assert.match(
    refused.err,
    /^backplane: stays is connected and would be listed again at once: stop its agent first\n$/,
  );
  assert.equal((await forget('fake-1')).err, 'backplane: no known node matches fake-1\n');
  assert.deepEqual(await coverage({ since: before }), { stays: 'covered' });
  await until('it is written down', () => !savedState().includes('fake'));
  await restart();
  assert.deepEqual(
    (await client.listNodes()).nodes.map(({ name }) => name),
    ['stays'],
  );
  const audit = harness.subscribe({
    topics: ['audit'],
    filter: 'audit.action == "forget_nodes" && audit.outcome == "done"',
    since: '1h',
  });
  await audit.end();
  const changes = documentsOf(audit).map(({ event }) => event.audit!);
  assert.deepEqual(
    changes.map(({ action, details }) => [action, (valueToJson(details!) as { nodes: unknown }).nodes]),
    [
      ['forget_nodes', ['fake-1']],
      ['forget_nodes', ['fake-2', 'fake-3']],
      ['forget_nodes', ['fake-4']],
    ],
  );
});

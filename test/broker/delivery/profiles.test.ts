/** Requests for events of profiles that nodes may or may not record. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { SubscribeRequest } from '../../../src/wire/messages.js';
import { Harness } from '../../harness/broker/harness.js';
import { type TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.destroy());

function agent(node: string, ...profiles: string[]): Promise<TestAgent> {
  return harness.agent(node, Object.assign(new TestRecorder(`recorder-${node}`), { profiles }));
}

async function refusal(request: SubscribeRequest): Promise<string> {
  const subscriber = harness.subscribe(request);
  await assert.rejects(subscriber.isAccepted(), { code: status.FAILED_PRECONDITION });
  return subscriber.error!.details;
}

test('a request that no asked node may record is refused in a sentence that names the setting', async () => {
  await agent('a', 'lite');
  await agent('b', 'lite', 'file');
  await agent('old');
  assert.equal(
    await refusal({ topics: ['security'], follow: true }),
    'this needs the profile security, which nodes a, b, old do not allow: ' +
      'set agent.profiles (BACKPLANE_AGENT_PROFILES) to lite,security there',
  );
  const filter = 'event.type in ["syscall.enter", "security.kill"] && syscall.arg0 == 1';
  assert.equal(
    await refusal({ filter, nodes: ['a'], since: '1h' }),
    'this needs the profile security or syscall, which node a does not allow: ' +
      'set agent.profiles (BACKPLANE_AGENT_PROFILES) to lite,security,syscall there',
  );
});

test("a filter on a field that only one profile's events have needs that profile", async () => {
  await agent('a', 'lite');
  assert.match(
    await refusal({ filter: 'file.path.startsWith("/etc/")', since: '1h' }),
    /^this needs the profile file,/,
  );
  assert.match(
    await refusal({ filter: 'syscall.arg0 == 1', follow: true }),
    /^this needs the profile security or syscall/,
  );
});

test('a filter that can also match events that every node records is not refused', async () => {
  await agent('a', 'lite');
  for (const request of [{}, { topics: ['process', 'security'] }, { filter: 'syscall.arg0 == 0' }]) {
    const subscriber = harness.subscribe({ ...request, follow: true });
    await subscriber.isAccepted();
    assert.ok(subscriber.accepted!.plan!.stages.every(({ text }) => !text.includes('agent.profiles')));
  }
});

test('a plan states the cost of a profile only where a node that is asked allows it', async () => {
  await agent('a', 'lite', 'file');
  await agent('b', 'lite', 'security', 'syscall');
  const subscriber = harness.subscribe({ nodes: ['a'], follow: true });
  await subscriber.isAccepted();
  const texts = subscriber.accepted!.plan!.stages.map(({ text }) => text);
  assert.ok(
    texts.includes('records nothing of the profiles security, syscall, udp: no node that is asked allows them'),
  );
  const costs = texts.filter((text) => text.includes('while this is asked for'));
  assert.ok(costs.length > 0);
  assert.ok(costs.every((text) => text.includes('(profile file)')));
});

test('a plan says what recording takes of what is watched, also where that is much', async () => {
  await agent('a', 'lite', 'security', 'udp');
  const subscriber = harness.subscribe({ topics: ['process', 'security', 'network'], follow: true });
  await subscriber.isAccepted();
  const texts = subscriber.accepted!.plan!.stages.map(({ text }) => text);
  const always = texts.find((text) => text.includes('as on every node'))!;
  assert.match(
    always,
    /: ordinary work is slowed little, by up to a fifth what does nothing but start programs or open/,
  );
  const modules = texts.filter((text) => text.includes('module/module_'));
  assert.deepEqual([modules.length, modules.filter((text) => text.endsWith('seldom loaded')).length], [2, 2]);
  assert.deepEqual(
    texts.filter((text) => text.startsWith('network.dns.query does not see all')),
    [
      'network.dns.query does not see all: there are none where the kernel has no kprobes ("doctor" says so); of ' +
        'questions asked of DNS only those in datagrams to port 53 are seen, not those by TCP, TLS or HTTPS',
    ],
  );
});

test('a plan says what a node cannot see of the types that are asked for, and of which nodes', async () => {
  for (const node of ['a', 'b', 'c']) {
    const said =
      node === 'c'
        ? {}
        : { 'file.unlink': 'its paths are not known: x', 'file.open': node, 'process.user': 'that of the start: y' };
    (await agent(node, 'lite', 'file')).say({ report: { blindSpots: said } });
  }
  const listed = async () => (await fetch(`http://${harness.broker.httpAddress}/v1/nodes`)).text();
  await until('their reports', async () => (await listed()).split('its paths are not known').length === 3);
  const subscriber = harness.subscribe({ filter: 'event.type == "file.unlink"', follow: true });
  await subscriber.isAccepted();
  const texts = subscriber.accepted!.plan!.stages.map(({ text }) => text);
  assert.deepEqual(
    texts.filter((text) => text.includes(' on a')),
    ['file.unlink on a, b: its paths are not known: x'],
  );
  assert.ok(texts.every((text) => !text.startsWith('file.open') && !text.startsWith('process.user on')));
  const named = harness.subscribe({ filter: 'event.type == "file.unlink" && process.user.id == 0', follow: true });
  await named.isAccepted();
  const ofUsers = named
    .accepted!.plan!.stages.map(({ text }) => text)
    .filter((text) => text.startsWith('process.user on'));
  assert.deepEqual(ofUsers, ['process.user on a, b: that of the start: y']);
});

test('a plan names the nodes that may not record a profile, and with no node connected nothing is refused', async () => {
  const early = harness.subscribe({ topics: ['security'], follow: true });
  await early.isAccepted();
  const allowing = await agent('a', 'lite', 'security');
  await agent('b', 'lite');
  const subscriber = harness.subscribe({ topics: ['security'], follow: true });
  await subscriber.isAccepted();
  assert.deepEqual(allowing.topics, ['security']);
  const texts = subscriber.accepted!.plan!.stages.map(({ text }) => text);
  assert.ok(texts.some((text) => text.startsWith('this needs the profile security, which node b does not allow')));
});

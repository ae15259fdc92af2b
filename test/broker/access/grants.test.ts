/** What is granted: nodes, topics, filters, and how many at once; lists show no more. */
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { hideDirectory, publicText } from '../../../src/text/public-text.js';
import {
  type GetStatusResponse__Output,
  getStatusResponseCodec,
  type ListNodesResponse__Output,
  listNodesResponseCodec,
  type SubscribeRequest,
} from '../../../src/wire/messages.js';
import {
  bearer,
  budget,
  EXHAUSTED,
  events,
  explain,
  GuardedBroker,
  NODES,
  TOPICS,
} from '../../harness/access/guarded-broker.js';
import { until } from '../../harness/until.js';

let guarded: GuardedBroker;
before(async () => {
  guarded = await GuardedBroker.start();
});
after(() => guarded.destroy());

test('nothing named, or globs: what is granted, and the plan says so', async () => {
  assert.deepEqual(await guarded.replayed({ limit: '100' }, guarded.as('alice')), ['prod-1:10', 'prod-1:11']);
  assert.deepEqual(await guarded.replayed({ nodes: ['*-1'], limit: '100' }, guarded.as('alice')), [
    'prod-1:10',
    'prod-1:11',
  ]);
  assert.deepEqual(await guarded.replayed({ nodes: ['test-*'], limit: '100' }, guarded.as('alice')), []);
  assert.deepEqual(await guarded.replayed({ last: 1 }, guarded.as('alice')), ['prod-1:11']);
  // A filter cannot end the parentheses in which it stands.
  assert.deepEqual(await guarded.replayed({ filter: 'true || true', limit: '9' }, guarded.as('alice')), [
    'prod-1:10',
    'prod-1:11',
  ]);
  const { body } = await guarded.overHttp(explain({ nodes: ['*-1'] }).http, guarded.as('alice'));
  const { plan, nodes } = JSON.parse(body) as {
    plan: { filter: string; topics: string[]; stages: { text: string }[] };
    nodes: string[];
  };
  assert.deepEqual([plan.topics, nodes], [['process', 'security'], ['prod-1']]);
  assert.match(
    plan.stages[0]!.text,
    /^role triage grants of all topics process, security; nodes \*-1, within prod-\*, without prod-secret; only events that match .*666.*; nothing from before 20/,
  );
  const own24 = await guarded.replayed({ limit: '100', topics: ['process'] }, bearer(guarded.own));
  assert.equal(own24.length, 11, 'the holder of the broker’s token sees everything');
});

test('a histogram counts what is granted, and is refused as a replay is', async () => {
  const ask = (subscription: SubscribeRequest) => ['POST', '/v1/histogram', { subscription }] as const;
  const { body } = await guarded.overHttp(ask({ since: '50m' }), guarded.as('alice'));
  const { series } = JSON.parse(body) as { series: { topic: string; counts: number[] }[] };
  assert.deepEqual(
    series.map(({ topic, counts }) => [topic, counts.reduce((sum, count) => sum + count, 0)]),
    [['process', 2]],
  );
  const beyond = await guarded.overHttp(ask({ since: '2h' }), guarded.as('alice'));
  assert.equal(beyond.status, 403);
});

test('lists show the nodes and topics that are granted', async () => {
  const listed = async (who: readonly string[]) => {
    const { messages } = await guarded.grpc.call('/backplane.v1.Backplane/ListNodes', who[0], Buffer.alloc(0));
    const decoded = listNodesResponseCodec.decode(messages[0]!, 100_000) as ListNodesResponse__Output;
    const byGrpc = decoded.nodes.map(({ name }) => name);
    const { body } = await guarded.overHttp(NODES.http, who);
    const byHttp = (JSON.parse(body) as { nodes: { name: string }[] }).nodes.map(({ name }) => name);
    assert.deepEqual(byHttp, byGrpc);
    return byGrpc;
  };
  assert.deepEqual(await listed(guarded.as('alice')), ['prod-1', 'prod-old']);
  assert.deepEqual(await listed(guarded.as('viewer')), ['test-1']);
  assert.equal((await listed(bearer(guarded.own))).length, 4);
  const topics = JSON.parse((await guarded.overHttp(TOPICS.http, guarded.as('alice'))).body) as {
    topics: { name: string }[];
  };
  assert.deepEqual(topics.topics.map(({ name }) => name).sort(), ['process', 'security']);
  const budgets = JSON.parse((await guarded.overHttp(['GET', '/v1/budgets'], guarded.as('viewer'))).body) as {
    budgets: { node: string }[];
  };
  assert.deepEqual(
    budgets.budgets.map(({ node }) => node),
    ['test-1'],
  );
  const { messages } = await guarded.grpc.call(
    '/backplane.v1.Backplane/GetStatus',
    guarded.as('viewer')[0],
    Buffer.alloc(0),
  );
  const seen = getStatusResponseCodec.decode(messages[0]!, 10_000) as GetStatusResponse__Output;
  assert.deepEqual([seen.nodes, seen.dataDir], [1, '']);
});

test('where the broker keeps its data is told to who manages it', async () => {
  const dataDirFor = async (who: readonly string[]) => {
    const { body } = await guarded.overHttp(['GET', '/v1/status'], who);
    return (JSON.parse(body) as { dataDir: string }).dataDir;
  };
  assert.equal(await dataDirFor(guarded.as('viewer')), '');
  for (const who of [guarded.as('op-1'), bearer(guarded.own)])
    assert.equal(await dataDirFor(who), guarded.harness.dataDir);
  const tokenFile = join(guarded.harness.dataDir, 'token');
  const troubleFor = async (who: readonly string[]) => {
    const { body } = await guarded.overHttp(['GET', '/v1/status'], who);
    return (JSON.parse(body) as { logTrouble: string }).logTrouble;
  };
  renameSync(tokenFile, `${tokenFile}.away`);
  await until('the trouble', async () => (await troubleFor(guarded.as('viewer'))) !== '');
  assert.match(await troubleFor(guarded.as('viewer')), /^token file DATA_DIR\/token was removed/);
  assert.ok((await troubleFor(guarded.as('op-1'))).startsWith(`token file ${tokenFile} was removed`));
  renameSync(`${tokenFile}.away`, tokenFile);
  const garbage = await guarded.grpc.call(
    '/backplane.v1.Backplane/SetBudget',
    guarded.as('viewer')[0],
    Buffer.from('no message'),
  );
  assert.deepEqual([garbage.status, garbage.code], [7, 'permission_denied'], 'who may not learns nothing of a message');
});

test('the directories of brokers are hidden, also one within another, and none that only begins so', () => {
  const ends = [hideDirectory('/d/a', 'A'), hideDirectory('/d/a/b', 'B')];
  assert.equal(publicText('/d/a/x, /d/a/b/y, "/d/a". /d/a2, /d/a-agent'), 'A/x, B/y, "A". /d/a2, /d/a-agent');
  for (const end of ends) end();
  assert.equal(publicText('/d/a/b'), '/d/a/b');
});

test('who manages some nodes changes those, also where a glob names more', async () => {
  const { status, body } = await guarded.overHttp(budget('*').http, guarded.as('op-1'));
  assert.deepEqual([status, (JSON.parse(body) as { nodes: string[] }).nodes], [200, ['test-1']]);
});

test('who sees not everything sees only the own subscriptions', async () => {
  const alice = guarded.harness.subscribe({ follow: true, client: 'of alice' }, guarded.identities.token('alice'));
  const mine = guarded.harness.subscribe({ follow: true, client: 'of the owner' }, guarded.own);
  await alice.isAccepted();
  await mine.isAccepted();
  const clients = async (who: readonly string[]) => {
    const { body } = await guarded.overHttp(['GET', '/v1/subscriptions'], who);
    return (JSON.parse(body) as { subscriptions: { client: string }[] }).subscriptions
      .map(({ client }) => client)
      .sort();
  };
  const audit = { topics: ['audit'], follow: true, client: 'of the audit' };
  const auditor = guarded.harness.subscribe(audit, guarded.own);
  await auditor.isAccepted();
  assert.deepEqual(await clients(guarded.as('alice')), ['of alice']);
  // All of the kernel is not what is born in the broker.
  assert.deepEqual(await clients(guarded.as('overseer')), ['of alice', 'of the owner']);
  auditor.cancel();
  await until('its end', async () => (await clients(bearer(guarded.own))).length === 2);
  assert.deepEqual(await clients(bearer(guarded.own)), ['of alice', 'of the owner']);
  alice.cancel();
  mine.cancel();
});

test('an identity runs as many subscriptions as its role says', async () => {
  const free = async () => {
    const { body } = await guarded.overHttp(['GET', '/v1/subscriptions'], bearer(guarded.own));
    return (JSON.parse(body) as { subscriptions: object[] }).subscriptions.length === 0;
  };
  await until('the end of earlier ones', free);
  const first = guarded.harness.subscribe({ follow: true, last: 1 }, guarded.identities.token('alice'));
  await first.isAccepted();
  await guarded.refused(
    events({ last: 1 }),
    guarded.as('alice'),
    EXHAUSTED,
    /at most 1 subscriptions that read the past at once$/,
  );
  const second = guarded.harness.subscribe({ follow: true }, guarded.identities.token('alice'));
  await second.isAccepted();
  await guarded.refused(
    events({ follow: true }),
    guarded.as('alice'),
    EXHAUSTED,
    /may run at most 2 subscriptions at once$/,
  );
  first.cancel();
  second.cancel();
  await until('the end', free);
});

/** What roles grant of groups: by their names, and to members only as a whole. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sliceOf } from '../../../src/broker/groups/slice.js';
import { GROUP_SLICES_DEFAULT } from '../../../src/limits.js';
import { createGroupsClient } from '../../../src/wire/grpc/rpc.js';
import { type SubscribeRequest, timestampToNs } from '../../../src/wire/messages.js';
import { Identities } from '../../harness/access/identities.js';
import { auditEntries } from '../../harness/broker/documents.js';
import { GrpcCaller } from '../../harness/broker/grpc-call.js';
import { Harness, type Subscriber } from '../../harness/broker/harness.js';
import { credentialIn } from '../../harness/bus/token.js';
import { until } from '../../harness/until.js';

const VERBS = 'verbs: [subscribe, groups]';
const ROLES = `
roles:
  any: { ${VERBS} }
  prod: { ${VERBS}, groups: ["prod-*"], nodes: ["prod-*"], deny: { nodes: [prod-secret] } }
  process: { ${VERBS}, topics: [process], filter: process.pid != 666 }
  shallow: { verbs: [subscribe, history, groups], history: 1h }
  alone: { verbs: [subscribe] }
bindings:
${['any', 'prod', 'process', 'shallow', 'alone'].map((name) => `  - { role: ${name}, identities: [${name}] }\n`).join('')}`;
const identities = new Identities(ROLES, ['any', 'prod', 'process', 'shallow', 'alone']);
const harness = new Harness();

before(async () => {
  harness.wantsToken = true;
  harness.access = identities.files;
  await harness.startBroker();
});
after(() => harness.destroy());

const tokenOf = (name: string) =>
  name === 'local' ? credentialIn(harness.dataDir)(harness.broker.grpcAddress)?.token : identities.token(name);

/** Resolves when the member is accepted, or with why it is not. */
async function joins(who: string, group: string, request: SubscribeRequest = {}): Promise<[Subscriber, string]> {
  const member = harness.subscribe({ follow: true, ...request, group: { name: group } }, tokenOf(who));
  await until('an answer', () => member.error !== undefined || member.responses.length > 0);
  return [member, member.error?.details ?? 'accepted'];
}

async function made(who: string, group: string, request: SubscribeRequest): Promise<void> {
  const [member, answer] = await joins(who, group, request);
  assert.equal(answer, 'accepted');
  member.cancel();
}

async function overHttp(who: string, method: string, path: string, body?: object) {
  const response = await fetch(`http://${harness.broker.httpAddress}/v1/groups${path}`, {
    method,
    headers: { authorization: `Bearer ${tokenOf(who)}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, json: (await response.json()) as { groups?: { name: string }[]; code?: string } };
}

test('a member has the whole group, or is refused', async () => {
  await made('local', 'prod-named', { topics: ['process'], nodes: ['prod-1', 'prod-2'] });
  await made('local', 'prod-globbed', { topics: ['process'], nodes: ['prod-*'] });
  await made('local', 'all', { topics: ['process', 'network'], filter: 'true' });
  await made('local', 'without', { topics: ['process'], filter: 'process.pid > 1 && 666 != process.pid' });
  await made('local', 'since', { topics: ['process'], since: '2h' });
  for (const [who, group, answer] of [
    ['any', 'all', /^accepted$/],
    ['any', 'since', /no role grants it the verb "history"/],
    ['prod', 'prod-named', /^accepted$/],
    // Of these one is denied.
    ['prod', 'prod-globbed', /may not use the group "prod-globbed": it has nodes beyond those that are granted/],
    ['prod', 'all', /may not use the group "all"$/],
    ['process', 'without', /^accepted$/],
    ['process', 'all', /may not use the topic "network"$/],
    ['process', 'prod-globbed', /it has events that do not match .*666/],
    ['shallow', 'all', /^accepted$/],
    ['shallow', 'since', /may go back 1h/],
    ['alone', 'all', /no role grants it the verb "groups"$/],
  ] as const) {
    const [member, got] = await joins(who, group);
    assert.match(got, answer, `${who} ${group}`);
    member.cancel();
  }
  const [stated, answer] = await joins('prod', 'prod-named', { topics: ['process'], nodes: ['prod-1', 'prod-2'] });
  assert.equal(answer, 'accepted', 'who says what the group has is not told of its own bounds');
  stated.cancel();
});

test('a group that a bounded member makes has its bounds, also over a restart', async () => {
  await made('prod', 'prod-own', { topics: ['process'] });
  await made('process', 'own', { filter: 'process.pid > 5' });
  await harness.broker.drain();
  await harness.startBroker();
  const { json } = await overHttp('local', 'GET', '');
  const own = json.groups?.find(({ name }) => name === 'prod-own') as unknown as { nodes: string[]; owner: string };
  assert.deepEqual([own.nodes, own.owner], [['&prod-*', '!prod-secret'], 'prod']);
  for (const [who, group] of [
    ['prod', 'prod-own'],
    ['process', 'own'],
  ] as const) {
    const [member, answer] = await joins(who, group);
    assert.equal(answer, 'accepted');
    member.cancel();
  }
});

test('groups of others are neither listed, shown, committed, reset, filtered nor deleted', async () => {
  const { status, json } = await overHttp('prod', 'GET', '');
  assert.deepEqual([status, json.groups?.map(({ name }) => name)], [200, ['prod-globbed', 'prod-named', 'prod-own']]);
  assert.equal((await overHttp('alone', 'GET', '')).status, 403);
  const slices = [{ slice: 0, epoch: '1', cursor: 'x' }];
  for (const [method, path, body] of [
    ['GET', '/all'],
    ['POST', '/all/commit', { slices }],
    ['POST', '/all/reset', { to: 'now' }],
    ['POST', '/all/filter', { filter: 'true' }],
    ['DELETE', '/all'],
  ] as const) {
    const refused = await overHttp('prod', method, path, body);
    assert.deepEqual([refused.status, refused.json.code], [403, 'permission_denied'], path);
  }
  const wider = await overHttp('process', 'POST', '/without/filter', { filter: 'process.pid > 1' });
  assert.equal(wider.status, 403, 'nobody lets a group have more than their own role');
  const client = createGroupsClient(harness.broker.grpcAddress, tokenOf('prod'));
  const caller = new GrpcCaller(harness.broker.grpcAddress);
  const token = `Bearer ${tokenOf('alone')}`;
  const garbage = await caller.call('/backplane.v1.Groups/Commit', token, Buffer.from('no message'));
  caller.close();
  assert.equal(garbage.code, 'permission_denied', 'who may not learns nothing of a message');
  for (const ask of [
    (done: (error: unknown) => void) => client.getGroup({ group: 'all' }, done),
    (done: (error: unknown) => void) => client.commit({ group: 'all', slices }, done),
    (done: (error: unknown) => void) => client.deleteGroup({ group: 'all' }, done),
  ]) {
    const error = await new Promise<unknown>((resolve) => ask(resolve));
    assert.equal((error as { code: number }).code, 7);
  }
  client.close();
  assert.equal((await overHttp('prod', 'POST', '/prod-own/reset', { to: 'now' })).status, 200);
  const entries = await auditEntries(harness, tokenOf('local'));
  const [entry] = entries.filter(({ action }) => action === 'reset_group');
  assert.deepEqual([entry?.identity, entry?.kind, entry?.group], ['prod', 'token', 'prod-own']);
  const joined = entries.filter(({ action, outcome }) => action === 'subscribe' && outcome === 'done');
  assert.ok(joined.some(({ identity, group }) => identity === 'prod' && group === 'prod-named'));
  assert.ok(
    !joined.some(({ identity, group }) => identity === 'prod' && group === 'all'),
    'who was refused read nothing',
  );
  const [filtered] = joined.filter(({ identity, group }) => identity === 'any' && group === 'all');
  assert.deepEqual([filtered?.topics, filtered?.filters], [['network', 'process'], ['true']], 'what the group has');
});

test('a member that joins while its group is reset gets no past that it may not have', async () => {
  for (let round = 0; round < 8; round += 1) {
    const group = `raced-${round}`;
    await made('local', group, { topics: ['process'] });
    await until('it to be alone', () => isAlone(group));
    const reset = overHttp('any', 'POST', `/${group}/reset`, { to: 'oldest' });
    const [member] = await joins('any', group);
    if ((await reset).status === 200) await until('it to be refused', () => member.error !== undefined);
    member.cancel();
  }
});

async function isAlone(group: string): Promise<boolean> {
  const { json } = await overHttp('local', 'GET', `/${group}`);
  return ((json as { group?: { members?: unknown[] } }).group?.members?.length ?? 0) === 0;
}

test('recorders are asked for nothing older than a member may have, and it is on record how much it got', async () => {
  const agent = await harness.agent('n');
  const request = { topics: ['process'], since: '10m' };
  const [first] = await joins('shallow', 'deep', request);
  // In a cursor of the past there is no place for recorders to begin behind.
  const own = sliceOf('n', GROUP_SLICES_DEFAULT);
  await first.until('the seam', () => first.responses.some(({ coverage }) => coverage?.slice === own));
  agent.recorder.record('process.exec', 1);
  agent.publish();
  await first.has(1);
  const { slice, cursor } = first.responses.findLast(({ events }) => events)!.events!;
  const assigned = first.responses.findLast(({ group }) => group?.assigned?.slice === slice)!.group!.assigned!;
  const slices = [{ slice, epoch: assigned.epoch, cursor }];
  assert.equal((await overHttp('shallow', 'POST', '/deep/commit', { slices })).status, 200);
  // The new filter holds from later on than the place in the cursor: what lies between comes from the recorder.
  assert.equal((await overHttp('local', 'POST', '/deep/filter', { filter: 'process.pid > 0' })).status, 200);
  agent.recorder.record('process.exec', 2);
  const asked = agent.historyQueries;
  const [again] = await joins('shallow', 'deep');
  await again.has(1);
  assert.ok(agent.historyQueries > asked);
  const floorNs = BigInt(Date.now() - 3_600_000) * 1_000_000n;
  const sinceNs = timestampToNs('since', agent.lastQuery!.since!);
  assert.ok(agent.lastQuery!.after && sinceNs <= floorNs && sinceNs > floorNs - 600_000_000_000n);
  const id = again.accepted?.subscriptionId;
  again.cancel();
  const entry = await until('the entry', async () => {
    const entries = await auditEntries(harness, tokenOf('local'));
    return entries.find(({ action, subscription }) => action === 'history' && subscription === id);
  });
  assert.deepEqual([entry.group, entry.identity, entry.events, Number(entry.bytes) > 0], ['deep', 'shallow', 1, true]);
});

test('a member whose role no longer grants the group is ended', async () => {
  const [member] = await joins('any', 'all');
  identities.write(ROLES.replace('any: { verbs: [subscribe, groups] }', 'any: { verbs: [subscribe] }'));
  await until('its end', () => member.error !== undefined);
  assert.match(member.error!.details, /no role grants it the verb "groups"/);
});

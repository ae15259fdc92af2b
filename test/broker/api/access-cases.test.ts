/**
 * The cases of who may do what, each with its exact answer, over gRPC and over HTTP: one table for both. Whatever one
 * transport refuses, the other refuses with the same code and the same sentence.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CursorState, decodeCursor, encodeCursor } from '../../../src/wire/cursor.js';
import {
  explainRequestCodec,
  forgetNodesRequestCodec,
  type GetStatusResponse__Output,
  getStatusResponseCodec,
  type ListNodesResponse__Output,
  listNodesResponseCodec,
  type SubscribeRequest,
  setBudgetRequestCodec,
  subscribeRequestCodec,
} from '../../../src/wire/messages.js';
import { GrpcCaller } from '../../harness/broker/grpc-call.js';
import { Harness } from '../../harness/broker/harness.js';
import { Identities } from '../../harness/broker/identities.js';
import { RawHttp2 } from '../../harness/broker/raw-http2.js';
import { TestAgent, TestRecorder } from '../../harness/broker/test-agent.js';
import { until } from '../../harness/until.js';

const ROLES = `
roles:
  triage:
    verbs: [view, subscribe, history]
    topics: [process, security]
    nodes: ["prod-*"]
    history: 1h
    filter: process.pid != 666
    budgets: { streams: 2, queries: 1 }
    deny: { nodes: [prod-secret] }
  live: { verbs: [subscribe] }
  viewer: { verbs: [view], nodes: [test-1] }
  operator: { verbs: [manage, view], nodes: ["test-*"] }
  slow: { verbs: [view], budgets: { rate: 1 } }
  edge: { verbs: [uplink], nodes: ["edge-*"], deny: { nodes: [edge-9] } }
  two: { verbs: [view, history], topics: [network] }
  no-network: { deny: { topics: [network] } }
  barred: { deny: { verbs: [view] } }
bindings:
  - { role: triage, identities: [alice] }
  - { role: live, identities: [live] }
  - { role: viewer, identities: [viewer, barred] }
  - { role: operator, identities: ["op-*"] }
  - { role: slow, identities: [slow] }
  - { role: edge, identities: [edge] }
  - { role: two, identities: [two] }
  - { role: two, identities: [denied] }
  - { role: no-network, identities: [denied] }
  - { role: barred, identities: [barred] }
`;
const NAMES = ['alice', 'live', 'viewer', 'op-1', 'slow', 'edge', 'two', 'denied', 'barred', 'nobody'];

const identities = new Identities(ROLES, NAMES);
const harness = new Harness();
let grpc: GrpcCaller;
let expired: string;

before(async () => {
  harness.wantsToken = true;
  harness.access = identities.files;
  expired = identities.issue('expired', 1);
  await sleep(2);
  await harness.startBroker();
  grpc = new GrpcCaller(harness.broker.grpcAddress);
  const longAgo = new TestRecorder('r-old', 1, BigInt(Date.now() - 7_200_000) * 1_000_000n);
  for (const pid of [1, 2]) longAgo.record('process.exec', pid);
  await harness.agent('prod-old', longAgo);
  for (const [node, first] of [
    ['prod-1', 10],
    ['prod-secret', 20],
    ['test-1', 30],
  ] as const) {
    const recorder = new TestRecorder(`r-${node}`);
    for (const pid of [first, first + 1, 666]) recorder.record('process.exec', pid);
    recorder.record('network.tcp.connect', first + 5);
    await harness.agent(node, recorder);
  }
});
after(async () => {
  grpc.close();
  await harness.destroy();
});

const own = () => readFileSync(join(harness.dataDir, 'token'), 'utf8').trim();

interface Told {
  /** gRPC's status, HTTP's, and the broker's code. */
  readonly grpc: number;
  readonly http: number;
  readonly code: string;
}
const UNAUTHENTICATED: Told = { grpc: 16, http: 401, code: 'unauthenticated' };
const DENIED: Told = { grpc: 7, http: 403, code: 'permission_denied' };
const EXHAUSTED: Told = { grpc: 8, http: 429, code: 'resource_exhausted' };

interface Ask {
  readonly method: string;
  readonly message: Buffer;
  readonly http: readonly [method: string, path: string, body?: object];
}

const NODES: Ask = { method: 'ListNodes', message: Buffer.alloc(0), http: ['GET', '/v1/nodes'] };
const TOPICS: Ask = { method: 'ListTopics', message: Buffer.alloc(0), http: ['GET', '/v1/topics'] };
const events = (request: SubscribeRequest): Ask => {
  return { method: 'Subscribe', message: subscribeRequestCodec.encode(request), http: ['POST', '/v1/events', request] };
};
const explain = (subscription: SubscribeRequest): Ask => {
  const message = explainRequestCodec.encode({ subscription });
  return { method: 'Explain', message, http: ['POST', '/v1/explain', { subscription }] };
};
const budget = (...nodes: string[]): Ask => {
  const request = { nodes, budget: { liveEventsPerSecond: '100' } };
  return { method: 'SetBudget', message: setBudgetRequestCodec.encode(request), http: ['PUT', '/v1/budgets', request] };
};
const forget = (node: string): Ask => {
  const message = forgetNodesRequestCodec.encode({ nodes: [node] });
  return { method: 'ForgetNodes', message, http: ['DELETE', `/v1/nodes/${node}`] };
};

async function overHttp([method, path, body]: Ask['http'], authorization: readonly string[]) {
  const headers = { ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
  return new Promise<{ status: number; body: string }>((resolve, reject) => {
    const request = httpRequest(`http://${harness.broker.httpAddress}${path}`, { method, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        text += piece;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    request.on('error', reject);
    if (authorization.length > 0) request.setHeader('authorization', [...authorization] as never);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function refused(ask: Ask, authorization: readonly string[], told: Told, message: RegExp): Promise<void> {
  if (authorization.length > 1) await refusedByHand(ask, authorization);
  else {
    const byGrpc = await grpc.call(`/backplane.v1.Backplane/${ask.method}`, authorization[0], ask.message);
    assert.deepEqual([byGrpc.status, byGrpc.code], [told.grpc, told.code], byGrpc.message);
    assert.match(byGrpc.message, message);
    assert.equal(byGrpc.messages.length, 0, 'nothing is told before the refusal');
  }
  const byHttp = await overHttp(ask.http, authorization);
  const problem = JSON.parse(byHttp.body) as { status: number; code: string; detail: string };
  assert.deepEqual([byHttp.status, problem.status, problem.code], [told.http, told.http, told.code], byHttp.body);
  assert.match(problem.detail, message);
}

/** Node sends no header twice. Who is let in would be waited for, as no message comes. */
async function refusedByHand({ method }: Ask, authorization: readonly string[]): Promise<void> {
  const raw = await RawHttp2.connect(harness.broker.grpcAddress);
  const headers = authorization.map((value) => ['authorization', value] as const);
  raw.request(1, `/backplane.v1.Backplane/${method}`, headers);
  await until('the refusal', () => raw.ended.has(1));
  raw.destroy();
}

const bearer = (token: string) => [`Bearer ${token}`];

/** Each: what, who, what is asked, what is answered. */
const CASES: readonly (readonly [what: string, who: () => readonly string[], ask: Ask, told: Told, message: RegExp])[] =
  [
    ['no credential', () => [], NODES, UNAUTHENTICATED, /^no token came/],
    ['a wrong one', () => bearer('A'.repeat(43)), NODES, UNAUTHENTICATED, /^another token came/],
    ['an issued one with another secret', () => bearer(other('alice')), NODES, UNAUTHENTICATED, /^another token came/],
    ['an expired one', () => bearer(expired), NODES, UNAUTHENTICATED, /^the token has expired/],
    ['an oversized one', () => bearer('A'.repeat(10_000)), NODES, UNAUTHENTICATED, /^what came is too long/],
    ['one twice', () => [...bearer(own()), ...bearer(own())], NODES, UNAUTHENTICATED, /^more than one credential/],
    ['two of two', () => [...bearer(own()), ...as('alice')], NODES, UNAUTHENTICATED, /^more than one credential/],
    ['an identity without a role', () => as('nobody'), NODES, DENIED, /^token "nobody" may not view: no role is bound/],
    ['a verb that is not granted', () => as('live'), NODES, DENIED, /^token "live" may not view$/],
    ['a verb that another role denies', () => as('barred'), NODES, DENIED, /^token "barred" may not view$/],
    ['subscribing without the verb', () => as('viewer'), events({ follow: true }), DENIED, /may not subscribe$/],
    ['the past without the verb', () => as('live'), events({ last: 5 }), DENIED, /may not history$/],
    ['an agent that subscribes', () => as('edge'), events({ follow: true }), DENIED, /may not subscribe$/],
    [
      'a topic',
      () => as('alice'),
      events({ topics: ['network'], last: 1 }),
      DENIED,
      /may not use the topic "network"$/,
    ],
    ['a topic that another role denies', () => as('denied'), events({ last: 1 }), DENIED, /may use no topic$/],
    [
      'a named node',
      () => as('alice'),
      events({ nodes: ['test-1'], last: 1 }),
      DENIED,
      /may not use the node "test-1"$/,
    ],
    ['a named node beside a glob', () => as('alice'), explain({ nodes: ['prod-*', 'x'] }), DENIED, /the node "x"$/],
    [
      'a denied node',
      () => as('alice'),
      events({ nodes: ['prod-secret'], last: 1 }),
      DENIED,
      /the node "prod-secret"$/,
    ],
    [
      'since beyond the depth',
      () => as('alice'),
      events({ since: '2h' }),
      DENIED,
      /may go back 1h: since must be at the earliest 20\d\d-/,
    ],
    ['until beyond the depth', () => as('alice'), events({ until: '2h' }), DENIED, /until must be at the earliest 20/],
    ['explaining beyond the depth', () => as('alice'), explain({ since: '2h' }), DENIED, /at the earliest 20/],
    ['managing without the verb', () => as('alice'), budget('prod-1'), DENIED, /may not manage$/],
    ['managing another node', () => as('op-1'), budget('prod-1'), DENIED, /may not use the node "prod-1"$/],
    ['forgetting another node', () => as('op-1'), forget('prod-1'), DENIED, /may not use the node "prod-1"$/],
  ];

const as = (name: string) => bearer(identities.token(name));
/** The id of an issued token with another secret. */
const other = (name: string) => identities.token(name).replace(/.{43}$/, 'B'.repeat(43));

for (const [what, who, ask, told, message] of CASES) {
  test(`${what}: ${told.code}`, () => refused(ask, who(), told, message));
}

test('over its rate an identity is told when to come back', async () => {
  await overHttp(NODES.http, as('slow'));
  await refused(NODES, as('slow'), EXHAUSTED, /^token "slow" may make 1 calls a second$/);
});

/** Pids by node, sorted, of one replay over HTTP; the same over gRPC. */
async function replayed(request: SubscribeRequest, who: readonly string[]): Promise<readonly string[]> {
  const { status, body } = await overHttp(events(request).http, who);
  assert.equal(status, 200, body);
  const lines = body.trim().split('\n');
  const seen = lines.flatMap((line) => {
    const { result } = JSON.parse(line) as { result?: { event?: { node: string; process: { pid: number } } } };
    return result?.event === undefined ? [] : [`${result.event.node}:${result.event.process.pid}`];
  });
  return seen.sort();
}

test('nothing named, or globs: what is granted, and the plan says so', async () => {
  assert.deepEqual(await replayed({ limit: '100' }, as('alice')), ['prod-1:10', 'prod-1:11']);
  assert.deepEqual(await replayed({ nodes: ['*-1'], limit: '100' }, as('alice')), ['prod-1:10', 'prod-1:11']);
  assert.deepEqual(await replayed({ nodes: ['test-*'], limit: '100' }, as('alice')), []);
  assert.deepEqual(await replayed({ last: 1 }, as('alice')), ['prod-1:11']);
  // A filter cannot end the parentheses in which it stands.
  assert.deepEqual(await replayed({ filter: 'true || true', limit: '9' }, as('alice')), ['prod-1:10', 'prod-1:11']);
  const { body } = await overHttp(explain({ nodes: ['*-1'] }).http, as('alice'));
  const { plan, nodes } = JSON.parse(body) as {
    plan: { filter: string; topics: string[]; stages: { text: string }[] };
    nodes: string[];
  };
  assert.deepEqual([plan.topics, nodes], [['process', 'security'], ['prod-1']]);
  assert.match(
    plan.stages[0]!.text,
    /^role triage grants of all topics process, security; nodes \*-1, within prod-\*, without prod-secret; only events that match .*666.*; nothing from before 20/,
  );
  const own24 = await replayed({ limit: '100', topics: ['process'] }, bearer(own()));
  assert.equal(own24.length, 11, 'the holder of the broker’s token sees everything');
});

test('a histogram counts what is granted, and is refused as a replay is', async () => {
  const ask = (subscription: SubscribeRequest) => ['POST', '/v1/histogram', { subscription }] as const;
  const { body } = await overHttp(ask({ since: '50m' }), as('alice'));
  const { series } = JSON.parse(body) as { series: { topic: string; counts: number[] }[] };
  assert.deepEqual(
    series.map(({ topic, counts }) => [topic, counts.reduce((sum, count) => sum + count, 0)]),
    [['process', 2]],
  );
  const beyond = await overHttp(ask({ since: '2h' }), as('alice'));
  assert.equal(beyond.status, 403);
});

test('lists show the nodes and topics that are granted', async () => {
  const listed = async (who: readonly string[]) => {
    const { messages } = await grpc.call('/backplane.v1.Backplane/ListNodes', who[0], Buffer.alloc(0));
    const decoded = listNodesResponseCodec.decode(messages[0]!, 100_000) as ListNodesResponse__Output;
    const byGrpc = decoded.nodes.map(({ name }) => name);
    const { body } = await overHttp(NODES.http, who);
    const byHttp = (JSON.parse(body) as { nodes: { name: string }[] }).nodes.map(({ name }) => name);
    assert.deepEqual(byHttp, byGrpc);
    return byGrpc;
  };
  assert.deepEqual(await listed(as('alice')), ['prod-1', 'prod-old']);
  assert.deepEqual(await listed(as('viewer')), ['test-1']);
  assert.equal((await listed(bearer(own()))).length, 4);
  const topics = JSON.parse((await overHttp(TOPICS.http, as('alice'))).body) as { topics: { name: string }[] };
  assert.deepEqual(topics.topics.map(({ name }) => name).sort(), ['process', 'security']);
  const budgets = JSON.parse((await overHttp(['GET', '/v1/budgets'], as('viewer'))).body) as {
    budgets: { node: string }[];
  };
  assert.deepEqual(
    budgets.budgets.map(({ node }) => node),
    ['test-1'],
  );
  const { messages } = await grpc.call('/backplane.v1.Backplane/GetStatus', as('viewer')[0], Buffer.alloc(0));
  assert.equal((getStatusResponseCodec.decode(messages[0]!, 10_000) as GetStatusResponse__Output).nodes, 1);
});

test('who manages some nodes changes those, also where a glob names more', async () => {
  const { status, body } = await overHttp(budget('*').http, as('op-1'));
  assert.deepEqual([status, (JSON.parse(body) as { nodes: string[] }).nodes], [200, ['test-1']]);
});

test('who sees not everything sees only the own subscriptions', async () => {
  const alice = harness.subscribe({ follow: true, client: 'of alice' }, identities.token('alice'));
  const mine = harness.subscribe({ follow: true, client: 'of the owner' }, own());
  await alice.isAccepted();
  await mine.isAccepted();
  const clients = async (who: readonly string[]) => {
    const { body } = await overHttp(['GET', '/v1/subscriptions'], who);
    return (JSON.parse(body) as { subscriptions: { client: string }[] }).subscriptions
      .map(({ client }) => client)
      .sort();
  };
  assert.deepEqual(await clients(as('alice')), ['of alice']);
  assert.deepEqual(await clients(bearer(own())), ['of alice', 'of the owner']);
  alice.cancel();
  mine.cancel();
});

test('an identity runs as many subscriptions as its role says', async () => {
  const free = async () => {
    const { body } = await overHttp(['GET', '/v1/subscriptions'], bearer(own()));
    return (JSON.parse(body) as { subscriptions: object[] }).subscriptions.length === 0;
  };
  await until('the end of earlier ones', free);
  const first = harness.subscribe({ follow: true, last: 1 }, identities.token('alice'));
  await first.isAccepted();
  await refused(events({ last: 1 }), as('alice'), EXHAUSTED, /at most 1 subscriptions that read the past at once$/);
  const second = harness.subscribe({ follow: true }, identities.token('alice'));
  await second.isAccepted();
  await refused(events({ follow: true }), as('alice'), EXHAUSTED, /may run at most 2 subscriptions at once$/);
  first.cancel();
  second.cancel();
  await until('the end', free);
});

/** The first cursor that comes, of a replay that goes on. */
async function cursorOf(request: SubscribeRequest, token: string): Promise<string> {
  const subscriber = harness.subscribe(request, token);
  const cursor = await until('a cursor', () => subscriber.cursor || undefined);
  subscriber.cancel();
  return cursor;
}

const forged = (cursor: string, change: Partial<CursorState>) => encodeCursor({ ...decodeCursor(cursor), ...change })!;

test('a cursor of another predicate is invalid, also one of more rights; a forged one is served within the grant', async () => {
  await until('room', async () => (await overHttp(events({ last: 1 }).http, as('alice'))).status === 200);
  const asked = { limit: '100' };
  const foreign = await cursorOf({ ...asked, last: 0 }, own());
  const told = { grpc: 3, http: 400, code: 'cursor_invalid' };
  await refused(events({ ...asked, cursor: foreign }), as('alice'), told, /^cursor is of another subscription/);
  const cursor = await cursorOf(asked, identities.token('alice'));
  // As if nothing were delivered yet, of any node, from long ago: its checksum is right.
  const { history } = decodeCursor(cursor);
  assert.ok(history !== undefined);
  const began = forged(cursor, { history: { ...history, wallNs: 0n }, sinceNs: 0n });
  await refused(
    events({ ...asked, cursor: began }),
    as('alice'),
    DENIED,
    /^cursor: it stands before the earliest .*, 20\d\d-.*: begin with since$/,
  );
  const zero = { epoch: 0, timeNs: 0n, lane: 0, tie: 0 };
  const late = (node: string) =>
    ({ node, standing: 'late', position: zero, floors: new Map(), owed: new Map() }) as const;
  const nodes = ['prod-old', 'prod-1', 'prod-secret', 'test-1'].map(late);
  const wide = forged(cursor, { history: { ...history, wallNs: history.wallNs + 1n }, sinceNs: 0n, nodes });
  assert.deepEqual(await replayed({ ...asked, cursor: wide }, as('alice')), ['prod-1:10', 'prod-1:11']);
});

test('a live cursor that stands before the depth is denied with the earliest', async () => {
  const request = { follow: true, topics: ['process'] };
  const { agent, token } = { agent: await harness.agent('prod-7'), token: identities.token('alice') };
  const subscriber = harness.subscribe(request, token);
  await subscriber.isAccepted();
  agent.recorder.record('process.exec', 70);
  agent.publish();
  await subscriber.has(1);
  const { cursor } = subscriber;
  subscriber.cancel();
  const places = decodeCursor(cursor).places.map(({ offset }) => ({ offset: Math.max(0, offset - 1) }));
  const back = forged(cursor, { places });
  const again = harness.subscribe({ ...request, cursor: back }, token);
  await again.has(1);
  again.cancel();
  // By the same role with hardly any depth the frame lies before the floor.
  identities.write(ROLES.replace('history: 1h', 'history: 1ms'));
  await until('the new roles', async () => {
    const { body } = await overHttp(explain({ follow: true }).http, as('alice'));
    return (
      /"code":"permission_denied"/.test((await overHttp(explain({ since: '10m' }).http, as('alice'))).body) &&
      body !== ''
    );
  });
  const denied = await grpc.call(
    '/backplane.v1.Backplane/Subscribe',
    as('alice')[0],
    events({ ...request, cursor: back }).message,
  );
  assert.deepEqual([denied.status, denied.code], [7, 'permission_denied'], denied.message);
  assert.match(denied.message, /stands before the earliest that may be told, 20/);
  identities.write(ROLES);
});

test('an agent with a token is a node that its role names, and no other', async () => {
  const connect = (node: string, token: string) =>
    TestAgent.connect(harness.broker.grpcAddress, node, new TestRecorder(`r-${node}`), {}, token);
  const agent = await connect('edge-1', identities.token('edge'));
  assert.equal(agent.ended, undefined);
  agent.kill();
  for (const [node, name, message] of [
    ['prod-1', 'edge', /may not be the node "prod-1"/],
    ['edge-9', 'edge', /may not be the node "edge-9"/],
    ['edge-1', 'alice', /may not uplink/],
  ] as const) {
    await assert.rejects(connect(node, identities.token(name)), message);
  }
});

test('a role that is taken back, and a token that is revoked, end what runs', async () => {
  const running = harness.subscribe({ follow: true }, identities.issue('live'));
  await running.isAccepted();
  identities.revoke('live');
  await until('its end', () => running.ended);
  assert.deepEqual([running.error?.code, /was revoked/.test(running.error?.details ?? '')], [16, true]);
  const viewing = harness.subscribe({ follow: true }, identities.token('alice'));
  await viewing.isAccepted();
  identities.write(ROLES.replace('nodes: ["prod-*"]', 'nodes: ["test-*"]'));
  await until('its end', () => viewing.ended);
  assert.deepEqual([viewing.error?.code, /has changed/.test(viewing.error?.details ?? '')], [7, true]);
  identities.write(`${ROLES}\n  - { role: none, identities: [x] }`);
  await until('a word of it', () =>
    harness.logged.some(({ msg }) => /roles\.yaml: bindings.*there is no role "none".*stays in force/.test(msg)),
  );
  assert.equal((await overHttp(NODES.http, as('viewer'))).status, 200, 'the last good roles stay');
  identities.write(ROLES);
});

test('what was asked is on record before its first event, and what was refused within a second', async () => {
  const lines = (file: string) =>
    readFileSync(join(harness.dataDir, 'broker', file), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const reader = harness.subscribe({ limit: '1', client: 'audited', topics: ['process'] }, identities.token('two'));
  await until('its end', () => reader.ended);
  assert.match(String(reader.error?.details), /may not use the topic/);
  const seen = harness.subscribe({ follow: true, client: 'audited' }, own());
  await seen.isAccepted();
  const entry = lines('audit.jsonl').find(({ client }) => client === 'audited');
  assert.deepEqual([entry?.action, entry?.identity, entry?.kind, entry?.follow], ['subscribe', 'local', 'local', true]);
  seen.cancel();
  const history = lines('audit.jsonl').find(({ action, identity }) => action === 'history' && identity === 'alice');
  assert.ok(Number(history?.bytes) > 0 && Number(history?.events) > 0, JSON.stringify(history));
  assert.ok(lines('audit.jsonl').some(({ action, file }) => action === 'reload' && file === identities.rolesFile));
  const refusal = await until('the refusal', () =>
    lines('audit-refused.jsonl').find(({ identity, code }) => identity === 'two' && code === 'permission_denied'),
  );
  assert.match(String(refusal.refused), /may not use the topic "process"/);
  const strangers = lines('audit-refused.jsonl').filter(({ action }) => action === 'authenticate');
  assert.ok(
    strangers.some(({ reason }) => reason === 'doubled') && strangers.some(({ reason }) => reason === 'expired'),
  );
  for (const name of NAMES)
    assert.ok(!readFileSync(join(harness.dataDir, 'broker/audit.jsonl'), 'utf8').includes(identities.token(name)));
});

/**
 * The cases of who may do what, each with its exact answer, over gRPC and over HTTP: one table for both. Whatever one
 * transport refuses, the other refuses with the same code and the same sentence.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import {
  type Ask,
  bearer,
  budget,
  DENIED,
  EXHAUSTED,
  events,
  explain,
  forget,
  GuardedBroker,
  NODES,
  type Told,
  UNAUTHENTICATED,
} from '../../harness/access/guarded-broker.js';
import { runs } from '../../harness/runs.js';

let guarded: GuardedBroker;
before(async () => {
  guarded = await GuardedBroker.start();
});
after(() => guarded.destroy());

/** Each: what, who, what is asked, what is answered. */
const CASES: readonly (readonly [what: string, who: () => readonly string[], ask: Ask, told: Told, message: RegExp])[] =
  [
    ['no credential', () => [], NODES, UNAUTHENTICATED, /^no token came/],
    ['a wrong one', () => bearer('A'.repeat(43)), NODES, UNAUTHENTICATED, /^another token came/],
    ['an issued one with another secret', () => bearer(other('alice')), NODES, UNAUTHENTICATED, /^another token came/],
    ['an expired one', () => bearer(guarded.expired), NODES, UNAUTHENTICATED, /^the token has expired/],
    ['an oversized one', () => bearer('A'.repeat(10_000)), NODES, UNAUTHENTICATED, /^what came is too long/],
    [
      'one twice',
      () => [...bearer(guarded.own), ...bearer(guarded.own)],
      NODES,
      UNAUTHENTICATED,
      /^more than one credential/,
    ],
    [
      'two of two',
      () => [...bearer(guarded.own), ...guarded.as('alice')],
      NODES,
      UNAUTHENTICATED,
      /^more than one credential/,
    ],
    [
      'an identity without a role',
      () => guarded.as('nobody'),
      NODES,
      DENIED,
      /^token "nobody" may not do this: no role is bound/,
    ],
    [
      'a verb that is not granted',
      () => guarded.as('live'),
      NODES,
      DENIED,
      /^token "live" may not do this: no role grants it the verb "view"$/,
    ],
    [
      'a verb that another role denies',
      () => guarded.as('barred'),
      NODES,
      DENIED,
      /^token "barred" may not do this: no role grants it the verb "view"$/,
    ],
    [
      'subscribing without the verb',
      () => guarded.as('viewer'),
      events({ follow: true }),
      DENIED,
      /may not do this: no role grants it the verb "subscribe"$/,
    ],
    [
      'the past without the verb',
      () => guarded.as('live'),
      events({ last: 5 }),
      DENIED,
      /may not do this: no role grants it the verb "history"$/,
    ],
    [
      'an agent that subscribes',
      () => guarded.as('edge'),
      events({ follow: true }),
      DENIED,
      /may not do this: no role grants it the verb "subscribe"$/,
    ],
    [
      'a topic',
      () => guarded.as('alice'),
      events({ topics: ['network'], last: 1 }),
      DENIED,
      /may not use the topic "network"$/,
    ],
    ['a topic that another role denies', () => guarded.as('denied'), events({ last: 1 }), DENIED, /may use no topic$/],
    [
      'a named node',
      () => guarded.as('alice'),
      events({ nodes: ['test-1'], last: 1 }),
      DENIED,
      /may not use the node "test-1"$/,
    ],
    [
      'a named node beside a glob',
      () => guarded.as('alice'),
      explain({ nodes: ['prod-*', 'x'] }),
      DENIED,
      /the node "x"$/,
    ],
    [
      'a denied node',
      () => guarded.as('alice'),
      events({ nodes: ['prod-secret'], last: 1 }),
      DENIED,
      /the node "prod-secret"$/,
    ],
    [
      'since beyond the depth',
      () => guarded.as('alice'),
      events({ since: '2h' }),
      DENIED,
      /may go back 1h: since must be at the earliest 20\d\d-/,
    ],
    [
      'until beyond the depth',
      () => guarded.as('alice'),
      events({ until: '2h' }),
      DENIED,
      /until must be at the earliest 20/,
    ],
    ['explaining beyond the depth', () => guarded.as('alice'), explain({ since: '2h' }), DENIED, /at the earliest 20/],
    [
      'managing without the verb',
      () => guarded.as('alice'),
      budget('prod-1'),
      DENIED,
      /may not do this: no role grants it the verb "manage"$/,
    ],
    ['managing another node', () => guarded.as('op-1'), budget('prod-1'), DENIED, /may not use the node "prod-1"$/],
    ['forgetting another node', () => guarded.as('op-1'), forget('prod-1'), DENIED, /may not use the node "prod-1"$/],
  ];

/** The id of an issued token with another secret. */
const other = (name: string) => guarded.identities.token(name).replace(/.{43}$/, 'B'.repeat(43));

for (const [what, who, ask, told, message] of CASES) {
  test(`${what}: ${told.code}`, () => guarded.refused(ask, who(), told, message));
}

test('who says in headers who it is, is not, whatever else it brings', async () => {
  const local = Buffer.from(JSON.stringify({ name: 'local', kind: 'local' })).toString('base64url');
  const { method, message } = budget('test-1');
  for (const [authorization, status] of [
    [undefined, UNAUTHENTICATED.grpc],
    [guarded.as('viewer')[0], DENIED.grpc],
  ] as const) {
    const spoofed = { 'backplane-identity': local, 'x-forwarded-user': 'local', 'x-forwarded-for': '127.0.0.1' };
    const path = `/backplane.v1.Backplane/${method}`;
    const answer = await guarded.grpc.call(path, authorization, message, undefined, spoofed);
    assert.equal(answer.status, status, answer.message);
  }
});

test('whatever headers come over HTTP, nothing is granted but by one whole Authorization', async () => {
  const [right, wrong] = [guarded.identities.token('viewer'), 'A'.repeat(43)];
  const named = (name: string) =>
    fc.constantFrom(`Bearer ${right}`, right, `bearer  ${right}`).map((value) => `${name}: ${value}`);
  const line = fc.oneof(
    fc.constantFrom(`Authorization: Bearer ${right}`, `AUTHORIZATION:bearer   ${right}  `),
    fc.constantFrom(`Authorization: Bearer ${wrong}`, `Authorization: Basic ${right}`, `Authorization: ${right}`),
    fc.constantFrom(
      `Authorization: Bearer ${right}x`,
      `Authorization: Bearer ${right}, Bearer ${right}`,
      'Authorization:',
    ),
    fc.constantFrom(`Authorization : Bearer ${right}`, ` Authorization: Bearer ${right}`, `Authorization\t: ${right}`),
    ...['Proxy-Authorization', 'X-Authorization', 'Cookie', 'Token', 'X-Api-Key', 'backplane-identity'].map(named),
    fc.constantFrom(
      'X-Forwarded-For: 127.0.0.1',
      'Forwarded: for=127.0.0.1',
      'X-Remote-User: local',
      'Via: 1.1 localhost',
    ),
  );
  const query = fc.constantFrom('', `?token=${right}`, `?access_token=${right}`, `?authorization=Bearer%20${right}`);
  let granted = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 4 }), query, async (lines, asked) => {
      const status = await rawStatus(
        `GET /v1/topics${asked} HTTP/1.1\r\nHost: localhost\r\n${lines.map((each) => `${each}\r\n`).join('')}`,
      );
      const credentials = lines.filter((each) => /^authorization:/i.test(each));
      const isSound = lines.every((each) => /^[\w-]+:/.test(each)) && asked === '';
      const isGranted =
        isSound &&
        credentials.length === 1 &&
        new RegExp(`^authorization: *bearer +${right} *$`, 'i').test(credentials[0]!);
      if (isGranted) granted++;
      assert.ok(isGranted ? status === 200 : [400, 401, 403].includes(status), `${status}: ${JSON.stringify(lines)}`);
    }),
    { numRuns: runs(200), examples: [[[`Authorization: Bearer ${right}`], '']] },
  );
  assert.ok(granted > 0);
});

/** Of a request as it is written; its connection ends with the answer. */
async function rawStatus(head: string): Promise<number> {
  const [host = '', port = ''] = guarded.harness.broker.httpAddress.split(':');
  const socket = connect(Number(port), host);
  let answer = '';
  socket.setEncoding('latin1').on('error', () => undefined);
  socket.on('data', (text: string) => {
    answer += text;
  });
  socket.write(`${head}Connection: close\r\n\r\n`);
  await once(socket, 'close');
  return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);
}

test('over its rate an identity is told when to come back', async () => {
  await guarded.overHttp(NODES.http, guarded.as('slow'));
  await guarded.refused(NODES, guarded.as('slow'), EXHAUSTED, /^token "slow" may make 1 calls a second$/);
});

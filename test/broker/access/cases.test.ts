/**
 * The cases of who may do what, each with its exact answer, over gRPC and over HTTP: one table for both. Whatever one
 * transport refuses, the other refuses with the same code and the same sentence.
 */
import { after, before, test } from 'node:test';
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

test('over its rate an identity is told when to come back', async () => {
  await guarded.overHttp(NODES.http, guarded.as('slow'));
  await guarded.refused(NODES, guarded.as('slow'), EXHAUSTED, /^token "slow" may make 1 calls a second$/);
});

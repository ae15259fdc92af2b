/** Subscription requests from gRPC and HTTP: what is accepted, and how the rest is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../../src/errors.js';
import type { Selector } from '../../../src/subscriptions/request/selectors.js';
import {
  checkSubscription,
  type SubscriptionRequest,
} from '../../../src/subscriptions/request/subscription-request.js';
import { runs } from '../../harness/runs.js';

const NOW = 1_800_000_000_000_000_000n;

test('a request as gRPC delivers it, with every field present, is accepted', () => {
  const checked = checkSubscription(
    {
      topics: ['process'],
      nodes: ['web-*'],
      filter: 'process.pid==1',
      since: '1s',
      until: '',
      follow: true,
      last: 0,
      limit: '18',
      cursor: '',
      includeSelf: false,
      client: 'console',
    },
    NOW,
  );
  const { selectors, nodes, ...rest } = checked;
  const [{ id, predicate }] = selectors as [Selector];
  assert.equal(id, '');
  assert.equal(predicate.canonical, 'process.pid == 1');
  assert.equal(nodes.matches('web-1') && !nodes.matches('db-1'), true);
  assert.deepEqual(rest, {
    topics: ['process'],
    window: { sinceNs: NOW - 1_000_000_000n, untilNs: undefined, follow: true, last: 0, history: true },
    limit: 18,
    cursor: '',
    client: 'console',
    includeSelf: false,
    refill: false,
    throttle: undefined,
    lagMaxMs: undefined,
    latencyMs: undefined,
  });
});

test('a query string has only text, and a body may leave everything out', () => {
  const query = checkSubscription({ topics: 'network', follow: 'true', last: '5', limit: '0', includeSelf: '1' }, NOW);
  assert.deepEqual(query.topics, ['network']);
  assert.equal(query.window.follow && query.includeSelf && query.selectors[0]!.predicate.includeSelf, true);
  assert.equal(query.window.last, 5);
  const empty = checkSubscription({}, NOW);
  assert.equal(empty.window.history, true);
  assert.equal(empty.nodes.matches('any'), true);
  assert.equal(empty.limit, 0);
});

test('client names are made printable, and a long one is refused with the bound', () => {
  const clientOf = (client: string): string => checkSubscription({ client }, NOW).client;
  assert.equal(clientOf(' a\u001b[31mb\u202e\n\u0000c '), 'a[31mbc');
  assert.equal(clientOf('😀'.repeat(64)), '😀'.repeat(64));
  for (const [name, length] of [
    ['😀'.repeat(65), 65],
    ['\u0007'.repeat(100_000), 100_000],
  ] as const) {
    assert.throws(() => clientOf(name), {
      code: 'invalid_argument',
      message: `client: must be at most 64 characters, got ${length}`,
    });
  }
});

test('an invalid request is refused, naming the field', () => {
  const cases: [Record<string, unknown>, string, string][] = [
    [
      { filter: 'process.pid' },
      'filter_invalid',
      'filter: column 1: the filter must be a condition (bool), but is int',
    ],
    [
      { filter: 'event.type == "exec"' },
      'filter_invalid',
      'filter: no event can match: "exec" fits no event type, did you mean "process.exec"?',
    ],
    [{ filter: 7 }, 'invalid_argument', 'filter: must be text, got a value of type number'],
    [{ topics: ['proces'] }, 'invalid_argument', 'topic: unknown topic "proces", did you mean "process"?'],
    [{ topics: [1] }, 'invalid_argument', 'topic: must be text or a list of texts, got a value of type number'],
    [
      { nodes: [undefined] },
      'invalid_argument',
      'node: must be text or a list of texts, got a value of type undefined',
    ],
    [{ nodes: ['a b'] }, 'invalid_argument', 'node: must consist of'],
    [{ follow: 'maybe' }, 'invalid_argument', 'follow: must be true or false, got "maybe"'],
    [{ follow: 1 }, 'invalid_argument', 'follow: must be true or false, got a value of type number'],
    [{ last: 'ten' }, 'invalid_argument', 'last: must be a whole number from 0 to 10000, got "ten"'],
    [{ last: '10001' }, 'invalid_argument', 'last: must be a whole number from 0 to 10000, got "10001"'],
    [{ limit: '18446744073709551615' }, 'invalid_argument', 'limit: must be a whole number from 0 to'],
    [{ limit: -1 }, 'invalid_argument', 'limit: must be a whole number from 0 to 9007199254740991, got -1'],
    [
      { limit: {} },
      'invalid_argument',
      'limit: must be a whole number from 0 to 9007199254740991, got a value of type',
    ],
    [{ cursor: 'x'.repeat(4097) }, 'cursor_invalid', 'cursor: must be at most 4096 bytes, got 4097'],
    [{ cursor: 'a b' }, 'cursor_invalid', 'cursor: is not one that Backplane gave'],
    [{ since: [] }, 'invalid_argument', 'since: must be text, got a list'],
    [{ fliter: 'true' }, 'invalid_argument', '"fliter": is not a field of a subscription, did you mean "filter"?'],
    [JSON.parse('{"__proto__": 1}'), 'invalid_argument', '"__proto__": is not a field of a subscription'],
  ];
  for (const [request, code, expected] of cases) {
    assert.throws(
      () => checkSubscription(request, NOW),
      (cause: unknown) => {
        assert.ok(cause instanceof BackplaneError, String(cause));
        assert.equal(cause.code, code);
        assert.ok(cause.message.startsWith(expected), `${cause.message}\n${expected}`);
        return true;
      },
    );
  }
});

test('any JSON gives a subscription or a refusal in one line', () => {
  const keys: (keyof SubscriptionRequest)[] = [
    'topics',
    'nodes',
    'filter',
    'since',
    'follow',
    'last',
    'cursor',
    'client',
  ];
  const value = fc.oneof(fc.jsonValue({ maxDepth: 1 }), fc.constantFrom('process', '5m', 'true', '1', 'x*'));
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...keys), value), (request) => {
      try {
        checkSubscription(request, NOW);
      } catch (cause) {
        assert.ok(cause instanceof BackplaneError, String(cause));
        assert.doesNotMatch(cause.message, /[\u0000-\u001f\u007f-\u009f]/);
      }
    }),
    { numRuns: runs(1000) },
  );
});

test("fields are given as in the proto or as in JSON, made canonical, and part of a predicate's id", () => {
  const asked = (fields: unknown) => checkSubscription({ fields }, NOW).selectors[0]!.predicate;
  const canonical = ['container', 'process.command_args', 'process.executable'];
  for (const fields of [
    ['process.executable.path', 'process.commandArgs', 'container.id', 'container', 'process.executable', 'node'],
    'container, process.executable,process.command_args',
  ]) {
    assert.deepEqual(asked(fields).spec.fields, canonical);
  }
  assert.deepEqual(asked('raw.fields.prev_pid').spec.fields, ['raw.fields']);
  assert.deepEqual(asked(['topic', 'node']).spec.fields, ['type']);
  assert.deepEqual(asked([]).spec.fields, []);
  assert.equal(asked([]).id, asked(undefined).id);
  assert.notEqual(asked('process.pid').id, asked('process.comm').id);
  assert.throws(() => asked('process.pidd'), /fields: unknown field "process.pidd", did you mean "process.pid"\?/);
  for (const odd of ['__proto__', 'constructor', '', 'process.', 'process.pid.x']) {
    assert.throws(() => asked([odd]), { code: 'invalid_argument' });
  }
  assert.throws(() => asked(Array(65).fill('time')), /fields: must be at most 64, got 65/);
});

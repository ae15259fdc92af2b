/** Several selectors in a request: what is taken, and how what is wrong is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackplaneError } from '../../../src/errors.js';
import { SELECTORS_MAX } from '../../../src/limits.js';
import {
  checkSubscription,
  type SubscriptionRequest,
} from '../../../src/subscriptions/request/subscription-request.js';

const NOW = 1_800_000_000_000_000_000n;
const check = (request: SubscriptionRequest) => checkSubscription(request, NOW);

test('each selector has a predicate of its own, and the topics are those of all', () => {
  const { selectors, topics } = check({
    includeSelf: true,
    selectors: [
      { id: 'b', topics: ['security'], filter: 'process.pid==1', fields: ['process.pid'] },
      { id: 'a/1:x', topics: ['process'] },
    ],
  });
  assert.deepEqual(topics, ['process', 'security']);
  assert.deepEqual(
    selectors.map(({ id, predicate: { spec } }) => [id, spec.topics, spec.filter, spec.fields, spec.includeSelf]),
    [
      ['b', ['security'], 'process.pid == 1', ['process.pid'], true],
      ['a/1:x', ['process'], 'true', [], true],
    ],
  );
  const [same, other] = check({ selectors: [{ id: 'b' }, { id: 'c' }] }).selectors;
  assert.equal(same?.predicate.id, other?.predicate.id);
  assert.deepEqual(
    check({ selectors: [] }).selectors.map(({ id }) => id),
    [''],
    'an empty list is none',
  );
});

test('what is wrong is refused, with its place in the request', () => {
  const many = Array.from({ length: SELECTORS_MAX + 1 }, (_, at) => ({ id: `s${at}` }));
  const refused: readonly [SubscriptionRequest, string, RegExp][] = [
    [{ selectors: 'x' }, 'selectors', /^selectors: must be a list of selectors$/],
    [{ selectors: many }, 'selectors', /^selectors: must be at most 64, got 65$/],
    [{ selectors: [{ id: 'a' }], topics: ['process'] }, 'topics', /^topics: excludes selectors: each selector has its/],
    [{ selectors: [{ id: 'a' }], filter: 'true' }, 'filter', /^filter: excludes selectors/],
    [{ selectors: [{ id: 'a' }], fields: ['process.pid'] }, 'fields', /^fields: excludes selectors/],
    [{ selectors: ['a'] }, 'selectors[0]', /must be a selector/],
    [{ selectors: [{}] }, 'selectors[0].id', /must be 1 to 64 printable ASCII characters without blanks, got ""$/],
    [{ selectors: [{ id: 'a b' }] }, 'selectors[0].id', /got "a b"$/],
    [{ selectors: [{ id: 'é' }] }, 'selectors[0].id', /got "é"$/],
    [{ selectors: [{ id: 'x'.repeat(65) }] }, 'selectors[0].id', /must be 1 to 64/],
    [{ selectors: [{ id: 7 }] }, 'selectors[0].id', /must be text/],
    [{ selectors: [{ id: 'a' }, { id: 'a' }] }, 'selectors[1].id', /must be unique, got "a" twice$/],
    [
      { selectors: [{ id: 'a', filer: '' }] },
      'selectors[0]."filer"',
      /is not a field of a selector, did you mean "filter"/,
    ],
    [{ selectors: [{ id: 'a', topics: ['proces'] }] }, 'selectors[0].topics', /^selector "a": topic: unknown topic/],
    [{ selectors: [{ id: 'a', fields: ['process.ped'] }] }, 'selectors[0].fields', /^selector "a": fields: unknown/],
    [
      { selectors: [{ id: 'a' }], follow: true, throttle: '1s', throttleBy: ['process.tty'] },
      'throttle_by',
      /name it there, too \(selector "a"\)$/,
    ],
  ];
  for (const [request, field, message] of refused) {
    assert.throws(
      () => check(request),
      (error) => {
        assert.ok(error instanceof BackplaneError && error.code === 'invalid_argument', String(error));
        assert.deepEqual([error.details.field], [field], error.message);
        assert.match(error.message, message);
        return true;
      },
    );
  }
  assert.throws(
    () => check({ selectors: [{ id: 'ok' }, { id: 'bad', filter: 'true && process.ped == 1' }] }),
    (error) => {
      assert.ok(error instanceof BackplaneError);
      const { field, column, suggestion } = error.details;
      assert.deepEqual([error.code, field, column], ['filter_invalid', 'selectors[1].filter', 9]);
      assert.match(suggestion ?? '', /process\.pid/);
      assert.match(error.message, /^selector "bad": filter: /);
      return true;
    },
  );
});

/** Cursors over several clusters, and what each cluster is asked. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type ClusterPlace,
  decodeClusterCursor,
  encodeClusterCursor,
} from '../../../src/client/clusters/cluster-cursor.js';
import { clusterRequests } from '../../../src/client/clusters/cluster-requests.js';
import { BackplaneError } from '../../../src/errors.js';
import { CLUSTER_CURSOR_CHARACTERS_MAX, CLUSTERS_MAX, CURSOR_BYTES_MAX, NAME_BYTES_MAX } from '../../../src/limits.js';
import type { SubscribeRequest } from '../../../src/wire/messages.js';

const word = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)) });
const plain = { noNullPrototype: true };
const position = fc.record(
  {
    epoch: fc.nat(),
    timeNs: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    lane: fc.nat(0xffff),
    tie: fc.nat(0xffff_ffff),
  },
  plain,
);
const passed = fc.record({ node: word, topic: word, refill: fc.boolean(), position }, plain);
const place: fc.Arbitrary<ClusterPlace> = fc.record(
  {
    cursor: fc.constantFrom('', 'AbC_-9', 'x'.repeat(CURSOR_BYTES_MAX)),
    since: fc.constantFrom('2026-11-23T10:02:03.123456789Z', '1970-01-01T00:00:00Z'),
    passed: fc.option(passed, { nil: undefined }),
  },
  plain,
);
const places = fc
  .uniqueArray(fc.tuple(fc.constantFrom('a', 'b.c', 'eu-1', 'constructor'), place), {
    ...{ minLength: 1, selector: ([name]) => name },
  })
  .map((entries) => new Map(entries));

test('a cursor says of each cluster what was put in, and no character needs quotes in a query', () => {
  fc.assert(
    fc.property(places, (given) => {
      const text = encodeClusterCursor(given);
      const read = decodeClusterCursor(text, [...given.keys()]);
      assert.match(text, /^[A-Za-z0-9._~!'()*,%@:-]+$/);
      for (const [name, { cursor, since, passed }] of given) {
        assert.deepEqual(read.get(name), { cursor, since: cursor === '' ? since : '', passed });
      }
    }),
  );
});

test('the longest cursor fits its bound', () => {
  const position = { epoch: Number.MAX_SAFE_INTEGER, timeNs: 2n ** 64n - 1n, lane: 0xffff, tie: 0xffff_ffff };
  const passed = {
    node: '~'.repeat(NAME_BYTES_MAX),
    topic: `app.${'x'.repeat(NAME_BYTES_MAX)}`,
    refill: true,
    position,
  };
  const each = { cursor: 'x'.repeat(CURSOR_BYTES_MAX), since: '', passed };
  const names = Array.from({ length: CLUSTERS_MAX }, (_, index) => `${'n'.repeat(60)}${index}`);
  const text = encodeClusterCursor(new Map(names.map((name) => [name, each])));
  assert.ok(text.length <= CLUSTER_CURSOR_CHARACTERS_MAX, String(text.length));
  assert.equal(decodeClusterCursor(text, names).size, CLUSTERS_MAX);
});

for (const [text, expected] of [
  ['AbC_-9', 'cursor is of one cluster: it resumes there, without the others'],
  ['', 'cursor is of one cluster: it resumes there, without the others'],
  ['clusters2,a~x,b~y', 'cursor is of version 2, this client reads version 1: begin with since or last instead'],
  ['clusters1,a~x', 'cursor has no place in b: begin with since or last instead'],
  ['clusters1,a~x,b~y,c~z', 'cursor names the cluster c, which is not among those asked: a, b'],
  ['clusters1,a~x,a~x,b~y', 'cursor names the cluster a twice'],
  ['clusters1,a~x,b', 'cursor is cut or changed: the place in b cannot be read'],
  ['clusters1,a~x,b~@yesterday', 'cursor is cut or changed: the place in b cannot be read'],
  ['clusters1,a~x,b~y~n~t', 'cursor is cut or changed: the event in b cannot be read'],
  ['clusters1,a~x,b~y~n~t~1.2.3', 'cursor is cut or changed: the event in b cannot be read'],
  ['clusters1,a~x,b~y~%FF~t~1.2.3.4', 'cursor is cut or changed: the event in b cannot be read'],
  ['clusters1,a~x,b~y~n~t~1.99999999999999999999.3.4', 'cursor has a number in b that is none of a position'],
  ['clusters1,a~x,b~y~n~t~1.2.65536.4', 'cursor has a number in b that is none of a position'],
  ['clusters1,a~x,~y', 'cursor is cut or changed: a cluster has no name'],
  [`clusters1${',a~x'.repeat(17)}`, 'cursor must name at most 16 clusters, got 17'],
  ['x'.repeat(100_000), 'cursor must be at most 98304 characters, got 100000'],
] as const) {
  test(`a cursor that cannot serve is refused in one sentence: ${text.slice(0, 40)}`, () => {
    assert.throws(() => decodeClusterCursor(text, ['a', 'b']), { code: 'cursor_invalid', message: expected });
  });
}

test('no text breaks the reader', () => {
  const near = places.map(encodeClusterCursor).chain((text) =>
    fc.tuple(fc.nat(text.length), fc.nat(4), fc.string()).map(([at, cut, more]) => {
      return text.slice(0, at) + more + text.slice(at + cut);
    }),
  );
  fc.assert(
    fc.property(fc.oneof(near, fc.string()), (text) => {
      try {
        decodeClusterCursor(text, ['a', 'b.c', 'eu-1', 'constructor']);
      } catch (cause) {
        assert.ok(cause instanceof BackplaneError && cause.code === 'cursor_invalid', String(cause));
      }
    }),
  );
});

const NOW_MS = Date.UTC(2026, 10, 23);
const asked = (request: SubscribeRequest) => {
  return clusterRequests(['a', 'b'], request, NOW_MS).map((each) => [each.name, each.request] as const);
};

test('each cluster resolves the window by its own clock, and nothing given means the last 20 of all', () => {
  for (const [, { since, until }] of asked({ since: '5m', until: '1m' }))
    assert.deepEqual([since, until], ['5m', '1m']);
  for (const [, { last }] of asked({})) assert.equal(last, 20);
  for (const given of [{ follow: true }, { limit: 5 }, { until: '5m' }])
    for (const [, { last }] of asked(given)) assert.equal(last, 0);
});

test('a node is asked in its cluster, a glob without one in all', () => {
  const nodes = (...globs: string[]) => Object.fromEntries(asked({ nodes: globs }).map(([name, r]) => [name, r.nodes]));
  assert.deepEqual(nodes(), { a: [], b: [] });
  assert.deepEqual(nodes('a/web-*', 'db'), { a: ['web-*', 'db'], b: ['db'] });
  assert.deepEqual(nodes('b/web-1'), { b: ['web-1'] });
  assert.deepEqual(nodes('@spiffe://x/y', 'a/@ci'), { a: ['@spiffe://x/y', '@ci'], b: ['@spiffe://x/y'] });
  const label = 'topology.kubernetes.io/zone=a';
  assert.deepEqual(nodes(label), { a: [label], b: [label] });
  assert.deepEqual(nodes(`b/${label}`, 'a/x=y'), { a: ['x=y'], b: [label] });
  assert.throws(() => nodes('c/web-1'), { message: 'node: "c/web-1" is of none of the clusters a, b' });
});

test('a cluster that was away is asked from where the others began', () => {
  const of = (request: SubscribeRequest) => clusterRequests(['a'], request, NOW_MS)[0]!;
  const later = (request: SubscribeRequest) => {
    const { since, last, cursor } = of(request).later(1_500);
    return [since, last, cursor];
  };
  assert.deepEqual(later({ follow: true }), ['1s500ms', 0, '']);
  assert.deepEqual(later({ follow: true, since: '1h' }), ['1h1s500ms', 0, '']);
  const time = '2026-11-22T23:00:00Z';
  assert.deepEqual(later({ follow: true, since: time }), [time, 0, '']);
  assert.deepEqual(later({ follow: true, last: 5 }), ['1s500ms', 0, '']);
  assert.deepEqual(later({ follow: true, cursor: `clusters1,a~@${time}` }), [time, 0, '']);
  assert.deepEqual(later({ follow: true, cursor: 'clusters1,a~AbC' }), ['', 0, 'AbC']);
  // What a cursor says of it until it answers.
  assert.equal(of({ follow: true }).place.since, '2026-11-23T00:00:00Z');
  assert.equal(of({ since: '1h' }).place.since, time);
  assert.equal(of({ until: '1h' }).place.since, '1970-01-01T00:00:00Z');
  assert.throws(() => asked({ cursor: 'clusters1,a~x,b~y', last: 5 }), { message: /^cursor: excludes last/ });
  assert.throws(() => asked({ group: { name: 'g' } }), { message: /^group: is of one cluster/ });
});

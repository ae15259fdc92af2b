/** What all subscriptions ask of nodes together. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { INTEREST_BYTES_MAX, INTEREST_GRACE_MS, PREDICATES_MAX } from '../../../src/limits.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { newBook } from '../../harness/broker/stores.js';

const specOf = (filter: string) =>
  compilePredicate({ topics: ['process'], filter, includeSelf: false, fields: [] }).spec;
const everyNode = [[], () => true] as const;

test('a claim costs the same however many there are, and a node is asked each predicate once, in order', async () => {
  const book = newBook();
  const measured = mock.method(Buffer, 'byteLength');
  const specs = Array.from({ length: PREDICATES_MAX }, (_, pid) => specOf(`process.pid == ${pid}`));
  const before = measured.mock.callCount();
  for (const spec of specs) await book.claim(spec, ...everyNode);
  const calls = measured.mock.callCount() - before;
  measured.mock.restore();
  assert.ok(calls <= 4 * PREDICATES_MAX, `${calls} texts were measured`);
  await assert.rejects(book.claim(specOf('process.pid > 7'), ...everyNode), /at most 1024 different predicates/);
  const ids = specs.map(({ id }) => id).sort((a, b) => (a < b ? -1 : 1));
  assert.deepEqual(
    book.forNode('a').predicates.map(({ id }) => id),
    ids,
  );
});

test('one predicate for several sets of nodes is asked once, and what has ended makes room', async () => {
  const book = newBook();
  const spec = specOf('process.pid == 1');
  const releases = [
    await book.claim(spec, ['a'], (node) => node === 'a'),
    await book.claim(spec, ['b'], (node) => node === 'b'),
    await book.claim(spec, ['*'], () => true),
  ];
  assert.equal(book.forNode('a').predicates.length, 1);
  for (const release of releases.slice(0, 2)) release();
  book.expire(Date.now() + 2 * INTEREST_GRACE_MS);
  assert.deepEqual([book.size, book.forNode('a').predicates.length], [1, 1]);
  const long = (number: number) => specOf(`process.executable.path == "${'x'.repeat(3_800)}-${number}"`);
  const claimed: (() => void)[] = [];
  const fill = async () => {
    for (let number = 0; number * 3_800 < INTEREST_BYTES_MAX; number++) {
      claimed.push(await book.claim(long(number), ...everyNode));
    }
  };
  await assert.rejects(fill(), /at most .* bytes together/);
  const held = claimed.length;
  for (const release of claimed.splice(0)) release();
  book.expire(Date.now() + 2 * INTEREST_GRACE_MS);
  await assert.rejects(fill(), /at most .* bytes together/);
  assert.equal(claimed.length, held, 'what has ended is not counted');
});

/** Pages of a list. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { onePage, pageByName, pageByNumber } from '../../../src/broker/api/page.js';
import type { BackplaneError } from '../../../src/errors.js';
import { PAGE_BYTES, PAGE_ITEMS_MAX } from '../../../src/limits.js';

test('property: one page after the other has every item once and in order, each within its size and its bytes', () => {
  const size = fc.constantFrom(0, 1, 2, 7);
  const item = fc.record({ after: fc.integer({ min: 1, max: 3 }), bytes: fc.nat(PAGE_BYTES) });
  fc.assert(
    fc.property(fc.array(item), size, (steps, pageSize) => {
      let number = 0;
      const all = steps.map(({ after, bytes }) => {
        number += after;
        return { number, bytes };
      });
      const got: number[] = [];
      let pageToken = '';
      do {
        const page = onePage(
          all,
          pageByNumber({ pageSize, pageToken }),
          (each) => each.number,
          ({ bytes }) => bytes,
        );
        assert.ok(page.items.length <= (pageSize || PAGE_ITEMS_MAX));
        const before = page.items.slice(0, -1).reduce((sum, { bytes }) => sum + bytes, 0);
        assert.ok(before < PAGE_BYTES);
        got.push(...page.items.map((each) => each.number));
        pageToken = page.nextPageToken;
        assert.ok(page.items.length > 0 || pageToken === '');
      } while (pageToken !== '');
      assert.deepEqual(
        got,
        all.map((each) => each.number),
      );
    }),
  );
});

test('a size or token that is none is refused, naming it', () => {
  for (const [request, message] of [
    [{ pageSize: 1_001 }, 'page_size: must be a whole number from 0 to 1000, got 1001'],
    [{ pageSize: '-1' }, 'page_size: must be a whole number from 0 to 1000, got "-1"'],
    [{ pageToken: 'x' }, 'page_token: must be what the answer before said, got "x"'],
    [{ pageToken: '9'.repeat(16) }, `page_token: must be what the answer before said, got "${'9'.repeat(16)}"`],
  ] as const) {
    assert.throws(
      () => pageByNumber(request),
      (error: BackplaneError) => error.code === 'invalid_argument' && error.message === message,
      message,
    );
  }
});

test('names have pages too, in their order, whatever comes and goes between two pages', () => {
  const names = ['a', 'b.c', 'd'];
  const page = (pageToken: string, of = names) => {
    return onePage(of, pageByName({ pageSize: 2, pageToken }), String, () => 1);
  };
  assert.deepEqual(page(''), { items: ['a', 'b.c'], nextPageToken: 'b.c' });
  assert.deepEqual(page('b.c', ['a', 'b', 'c', 'd']), { items: ['c', 'd'], nextPageToken: '' });
  assert.throws(() => page('two words'), /page_token: must be what the answer before said/);
});

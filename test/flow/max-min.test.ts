/** The max-min fair division of a total by demand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { maxMinShares } from '../../src/flow/max-min.js';

test('shares add up to the total, and nobody gets more than asked while another lacks some', () => {
  const demands = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(demands, fc.integer({ min: 1, max: 10_000 }), (demands, total) => {
      const shares = maxMinShares(demands, total);
      const sum = shares.reduce((all, share) => all + share, 0);
      assert.ok(Math.abs(sum - total) < 1e-6);
      const largest = Math.max(...shares);
      for (const [index, share] of shares.entries()) {
        if (share < demands[index]! - 1e-6) assert.ok(share >= largest - 1e-6, `${share} of ${demands[index]}`);
      }
    }),
  );
});

test('small demands are met in full, and the others share the rest evenly', () => {
  assert.deepEqual(maxMinShares([10, 1000, 500], 410), [10, 200, 200]);
  assert.deepEqual(maxMinShares([10, 20], 100), [45, 55]);
  assert.deepEqual(maxMinShares([], 100), []);
});

/** A token bucket lets through at most its burst and its rate. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TokenBucket } from '../../src/flow/token-bucket.js';

test('over any stretch at most burst plus rate is taken', () => {
  const rate = fc.integer({ min: 1, max: 10_000 });
  const steps = fc.array(
    fc.record({ afterMs: fc.integer({ min: 0, max: 3000 }), amount: fc.integer({ min: 1, max: 500 }) }),
    { minLength: 1, maxLength: 60 },
  );
  fc.assert(
    fc.property(rate, fc.integer({ min: 1, max: 20_000 }), steps, (ratePerSecond, burst, steps) => {
      let nowMs = 0;
      const bucket = new TokenBucket(ratePerSecond, burst, () => nowMs);
      const taken: { atMs: number; amount: number }[] = [];
      for (const { afterMs, amount } of steps) {
        nowMs += afterMs;
        if (bucket.level < amount) continue;
        bucket.take(amount);
        taken.push({ atMs: nowMs, amount });
      }
      for (let from = 0; from < taken.length; from += 1) {
        let sum = 0;
        for (const { atMs, amount } of taken.slice(from)) {
          sum += amount;
          const bound = burst + (ratePerSecond * (atMs - taken[from]!.atMs)) / 1000;
          assert.ok(sum <= bound + 1e-6, `${sum} taken, ${bound} allowed`);
        }
      }
    }),
  );
});

test('a debt is paid back first, and a new rate keeps the saved tokens within its burst', async () => {
  let nowMs = 0;
  const bucket = new TokenBucket(100, 50, () => nowMs);
  bucket.take(80);
  assert.equal(bucket.level, -30);
  nowMs += 300;
  assert.equal(bucket.level, 0);
  nowMs += 10_000;
  bucket.change(10, 20);
  assert.equal(bucket.level, 20);
  bucket.take(-100);
  assert.equal(bucket.level, 20);
  await bucket.positive(new AbortController().signal);
  bucket.take(40);
  await bucket.positive(AbortSignal.abort());
});

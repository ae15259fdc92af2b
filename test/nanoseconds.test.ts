/** Times of events as seconds and nanoseconds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TimestampParts } from '../src/nanoseconds.js';
import { runs } from './harness/runs.js';

test('seconds and nanoseconds are those of the time, however far it is from the one before', () => {
  const times = fc.oneof(fc.bigInt(0n, 2n ** 63n), fc.bigInt(1_790_000_000_000_000_000n, 1_790_000_003_000_000_000n));
  fc.assert(
    fc.property(fc.array(times, { minLength: 1 }), (all) => {
      const parts = new TimestampParts();
      for (const wallNs of all) {
        parts.split(wallNs);
        assert.equal(BigInt(parts.seconds), wallNs / 1_000_000_000n);
        assert.equal(BigInt(parts.nanos), wallNs % 1_000_000_000n);
      }
    }),
    { numRuns: runs(100) },
  );
});

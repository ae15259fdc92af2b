/** The rate of history that a node may send, with leases of its broker and without. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TokenBucket } from '../../../src/flow/token-bucket.js';
import { HISTORY_OVERDRAFT_BYTES } from '../../../src/limits.js';
import { Allowance } from '../../../src/sensor-agent/history/allowance.js';
import { type Budget, LiveBudget } from '../../../src/sensor-agent/publish/budget.js';

const OWN: Budget = {
  live: { bytesPerSecond: 1e9, eventsPerSecond: 1_000, burstMs: 1_000 },
  history: { bytesPerSecond: 2_000_000, burstMs: 1_000 },
};

/** A second's worth, less what the last frame may overdraw. */
const burst = (bytes: number) => bytes - HISTORY_OVERDRAFT_BYTES;

test("a leased rate holds until it runs out, then the fallback; without a broker the node's own rate holds", () => {
  const nowMs = 0;
  const history = new TokenBucket(2_000_000, 2_000_000, () => nowMs);
  const live = new LiveBudget(OWN.live, () => nowMs);
  const allowance = new Allowance(OWN, live, history);
  const budget = (events: number, historyBytes: number) => ({
    liveBytesPerSecond: '0',
    liveEventsPerSecond: String(events),
    historyBytesPerSecond: String(historyBytes),
    burstMs: 0,
  });
  allowance.lease({ budget: budget(50, 500_000), validMs: 10, fallback: budget(100, 700_000) }, 0);
  assert.deepEqual([live.burstEventsMax, history.burstMax], [50, burst(500_000)]);
  allowance.expire(9);
  assert.equal(history.burstMax, burst(500_000));
  allowance.expire(10);
  assert.deepEqual([live.burstEventsMax, history.burstMax], [100, burst(700_000)]);
  allowance.lease({ budget: budget(0, 300_000), validMs: 0, fallback: null }, 20);
  allowance.expire(1e12);
  assert.deepEqual([live.burstEventsMax, history.burstMax], [1_000, burst(300_000)]);
  allowance.end();
  assert.equal(history.burstMax, burst(2_000_000));
});

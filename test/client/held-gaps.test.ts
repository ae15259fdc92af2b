/** Gaps that a client holds until the cursor behind them is known. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeldGaps } from '../../src/client/held-gaps.js';
import type { SubscribeItem } from '../../src/client/subscribe-item.js';
import { HELD_GAPS_MAX } from '../../src/limits.js';

const gap = { kind: 'gap' } as SubscribeItem;
const watermark = { kind: 'watermark' } as SubscribeItem;

test('each gap is told together with the cursor behind it', () => {
  const gaps = new HeldGaps();
  assert.deepEqual([...gaps.pass(gap), ...gaps.pass(gap)], []);
  assert.deepEqual([...gaps.pass(watermark)], [gap, gap, watermark]);
  assert.deepEqual([...gaps.pass(watermark)], [watermark]);
});

test('a broker that sends gaps without a cursor cannot make a client hold more than a bounded number', () => {
  const gaps = new HeldGaps();
  let told = 0;
  for (let sent = 1; sent <= 5 * HELD_GAPS_MAX; sent += 1) {
    told += [...gaps.pass(gap)].length;
    assert.ok(sent - told <= HELD_GAPS_MAX);
  }
  assert.equal(told + gaps.take().length, 5 * HELD_GAPS_MAX);
});

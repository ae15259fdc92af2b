/** How often those are told of silence for whom nothing comes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SilencePace } from '../../../../src/broker/delivery/live/silence-pace.js';
import {
  NOTICE_INTERVAL_MS,
  SILENCE_INTERVAL_MS_MAX,
  SILENCES_PER_SECOND,
  SUBSCRIPTIONS_MAX,
} from '../../../../src/limits.js';

test('few are told each second; many together no oftener than the bound, and none of them after more than the longest time', () => {
  for (const count of [1, SILENCES_PER_SECOND, 2_000, 5_000, SUBSCRIPTIONS_MAX]) {
    const pace = new SilencePace();
    const leave = Array.from({ length: count }, () => pace.join());
    const intervals = Array.from({ length: 1_000 }, () => pace.intervalMs());
    const mean = intervals.reduce((sum, ms) => sum + ms, 0) / intervals.length;
    for (const ms of intervals) assert.ok(ms >= NOTICE_INTERVAL_MS * 0.75 && ms <= SILENCE_INTERVAL_MS_MAX * 1.25);
    if (count <= SILENCES_PER_SECOND) assert.equal(mean, NOTICE_INTERVAL_MS);
    if (mean < SILENCE_INTERVAL_MS_MAX * 0.9) assert.ok((count / mean) * 1000 <= SILENCES_PER_SECOND * 1.1, `${count}`);
    for (const each of leave) each();
    assert.equal(pace.intervalMs(), NOTICE_INTERVAL_MS);
  }
});

/** How long a client waits before it connects again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reconnectDelayMs } from '../../src/flow/reconnect.js';
import {
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  RECONNECT_SOON_ATTEMPTS,
  RECONNECT_SOON_MS_MAX,
} from '../../src/limits.js';

test('attempts are close together while a broker may be restarting, and become rare when that lasts', () => {
  for (let failures = 1; failures <= 100; failures += 1) {
    assert.equal(reconnectDelayMs(failures, true, 0), RECONNECT_MS_MIN);
    const longestMs = reconnectDelayMs(failures, true, 1);
    const most = failures > RECONNECT_SOON_ATTEMPTS ? RECONNECT_MS_MAX : RECONNECT_SOON_MS_MAX;
    assert.ok(longestMs > RECONNECT_MS_MIN && longestMs <= most, `${failures}: ${longestMs} ms`);
    assert.ok(longestMs >= reconnectDelayMs(failures - 1, true, 1));
  }
  assert.equal(reconnectDelayMs(RECONNECT_SOON_ATTEMPTS, true, 1), RECONNECT_SOON_MS_MAX);
  assert.equal(reconnectDelayMs(1_000_000, true, 1), RECONNECT_MS_MAX);
});

test('attempts become rare soon where the broker answers and the session fails all the same', () => {
  assert.equal(reconnectDelayMs(1, false, 1), reconnectDelayMs(1, true, 1));
  assert.equal(reconnectDelayMs(6, false, 1), RECONNECT_MS_MAX);
});

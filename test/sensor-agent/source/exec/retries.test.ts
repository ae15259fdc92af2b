/** When a probe that failed is tried again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Retries } from '../../../../src/sensor-agent/source/exec/retries.js';

const [MIN, MAX] = [1_000, 60_000];

/** How long it is not due after it failed at `atMs`. */
function waitOf(retries: Retries, atMs: number): number {
  let waitMs = 0;
  while (!retries.isDue(atMs + waitMs)) waitMs += MIN / 2;
  return waitMs;
}

test('what fails is tried again soon, then twice as late each time, up to a bound', () => {
  const retries = new Retries(MIN, MAX);
  assert.ok(retries.isDue(0));
  const waits = Array.from({ length: 8 }, (_, at) => {
    retries.failed(at * MAX);
    return waitOf(retries, at * MAX);
  });
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
});

test('failures of a kind that costs nothing have a bound of their own, and make the others no later', () => {
  const retries = new Retries(MIN, MAX);
  const waits = Array.from({ length: 6 }, () => {
    retries.failed(0, 4_000);
    return waitOf(retries, 0);
  });
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 4_000, 4_000, 4_000]);
  retries.failed(0);
  assert.equal(waitOf(retries, 0), 4_000);
});

test('what fails again as soon as it holds is tried as late as if it never had; what held for long, soon', () => {
  const retries = new Retries(MIN, MAX);
  for (const atMs of [0, MIN, 2 * MIN]) {
    retries.failed(atMs);
    retries.held(atMs);
  }
  retries.failed(3 * MIN);
  assert.equal(waitOf(retries, 3 * MIN), 8_000);
  retries.held(4 * MIN);
  retries.failed(4 * MIN + MAX);
  assert.equal(waitOf(retries, 4 * MIN + MAX), MIN);
});

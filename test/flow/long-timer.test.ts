/** Timers longer than Node can count. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startLongTimer } from '../../src/flow/long-timer.js';

const DAY_MS = 86_400_000;

test('a timer of any length fires once and on time, though Node cannot count that far', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const asked = t.mock.method(globalThis, 'setTimeout');
  let nowMs = 0;
  const fired: number[] = [];
  for (const days of [0, 1, 24, 25, 50, 400])
    startLongTimer(
      days * DAY_MS,
      () => fired.push(days),
      () => nowMs,
    );
  const release = startLongTimer(
    30 * DAY_MS,
    () => fired.push(-1),
    () => nowMs,
  );
  for (let day = 0; day < 500; day++) {
    assert.deepEqual(
      fired,
      [0, 1, 24, 25, 50, 400].filter((days) => day > 0 && days <= day),
    );
    if (day === 29) release();
    for (let hour = 0; hour < 24; hour++) {
      nowMs += DAY_MS / 24;
      t.mock.timers.tick(DAY_MS / 24);
    }
  }
  for (const { arguments: given } of asked.mock.calls) assert.ok(Number(given[1]) < 2 ** 31);
});

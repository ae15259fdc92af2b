/** Timers longer than Node can count, and one that many share. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everySecond, startLongTimer } from '../../src/flow/long-timer.js';

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

test('all looks of a second are done by one timer, which is there only while there are any', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const timers = t.mock.method(globalThis, 'setInterval');
  const seen: string[] = [];
  const ends = ['a', 'b'].map((name) => everySecond(() => seen.push(name)));
  t.mock.timers.tick(1_000);
  ends[0]!();
  t.mock.timers.tick(1_000);
  assert.deepEqual(seen.splice(0), ['a', 'b', 'b']);
  assert.equal(timers.mock.callCount(), 1);
  ends[1]!();
  t.mock.timers.tick(5_000);
  everySecond(() => seen.push('c'))();
  assert.deepEqual(seen, []);
  assert.equal(timers.mock.callCount(), 2);
});

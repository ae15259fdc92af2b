/** The harness's way to wait for a condition. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settled, until } from './until.js';

const never = () => false;

test('a wait ends with the value that its condition returns, or with the error that it throws', async () => {
  let count = 0;
  assert.equal(await until('three', () => ++count === 3 && count), 3);
  assert.equal(await until('zero is something', async () => 0), 0);
  await assert.rejects(
    until('nothing', () => assert.fail('it has ended')),
    /it has ended/,
  );
  assert.equal(await settled('a value', Promise.resolve(7)), 7);
  await assert.rejects(settled('a failure', Promise.reject(new Error('of its own'))), /of its own/);
});

test('a wait goes on while its progress changes, and fails after 60 s without a change, telling the last progress', async (t) => {
  let nowMs = 0;
  t.mock.method(performance, 'now', () => nowMs);
  let looks = 0;
  const waiting = until(
    'the impossible',
    () => {
      looks += 1;
      nowMs += 1_000;
      return false;
    },
    () => Math.min(looks, 50),
  );
  await assert.rejects(waiting, /^AssertionError.*: the impossible: no progress for 60 s; last seen: 50$/);
  // A machine that is twice as crowded is given twice the time.
  assert.ok(looks > 110, `${looks} looks`);
});

test("time in which the test's own process did not run does not count towards giving up", async (t) => {
  let nowMs = 0;
  t.mock.method(performance, 'now', () => nowMs);
  let looks = 0;
  const found = until('the tenth look', () => {
    nowMs += 3_600_000;
    return ++looks === 10 && looks;
  });
  assert.equal(await found, 10);
  await assert.rejects(
    until('never', () => {
      nowMs += 3_600_000;
      return never();
    }),
    /nothing to see progress by/,
  );
});

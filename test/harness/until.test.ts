/** The harness's way to wait for a condition. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Clock, settled, until } from './until.js';

const never = () => false;

/** A clock that a condition sets forward, as if each look took so long. */
class LooksTakeTime implements Clock {
  looks = 0;
  #nowMs = 0;

  readonly now = () => this.#nowMs;
  readonly sleep = () => nextTurn();

  look(tookMs: number): number {
    this.#nowMs += tookMs;
    return ++this.looks;
  }
}

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

test('a wait goes on while its progress changes, and fails after 60 s without a change, telling the last progress', async () => {
  const clock = new LooksTakeTime();
  const waiting = until(
    'the impossible',
    () => {
      clock.look(1_000);
      return false;
    },
    () => Math.min(clock.looks, 50),
    clock,
  );
  await assert.rejects(waiting, /^AssertionError.*: the impossible: no progress for 60 s; last seen: 50$/);
  // A machine that is twice as crowded is given twice the time.
  assert.ok(clock.looks > 110, `${clock.looks} looks`);
});

test("time in which the test's own process did not run does not count towards giving up", async () => {
  const clock = new LooksTakeTime();
  const ten = () => clock.look(3_600_000) === 10 && clock.looks;
  assert.equal(await until('the tenth look', ten, undefined, clock), 10);
  const none = () => {
    clock.look(3_600_000);
    return never();
  };
  await assert.rejects(until('never', none, undefined, clock), /nothing to see progress by/);
});

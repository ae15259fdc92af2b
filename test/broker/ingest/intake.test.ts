/** What all agents send is taken in in turns, and so much of it at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Intake } from '../../../src/broker/ingest/intake.js';
import { INTAKE_BYTES_MAX, INTAKE_GATHER_MS, INTAKE_MESSAGE_BYTES, MiB, TURN_MS } from '../../../src/limits.js';
import { until } from '../../harness/until.js';

const HALF = INTAKE_BYTES_MAX / 2 - INTAKE_MESSAGE_BYTES;

test('what a log has not taken is bounded, by partition, and others wait in order until it is free', async () => {
  const intake = new Intake();
  const begun: string[] = [];
  const frees: (() => void)[] = [];
  const take = (partition: number, name: string, bytes = HALF) =>
    intake.take(partition, bytes, (free) => {
      begun.push(name);
      frees.push(free);
    });
  for (const name of ['a', 'b', 'c', 'd']) take(0, name);
  take(1, 'other');
  await turn();
  await turn();
  assert.deepEqual(begun, ['a', 'b', 'other']);
  // Freed once, however often that is said.
  for (let times = 0; times < 3; times++) frees[0]!();
  await turn();
  await turn();
  assert.deepEqual(begun, ['a', 'b', 'other', 'c']);
  // A small one does not pass those before it.
  take(0, 'small', 1);
  frees[1]!();
  await turn();
  await turn();
  assert.deepEqual(begun, ['a', 'b', 'other', 'c', 'd']);
  frees[3]!();
  await turn();
  await turn();
  assert.deepEqual(begun.at(-1), 'small');
  // What is in the log counts, with all the time for which it waited.
  const { messages, bytes, tookMs } = intake.takeLoad();
  assert.deepEqual({ messages, bytes }, { messages: 3, bytes: 3 * HALF });
  assert.ok(tookMs > 0, `${tookMs} ms`);
  assert.equal(intake.takeLoad().messages, 0);
});

test('small messages count with what decoding them takes', () => {
  const intake = new Intake();
  let begun = 0;
  // All in one turn, however slow the machine: only the bound is asked here.
  const before = performance.now;
  performance.now = () => 0;
  try {
    for (let at = 0; at < 10_000; at++) intake.take(3, 10, () => begun++);
  } finally {
    performance.now = before;
  }
  assert.ok(begun > 0 && begun * INTAKE_MESSAGE_BYTES <= INTAKE_BYTES_MAX + MiB, `${begun} at once`);
});

test('what comes soon after a turn has begun gathers, and begins together in its order', async () => {
  const intake = new Intake();
  const begun: string[] = [];
  const take = (name: string, partition: number) =>
    intake.take(partition, 10, (free) => {
      begun.push(name);
      free();
    });
  const before = performance.now;
  // No time passes, however slow the machine.
  performance.now = () => 0;
  try {
    take('first', 0);
    assert.deepEqual(begun, ['first']);
    await turn();
    await turn();
    take('second', 0);
    take('third', 0);
    assert.deepEqual(begun, ['first']);
  } finally {
    performance.now = before;
  }
  await until('they have begun', () => begun.length === 3);
  assert.deepEqual(begun, ['first', 'second', 'third']);
});

test('a round of the event loop has one turn, also where what gathers is due within one', async () => {
  const intake = new Intake();
  let [begun, nowMs] = [0, 0];
  const before = performance.now;
  performance.now = () => nowMs;
  try {
    intake.take(0, 10, () => undefined);
    await turn();
    await turn();
    for (let at = 0; at < 5; at++)
      intake.take(0, 10, () => {
        begun++;
        // As long as a whole turn.
        nowMs += TURN_MS;
      });
    nowMs = INTAKE_GATHER_MS;
    // Its timer is late: another partition begins the turn.
    intake.take(1, 10, () => undefined);
    const dueMs = Date.now() + 2 * INTAKE_GATHER_MS;
    while (Date.now() < dueMs);
    for (let last = 0; begun < 5; last = begun) {
      await turn();
      assert.ok(begun - last <= 1, `${begun - last} at once`);
    }
  } finally {
    performance.now = before;
  }
});

test('after its turn all else has one, and the partitions go on in turns', async () => {
  const intake = new Intake();
  const begun: number[] = [];
  const slowly = (partition: number) =>
    intake.take(partition, 100, (free) => {
      const untilMs = performance.now() + 1;
      while (performance.now() < untilMs);
      begun.push(partition);
      free();
    });
  for (let at = 0; at < 60; at++) slowly(0);
  for (let at = 0; at < 10; at++) slowly(1);
  const atFirst = begun.length;
  assert.ok(atFirst > 0 && atFirst < 70, `${atFirst} of 70 before anything else`);
  let turns = 0;
  for (; begun.length < 70; turns++) await turn();
  assert.ok(turns > 1, 'others had several turns meanwhile');
  const last = begun.lastIndexOf(1);
  assert.ok(last < 69, 'the few of a partition do not wait for the many of another');
});

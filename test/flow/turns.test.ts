/** Work that never waits gives others their turn, and has more of its own where theirs take long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns } from '../../src/flow/turns.js';
import { TURN_MS, TURN_MS_MAX, TURN_SHARE } from '../../src/limits.js';

const clock = { ms: 0 };
const now = () => clock.ms;
/** What everything else takes while these have given it its turn. */
const give = async (turns: readonly Turns[], ms: number) => {
  setImmediate(() => {
    clock.ms += ms;
  });
  await Promise.all(turns.map((each) => each.give()));
};
/** How long its turn is. */
const lengthOf = (turns: Turns) => {
  const sinceMs = clock.ms;
  while (!turns.over) clock.ms += 1;
  return clock.ms - sinceMs;
};

test('a turn is a share of what all else took, at least the shortest one', async () => {
  const turns = new Turns(now);
  assert.equal(lengthOf(turns), TURN_MS);
  await give([turns], 1);
  assert.equal(lengthOf(turns), TURN_MS);
  await give([turns], 400);
  assert.equal(lengthOf(turns), 400 * TURN_SHARE);
  await give([turns], 60_000);
  assert.equal(lengthOf(turns), TURN_MS_MAX, 'after the process stood still');
  await give([turns], 400);
  turns.waited();
  assert.equal(lengthOf(turns), TURN_MS);
});

test('those who give at the same time share it', async () => {
  const all = Array.from({ length: 20 }, () => new Turns(now));
  await give(all, 4_000);
  const sinceMs = clock.ms;
  let sum = 0;
  for (let left = all; left.length > 0; left = left.filter((turns) => !turns.over)) {
    sum += left.length;
    clock.ms += 1;
  }
  assert.ok(clock.ms - sinceMs < 4_000 * TURN_SHARE, 'none has all of it');
  assert.ok(sum <= 4_000 * TURN_SHARE * 1.4 + all.length, `${sum} ms of turns`);
});

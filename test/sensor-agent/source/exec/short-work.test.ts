/** Work within a share of a core. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ShortWork } from '../../../../src/sensor-agent/source/exec/short-work.js';

test('work is done within a share of a core, and left undone beyond; what others took is not charged', () => {
  let nowMs = 0;
  const work = new ShortWork(0.25, 10, 2, () => nowMs);
  const piece = (tookMs: number) =>
    work.run(() => {
      nowMs += tookMs;
      return tookMs;
    });
  let [done, undone] = [0, 0];
  for (const endMs = nowMs + 4_000; nowMs < endMs; ) {
    if (piece(1) === undefined) {
      undone += 1;
      nowMs += 1;
    } else done += 1;
  }
  assert.ok(done >= 900 && done <= 1_100, `${done} of ${done + undone}`);
  nowMs += 1_000;
  assert.deepEqual(piece(500), { result: 500 });
  assert.deepEqual(piece(1), { result: 1 }, 'only 2 ms of it were charged');
});

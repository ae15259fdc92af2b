/** What is held against a group: commits that a power cut may have taken back, and no others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sliceOf } from '../../../src/broker/groups/slice.js';
import type { Line } from './members.js';
import { findings } from './processed.js';

const NODE = 'n';
const SLICES = 8;
const slice = sliceOf(NODE, SLICES);
const CUT = { fromMs: 100, cutMs: 200, toMs: 200 };

const assigned = (ms: number, epoch: number): Line => ({ kind: 'a', ms, slice, epoch });
const given = (ms: number, epoch: number, ...numbers: number[]): Line => ({
  ...{ kind: 'd', ms, slice, epoch, node: NODE, numbers },
});
const committed = (askedMs: number, ms: number, epoch: number, lines: number): Line => ({
  ...{ kind: 'c', ms, askedMs, slices: [[slice, epoch, lines]] },
});

function found(lines: readonly Line[], upTo = 1, damaged = false, toMs = CUT.toMs): string {
  const { violations } = findings([{ name: 'm', lines }], SLICES, new Map([[NODE, upTo]]), {
    cuts: [{ ...CUT, toMs }],
    damaged,
  });
  return violations.join('\n');
}

test('what a power cut took back may come again, behind it; what was committed before or after may not', () => {
  const first = [assigned(1, 7), given(2, 7, 0), given(3, 7, 1)];
  const second = (ms: number) => [assigned(ms, 8), given(ms, 8, 0, 1)];
  assert.equal(found([...first, committed(90, 100, 7, 2), ...second(210)]), '');
  assert.equal(found([...first, committed(200, 290, 7, 2), ...second(300)]), '');
  assert.match(found([...first, committed(50, 99, 7, 2), ...second(210)]), /n:0 in epoch 8 .* was committed before/);
  assert.match(found([...first, committed(201, 205, 7, 2), ...second(210)]), /was committed before/);
  assert.match(found([...first, committed(150, 151, 7, 2), ...second(199)]), /was committed before/);
  // A server that has other messages may come to lead.
  assert.equal(found([...first, committed(240, 250, 7, 2), ...second(300)], 1, false, 260), '');
  assert.match(found([...first, committed(261, 270, 7, 2), ...second(300)], 1, false, 260), /was committed before/);
  // The second commit holds what the first one held, too; of what follows it the cut took the commit.
  const again = [...first, committed(110, 120, 7, 1), committed(220, 230, 7, 1), ...second(240)];
  assert.match(found(again), /^n:0 in epoch 8 .* was committed before, in epoch 7 at 230$/);
});

test('an epoch falls where one is committed in after a later one was given, or is given twice', () => {
  const lines = [assigned(1, 7), given(2, 7, 0), assigned(3, 8), given(4, 8, 1)];
  assert.equal(found([...lines, committed(3, 9, 7, 1), committed(10, 11, 8, 1)]), '');
  assert.match(found([...lines, committed(4, 9, 7, 1)]), /epoch 7 was committed in after there was epoch 8/);
  assert.match(found([...lines, assigned(300, 8)]), /epoch 8 of slice \d was given to m and to m/);
});

test('of what a power cut took back nothing is left out in between, although it was processed before', () => {
  const first = [assigned(1, 7), given(2, 7, 0, 1, 2)];
  assert.equal(found([...first, assigned(210, 8), given(211, 8, 0, 1), given(212, 8, 2)], 2), '');
  const skipping = [...first, assigned(210, 8), given(211, 8, 0), given(212, 8, 2)];
  assert.match(found(skipping, 2), /^n:2 in epoch 8 .* came after 0: what is between was left out$/);
  assert.equal(found(skipping, 2, true), '');
});

test('what is missing must be told, and only damage excuses it', () => {
  const lines = [assigned(1, 7), given(2, 7, 0, 1)];
  const gap: Line = { kind: 'g', ms: 3, text: `damaged ${NODE} 0` };
  assert.match(found(lines, 2), /n lacks 1 of 3: 2/);
  assert.match(found(lines, 2, true), /n lacks 1 of 3: 2/);
  assert.match(found([...lines, gap], 2), /n lacks 1 of 3: 2.*\n.*was told a gap: damaged n 0/);
  assert.equal(found([...lines, gap], 2, true), '');
  // A power cut may take what says where a slice stood, but no events.
  const unknown: Line = { kind: 'g', ms: 3, text: `expired ${NODE} 0` };
  assert.equal(found([...lines, unknown]), '');
  assert.match(found([...lines, unknown], 2), /^n lacks 1 of 3: 2 \.\.\.$/);
});

/** When the agent gives up work because it takes too much of the machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GUARD_CALM_MS, GUARD_CALM_SHARE, GUARD_WINDOW_MS } from '../../../src/limits.js';
import { OverheadGuard } from '../../../src/sensor-agent/guard/overhead-guard.js';

const MIB = 2 ** 20;
const BOUNDS = { cpuShare: 0.5, residentBytes: 100 * MIB };
const LEVEL_MAX = 3;

/** Seconds of one load each, a sample a second; the levels after each. */
function levels(guard: OverheadGuard, seconds: readonly (readonly [cpuShare: number, mebibytes: number])[]): number[] {
  let [nowMs, cpuMs] = [0, 0];
  guard.sample({ nowMs, cpuMs, residentBytes: 0 }, LEVEL_MAX);
  return seconds.map(([cpuShare, mebibytes]) => {
    nowMs += 1_000;
    cpuMs += cpuShare * 1_000;
    guard.sample({ nowMs, cpuMs, residentBytes: mebibytes * MIB }, LEVEL_MAX);
    return guard.level;
  });
}

const lasting = (seconds: number, cpuShare: number, mebibytes = 10) =>
  Array.from({ length: seconds }, () => [cpuShare, mebibytes] as const);

test('the guard takes one step per window over a bound, up to the last step', () => {
  const found = levels(new OverheadGuard(BOUNDS), lasting(60, 0.6));
  for (const [step, seconds] of [10, 20, 30].entries()) {
    assert.deepEqual([found[seconds - 2], found[seconds - 1]], [step, step + 1]);
  }
  assert.equal(found.at(-1), LEVEL_MAX);
});

test('memory counts as CPU does, except short peaks of garbage', () => {
  assert.equal(levels(new OverheadGuard(BOUNDS), lasting(12, 0, 101)).at(-1), 1);
  const sawtooth = Array.from({ length: 60 }, (_, at) => [0, at % 5 === 0 ? 90 : 140] as const);
  assert.equal(levels(new OverheadGuard(BOUNDS), sawtooth).at(-1), 0);
});

test('a step is undone when both values were well below their bounds for long, and not in between', () => {
  const guard = new OverheadGuard(BOUNDS);
  const found = levels(guard, [...lasting(20, 0.9), ...lasting(100, 0.45), ...lasting(39, 0.1), ...lasting(2, 0.1)]);
  assert.equal(found[19], 2);
  assert.equal(found[119], 2, 'below the bound, but not well below it');
  assert.equal(found.at(-1), 1);
});

test('without bounds the guard never takes a step', () => {
  const guard = new OverheadGuard({ cpuShare: Number.POSITIVE_INFINITY, residentBytes: Number.POSITIVE_INFINITY });
  assert.equal(Math.max(...levels(guard, lasting(100, 8, 100_000))), 0);
});

test('levels move by one, up only over a bound, and down only after calm', () => {
  const second = fc.tuple(fc.constantFrom(0.1, 0.4, 0.6, 2), fc.constantFrom(10, 90, 120));
  fc.assert(
    fc.property(fc.array(second, { minLength: 1, maxLength: 200 }), (seconds) => {
      const found = [0, ...levels(new OverheadGuard(BOUNDS), seconds)];
      const window = GUARD_WINDOW_MS / 1_000;
      for (let at = 1; at < found.length; at++) {
        const change = found[at]! - found[at - 1]!;
        assert.ok(Math.abs(change) <= 1);
        const recent = seconds.slice(Math.max(0, at - window), at);
        if (change > 0) {
          const over =
            recent.some(([cpu]) => cpu > BOUNDS.cpuShare) || recent.every(([, mebibytes]) => mebibytes > 100);
          assert.ok(over);
        }
        if (change < 0) {
          const calm = seconds.slice(Math.max(0, at - GUARD_CALM_MS / 1_000), at);
          const mean = calm.reduce((sum, [cpu]) => sum + cpu, 0) / calm.length;
          assert.ok(mean <= BOUNDS.cpuShare * GUARD_CALM_SHARE + 1e-9);
        }
      }
    }),
    { endOnFailure: true },
  );
});

test('start-up on a slow machine is no overload, and overload afterwards is', () => {
  const startUpMs = 40_000;
  const settles = levels(new OverheadGuard(BOUNDS, startUpMs), [...lasting(30, 0.9), ...lasting(60, 0.2)]);
  assert.equal(Math.max(...settles), 0);
  const goesOn = levels(new OverheadGuard(BOUNDS, startUpMs), lasting(60, 0.9));
  assert.deepEqual([goesOn[48], goesOn[50]], [0, 1], 'a window behind the start');
  const again = levels(new OverheadGuard(BOUNDS, startUpMs), [...lasting(2, 0.2), ...lasting(12, 0.9)]);
  assert.equal(again.at(-1), 1, 'the start is over with the first calm second');
});

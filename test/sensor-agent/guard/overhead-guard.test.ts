/** When the agent gives up work because it takes too much of the machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GUARD_CALM_MEMORY_SHARE, GUARD_CALM_MS, GUARD_CALM_SHARE, GUARD_WINDOW_MS } from '../../../src/limits.js';
import { OverheadGuard } from '../../../src/sensor-agent/guard/overhead-guard.js';

const MIB = 2 ** 20;
const RESIDENT_MAX = 100 * MIB;
/** Share of a core that is allowed throughout. */
const ALLOWED = 0.5;
const LEVELS = { max: 3, savesMemory: 2 };

/** Seconds of one load each, a sample a second; the levels after each. */
function levels(
  guard: OverheadGuard,
  seconds: readonly (readonly [cpuShare: number, mebibytes: number, owes?: boolean])[],
  allowed = ALLOWED,
): number[] {
  let [nowMs, cpuMs, allowedMs] = [0, 0, 0];
  guard.sample({ nowMs, cpuMs, allowedMs, residentBytes: 0, owes: false }, LEVELS);
  return seconds.map(([cpuShare, mebibytes, owes = false]) => {
    nowMs += 1_000;
    cpuMs += cpuShare * 1_000;
    allowedMs += allowed * 1_000;
    guard.sample({ nowMs, cpuMs, allowedMs, residentBytes: mebibytes * MIB, owes }, LEVELS);
    return guard.level;
  });
}

const lasting = (seconds: number, cpuShare: number, mebibytes = 10) =>
  Array.from({ length: seconds }, () => [cpuShare, mebibytes] as const);

test('the guard takes one step per window over a bound, up to the last step', () => {
  const found = levels(new OverheadGuard(RESIDENT_MAX), lasting(60, 0.6));
  for (const [step, seconds] of [10, 20, 30].entries()) {
    assert.deepEqual([found[seconds - 2], found[seconds - 1]], [step, step + 1]);
  }
  assert.equal(found.at(-1), LEVELS.max);
});

test('memory counts as CPU does, except short peaks of garbage', () => {
  const crowded = levels(new OverheadGuard(RESIDENT_MAX), lasting(12, 0, 101)).at(-1);
  assert.equal(crowded, LEVELS.savesMemory, 'what does not save any is passed over');
  const sawtooth = Array.from({ length: 60 }, (_, at) => [0, at % 5 === 0 ? 90 : 140] as const);
  assert.equal(levels(new OverheadGuard(RESIDENT_MAX), sawtooth).at(-1), 0);
});

test('a step is undone when both values were well below their bounds for long, and not in between', () => {
  const guard = new OverheadGuard(RESIDENT_MAX);
  const found = levels(guard, [...lasting(20, 0.9), ...lasting(100, 0.45), ...lasting(39, 0.1), ...lasting(2, 0.1)]);
  assert.equal(found[19], 2);
  assert.equal(found[119], 2, 'below the bound, but not well below it');
  assert.equal(found.at(-1), 1);
  const crowded = new OverheadGuard(RESIDENT_MAX);
  const stays = levels(crowded, [...lasting(12, 0, 101), ...lasting(100, 0, 95), ...lasting(41, 0, 85)]);
  assert.deepEqual([stays[111], stays.at(-1)], [2, 1]);
});

test('no step is undone while what was put off is still to be done', () => {
  const owing = Array.from({ length: 100 }, () => [0.1, 10, true] as const);
  const found = levels(new OverheadGuard(RESIDENT_MAX), [...lasting(20, 0.9), ...owing, ...lasting(41, 0.1)]);
  assert.deepEqual([found[119], found.at(-1)], [2, 1]);
});

test('what is allowed is what was allowed within the window, however it changed', () => {
  const guard = new OverheadGuard(RESIDENT_MAX);
  let allowedMs = 0;
  const at = (second: number, cpuShare: number) => {
    // Somebody listens in every other second: two tenths of a core instead of one.
    allowedMs += second % 2 === 0 ? 200 : 100;
    const usage = { nowMs: second * 1_000, cpuMs: second * 1_000 * cpuShare, residentBytes: 0, owes: false };
    return guard.sample({ ...usage, allowedMs }, LEVELS);
  };
  for (let second = 0; second < 60; second += 1) assert.equal(at(second, 0.149), undefined);
  const over = new Array(60).fill(0).flatMap((_, second) => at(60 + second, 0.16) ?? []);
  assert.equal(Math.round(over[0]!.allowedShare * 100), 15);
});

test('without bounds the guard never takes a step', () => {
  const guard = new OverheadGuard(Number.POSITIVE_INFINITY);
  assert.equal(Math.max(...levels(guard, lasting(100, 8, 100_000), Number.POSITIVE_INFINITY)), 0);
});

test('levels move by one, up only over a bound, and down only after calm', () => {
  const second = fc.tuple(fc.constantFrom(0.1, 0.4, 0.6, 2), fc.constantFrom(10, 85, 95, 120), fc.boolean());
  fc.assert(
    fc.property(fc.array(second, { minLength: 1, maxLength: 200 }), (seconds) => {
      const found = [0, ...levels(new OverheadGuard(RESIDENT_MAX), seconds)];
      const window = GUARD_WINDOW_MS / 1_000;
      for (let at = 1; at < found.length; at++) {
        const change = found[at]! - found[at - 1]!;
        const recent = seconds.slice(Math.max(0, at - window), at);
        const crowded = recent.every(([, mebibytes]) => mebibytes > 100);
        assert.ok(Math.abs(change) <= 1 || (crowded && found[at] === LEVELS.savesMemory));
        if (change > 0) assert.ok(crowded || recent.some(([cpu]) => cpu > ALLOWED));
        if (change < 0) {
          const calm = seconds.slice(Math.max(0, at - GUARD_CALM_MS / 1_000), at);
          const mean = calm.reduce((sum, [cpu]) => sum + cpu, 0) / calm.length;
          assert.ok(mean <= ALLOWED * GUARD_CALM_SHARE + 1e-9);
          assert.ok(recent.some(([, mebibytes]) => mebibytes <= 100 * GUARD_CALM_MEMORY_SHARE));
          assert.ok(!calm.at(-1)![2]);
        }
      }
    }),
    { endOnFailure: true },
  );
});

test('start-up on a slow machine is no overload, and overload afterwards is', () => {
  const startUpMs = 40_000;
  const settles = levels(new OverheadGuard(RESIDENT_MAX, startUpMs), [...lasting(30, 0.9), ...lasting(60, 0.2)]);
  assert.equal(Math.max(...settles), 0);
  const goesOn = levels(new OverheadGuard(RESIDENT_MAX, startUpMs), lasting(60, 0.9));
  assert.deepEqual([goesOn[48], goesOn[50]], [0, 1], 'a window behind the start');
  const again = levels(new OverheadGuard(RESIDENT_MAX, startUpMs), [...lasting(2, 0.2), ...lasting(12, 0.9)]);
  assert.equal(again.at(-1), 1, 'the start is over with the first calm second');
});

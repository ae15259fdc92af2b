/** How soon the kernel's buffers are read again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  LEAST_LINGER_MS_MAX,
  LINGER_BEHIND_MS,
  LINGER_LOADED_BYTES_PER_SECOND,
  LINGER_PATHS_MS,
} from '../../src/limits.js';
import { type Doing, DrainPace } from '../../src/sensor-agent/drain-pace.js';
import { runs } from '../harness/runs.js';

const LIVE = { lingerMs: 100, lingerMsMin: 5 };
const IDLE_MS = 250;
const IDLE = { live: false, behind: false, paths: false };
const NOTHING = { pages: 0, bytes: 0, filled: 0 };
const LISTENING = { live: true, behind: false, paths: false };

/** After a drain that found nothing. */
function wait(doing: Doing, wishedMs = 0): number {
  const pace = new DrainPace(LIVE, IDLE_MS);
  pace.wish(wishedMs);
  pace.drained(NOTHING, 0);
  return pace.next(doing);
}

test('events gather for as long as nobody waits for them, or as subscribers wish within the settings', () => {
  assert.equal(wait(IDLE), IDLE_MS);
  assert.equal(wait(IDLE, 25), IDLE_MS);
  assert.equal(wait(LISTENING), 100);
  assert.equal(wait(LISTENING, 25), 25);
  assert.equal(wait(LISTENING, 1), 5);
  assert.equal(wait(LISTENING, 60_000), 100);
  assert.equal(wait({ ...LISTENING, paths: true }), LINGER_PATHS_MS);
  assert.equal(wait({ ...LISTENING, behind: true }), LINGER_BEHIND_MS);
});

test('no wish makes events gather for less than the broker grants; buffers are read as often as while nobody listens', () => {
  const pace = new DrainPace(LIVE, IDLE_MS);
  pace.wish(5);
  const after = (leastMs: number, gatherMs: number) => {
    pace.least(leastMs);
    pace.gather(gatherMs);
    pace.drained(NOTHING, 0);
    return [pace.next(LISTENING), pace.gatherMs];
  };
  assert.deepEqual(after(0, 0), [5, 0]);
  assert.deepEqual(after(50, 0), [50, 50]);
  assert.deepEqual(after(50, 80), [80, 80]);
  assert.deepEqual(after(500, 80), [IDLE_MS, 500]);
  assert.deepEqual(after(0xffff_ffff, 0), [IDLE_MS, LEAST_LINGER_MS_MAX]);
  assert.deepEqual(after(0, 0), [5, 0]);
});

test('where there was nothing for a second buffers are read half as often, until there is something', () => {
  for (const [wishedMs, soonMs, quietMs] of [
    [0, 100, 200],
    [25, 25, 50],
  ] as const) {
    const pace = new DrainPace(LIVE, IDLE_MS);
    pace.wish(wishedMs);
    const after = (found: Parameters<DrainPace['drained']>[0], nowMs: number) => {
      pace.drained(found, nowMs);
      return pace.next(LISTENING);
    };
    assert.equal(after({ pages: 1, bytes: 0, filled: 0 }, 5_000), soonMs);
    assert.equal(after(NOTHING, 5_999), soonMs);
    assert.equal(after(NOTHING, 6_000), quietMs);
    assert.equal(pace.next({ ...LISTENING, paths: true }), LINGER_PATHS_MS);
    assert.equal(after({ pages: 0, bytes: 0, filled: 0.001 }, 60_000), soonMs, 'a copy of arguments counts too');
  }
  const slow = new DrainPace({ lingerMs: 900, lingerMsMin: 5 }, IDLE_MS);
  slow.drained(NOTHING, 60_000);
  assert.equal(slow.next(LISTENING), 900, 'never sooner than asked for');
});

test('under load events gather for longer, unless a subscriber wishes them soon', () => {
  const pace = new DrainPace(LIVE, IDLE_MS);
  let nowMs = 0;
  const after = (bytesPerSecond: number, doing = LISTENING) => {
    nowMs += 100;
    pace.drained({ pages: 1, bytes: bytesPerSecond / 10, filled: 0 }, nowMs);
    return pace.next(doing);
  };
  after(0);
  assert.equal(after(LINGER_LOADED_BYTES_PER_SECOND - 100), 100);
  assert.equal(after(LINGER_LOADED_BYTES_PER_SECOND), 130);
  assert.equal(after(LINGER_LOADED_BYTES_PER_SECOND, { ...LISTENING, paths: true }), LINGER_PATHS_MS);
  pace.wish(25);
  assert.equal(after(LINGER_LOADED_BYTES_PER_SECOND), 25);
  pace.wish(0);
  assert.equal(after(0), 100, 'as soon as there is less');
});

test('where live events are to gather for longer, buffers are read no more often than while nobody listens', () => {
  const pace = new DrainPace(LIVE, IDLE_MS);
  pace.wish(25);
  for (const [ms, expected] of [
    [200, 200],
    [1_000, IDLE_MS],
    [0, 25],
  ] as const) {
    pace.gather(ms);
    assert.equal(pace.next(LISTENING), expected);
  }
  pace.gather(1_000);
  assert.equal(pace.next({ ...LISTENING, paths: true }), LINGER_PATHS_MS, 'what is recorded is no less');
});

test('slowed matching wakes the agent when it is its turn', () => {
  assert.equal(wait({ ...LISTENING, behind: true, restMs: 130 }), 130);
  assert.equal(wait({ ...LISTENING, behind: true, restMs: 0 }), LINGER_BEHIND_MS);
  assert.equal(wait({ ...LISTENING, behind: true, restMs: 130, paths: true }), LINGER_PATHS_MS);
});

test('a buffer that was not full at the first look is read before it is, also where its pace doubles', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.001, max: 0.004, noNaN: true }),
      fc.boolean(),
      fc.constantFrom(0, 0.5, 0.9),
      (perMs, doubles, asksAt) => {
        const pace = new DrainPace(LIVE, IDLE_MS);
        let nowMs = 0;
        let filled = 0;
        // What is asked meanwhile drains, too, as histories and new interests do.
        const drain = (ms: number, factor: number) => {
          nowMs += ms;
          filled = ms * perMs * factor;
          pace.drained({ bytes: 0, pages: 1, filled: Math.min(1, filled) }, nowMs);
        };
        drain(0, 1);
        // The first comes as late as an idle machine's; from there on the pace is known.
        let waitMs = pace.next(IDLE);
        for (let round = 0; round < 50; round += 1) {
          const factor = doubles && round % 2 === 1 ? 2 : 1;
          if (asksAt > 0) {
            drain(waitMs * asksAt, factor);
            if (round > 0) assert.ok(filled < 1, `${waitMs} ms at ${perMs}`);
          }
          drain(waitMs * (1 - asksAt), factor);
          if (round > 0) assert.ok(filled < 1, `${waitMs} ms at ${perMs}`);
          waitMs = pace.next(IDLE);
          assert.ok(waitMs > 0 && waitMs <= IDLE_MS);
          if (!doubles && round > 0) assert.ok(waitMs * perMs < 0.5, 'as soon as it was, whatever drained in between');
        }
      },
    ),
    { numRuns: runs(200) },
  );
});

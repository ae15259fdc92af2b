/** Live events and replays of the recording are the same. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { comparePositions } from '../../../src/wire/position.js';
import {
  CHANGING,
  changingStep,
  type RecordedStep,
  RecordingDriver,
  recordedStep,
  replayed,
  Told,
} from '../../harness/recording-driver.js';
import { runs } from '../../harness/runs.js';

function recorded(steps: readonly RecordedStep[], check: (driver: RecordingDriver, live: Told) => void): void {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  try {
    const live = new Told();
    const driver = new RecordingDriver(dir, live, undefined, undefined, CHANGING);
    for (const step of steps) {
      driver.step(step);
      if (step.crash) driver.crash();
    }
    driver.finish();
    check(driver, live);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What showed a process was not asked for when the agent began again, and then it is looked at. */
const QUIET = {
  entries: [],
  looked: undefined,
  named: undefined,
  lost: 0 as const,
  crash: false,
  wallStepNs: 0n as const,
};
const entry = (what: 'other' | 'exit') => [{ lane: 0, afterNs: 0n as const, pid: 2, what, read: 'at once' as const }];
const LOOKED_AT_UNKNOWN = [
  { ...QUIET, entries: entry('other') },
  { ...QUIET, crash: true },
  { ...QUIET, looked: 2 },
  { ...QUIET, entries: entry('exit') },
];

/** The first event of a container waits, an agent is killed and the next one names it. */
const NAMED_WHILE_IT_WAITS = [
  { ...QUIET, named: 'at once' as const },
  { ...QUIET, looked: 2 },
  {
    ...QUIET,
    entries: [
      ...entry('exit'),
      { lane: 1, afterNs: 1n as const, pid: 3, what: 'exit' as const, read: 'never' as const },
    ],
  },
  { ...QUIET, crash: true },
  { ...QUIET, named: 'at once' as const },
  { ...QUIET, entries: entry('exit') },
];

test('live events and replays from any checkpoint are the same, with crashes and without', () => {
  fc.assert(
    fc.property(fc.array(changingStep, { minLength: 1, maxLength: 25 }), (steps) => {
      recorded(steps, ({ recorder }, live) => {
        for (let at = 1; at < live.positions.length; at += 1) {
          assert.ok(comparePositions(live.positions[at - 1]!, live.positions[at]!) < 0, 'position order');
        }
        const whole = replayed(recorder, undefined);
        assert.equal(whole.damagedBytes, 0);
        assert.deepEqual(whole.events, live.events);
        assert.equal(whole.lost, live.lost);
        for (const { ordinal } of recorder.log.anchors()) {
          const part = replayed(recorder, ordinal);
          assert.deepEqual(
            part.events,
            live.events.slice(live.events.length - part.events.length),
            `anchor ${ordinal}`,
          );
        }
      });
    }),
    { numRuns: runs(20), examples: [[LOOKED_AT_UNKNOWN], [NAMED_WHILE_IT_WAITS]] },
  );
});

test('every recorded event is told exactly once', () => {
  fc.assert(
    fc.property(fc.array(recordedStep, { minLength: 1, maxLength: 15 }), (steps) => {
      recorded(steps, (_, live) => {
        const expected = steps.flatMap((step) => step.entries).length;
        assert.equal(live.events.length, expected);
        assert.equal(live.lateCount, 0);
      });
    }),
    { numRuns: runs(20) },
  );
});

/** What an agent had taken from the kernel, and was killed before it had recorded it, is a loss with its exact number. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { ORIGIN, RecordingDriver, recordedStep, replayed, Told } from '../../harness/recording-driver.js';
import { runs } from '../../harness/runs.js';

const STEP = fc.record({
  step: recordedStep,
  /** Entries that an agent takes behind the step and does not record, as it is killed; undefined: it goes on. */
  killedWith: fc.option(fc.nat(40), { nil: undefined }),
});

test('entries that killed agents took are lost, each once, whatever is recorded around them', () => {
  fc.assert(
    fc.property(fc.array(STEP, { maxLength: 40 }), (steps) => {
      const driver = new RecordingDriver(scratchDirectory('test'), new Told(), undefined, undefined, {
        entriesTaken: 0,
      });
      let [taken, lost] = [0, 0];
      for (const { step, killedWith } of steps) {
        driver.step({ ...step, lost: 0 });
        taken += step.entries.length;
        if (killedWith === undefined) continue;
        taken += killedWith;
        lost += killedWith;
        driver.open({ entriesTaken: taken });
        assert.equal(driver.recorder.timeline.taken.count, taken);
      }
      driver.finish();
      assert.equal(replayed(driver.recorder, undefined).lost, lost);
    }),
    { numRuns: runs(60) },
  );
});

test('nothing is lost where the buffers are others, where the kernel does not count, and where somebody emptied them', () => {
  const driver = new RecordingDriver(scratchDirectory('test'), new Told());
  const entries = Array.from(
    { length: 9 },
    () => ({ lane: 0, afterNs: 1n, pid: 7, what: 'fork', read: 'never' }) as const,
  );
  const record = () => driver.step({ entries, lost: 0, crash: false, wallStepNs: 0n });
  record();
  // An agent of before did not count.
  driver.open({ entriesTaken: 100 });
  record();
  driver.open();
  assert.equal(driver.recorder.timeline.taken.count, 109);
  driver.open({ entriesTaken: 5 });
  record();
  driver.open({ epoch: ORIGIN.epoch + 1, continued: false, entriesTaken: 0 });
  record();
  driver.finish();
  assert.equal(driver.recorder.timeline.taken.count, 9);
  assert.equal(replayed(driver.recorder, undefined).lost, 0);
  driver.open({ epoch: ORIGIN.epoch + 1, entriesTaken: 12 });
  driver.finish();
  assert.equal(replayed(driver.recorder, undefined).lost, 3);
});

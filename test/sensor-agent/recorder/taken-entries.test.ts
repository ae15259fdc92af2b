/** What an agent had taken from the kernel, and was killed before it had recorded it, is a loss with its exact number. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import {
  ORIGIN,
  type RecordedStep,
  RecordingDriver,
  recordedStep,
  replayed,
  Told,
} from '../../harness/recording-driver.js';
import { runs } from '../../harness/runs.js';

const fork = { lane: 0, afterNs: 1n, pid: 7, what: 'fork', read: 'never' } as const;

function forks(length: number): RecordedStep {
  return { entries: Array.from({ length }, () => fork), lost: 0, crash: false, wallStepNs: 0n };
}

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
  const record = () => driver.step(forks(9));
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

test('what a full disk has kept from the recording is not lost a second time, also where it is full at the next start', () => {
  const files = new FaultyFiles();
  const driver = new RecordingDriver(scratchDirectory('test'), new Told(), files.ops, undefined, { entriesTaken: 0 });
  const report = () => driver.recorder.reportLoss('tracefs', driver.nowNs);
  driver.step(forks(3));
  files.space = 0;
  driver.step(forks(50));
  driver.open({ entriesTaken: 53 });
  assert.ok(driver.recorder.hole);
  driver.step(forks(5));
  files.space = Number.POSITIVE_INFINITY;
  driver.step(forks(2));
  report();
  driver.step(forks(2));
  assert.equal(driver.recorder.timeline.taken.count, 62);
  driver.finish();
  const { lost } = replayed(driver.recorder, undefined);
  driver.open({ entriesTaken: 62 });
  driver.finish();
  assert.equal(replayed(driver.recorder, undefined).lost, lost);
});

test('what cannot be read of a damaged recording is damage, and not what an agent had taken', () => {
  const driver = new RecordingDriver(scratchDirectory('test'), new Told(), undefined, undefined, { entriesTaken: 0 });
  driver.step(forks(3));
  const { path, bytes: at } = driver.recorder.log.segments().at(-1)!;
  driver.step(forks(20));
  driver.step(forks(4));
  const bytes = readFileSync(path);
  bytes[at + 100]! ^= 1;
  writeFileSync(path, bytes);
  driver.open({ entriesTaken: 27 });
  driver.finish();
  const { damagedBytes, lost } = replayed(driver.recorder, undefined);
  assert.ok(damagedBytes > 0);
  assert.equal(lost, 0);
  assert.equal(driver.recorder.timeline.taken.count, 27);
});

test('the number is unknown where the kernel had overwritten entries: a page that is lost may have said how many', () => {
  for (const [killedWith, cut] of [
    [7, 0],
    [0, 10],
  ] as const) {
    const driver = new RecordingDriver(scratchDirectory('test'), new Told(), undefined, undefined, { entriesTaken: 0 });
    driver.step(forks(20));
    const { path, bytes } = driver.recorder.log.segments().at(-1)!;
    // A page that only says that entries were overwritten.
    if (cut > 0) driver.recorder.unrecorded(driver.nowNs);
    truncateSync(path, bytes + cut);
    driver.open({ entriesTaken: 20 + killedWith, overwritten: true });
    driver.finish();
    const [loss, ...others] = replayed(driver.recorder, undefined).losses;
    assert.deepEqual([loss?.unknown, others], [true, []]);
  }
});

for (const [what, steps] of [
  ['an agent that is killed while it writes', 20],
  ['the first agent ever, killed before it has read anything,', 0],
] as const) {
  test(`${what} loses what it had taken and nothing else, at any byte of its recording`, () => {
    const dir = scratchDirectory('test');
    const first = new RecordingDriver(dir, new Told(), undefined, undefined, { entriesTaken: 0 });
    for (let step = 0; step < steps; step++) first.step(forks(30));
    const newest = first.recorder.log.segments().at(-1)!;
    assert.equal(newest.firstOrdinal > 0, steps > 0);
    const bytes = statSync(newest.path).size;
    const between = Math.max(1, Math.floor(bytes / runs(120)));
    for (let end = 0; end < bytes + between; end += between) {
      const copy = scratchDirectory('test');
      cpSync(dir, copy, { recursive: true });
      truncateSync(join(copy, basename(newest.path)), Math.min(end, bytes));
      const driver = new RecordingDriver(copy, new Told(), undefined, first.nowNs, { entriesTaken: 30 * steps });
      driver.finish();
      const { events, losses } = replayed(driver.recorder, undefined);
      const missing = 30 * steps - events.filter((text) => text.includes('process.fork')).length;
      assert.deepEqual(
        losses.map(({ count, unknown, stated }) => ({ count, unknown, reason: stated?.reason })),
        missing > 0 ? [{ count: missing, unknown: false, reason: 'agent_killed' }] : [],
        `cut at ${end} of ${bytes}`,
      );
      driver.recorder.close();
    }
  });
}

/** A recorder whose disk is full or fails: a hole in the recording that is stated and counted. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { HistoryQuery } from '../../../src/sensor-agent/history/history-query.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { type RecordedStep, RecordingDriver, recordedStep, replayed, Told } from '../../harness/recording-driver.js';
import { runs } from '../../harness/runs.js';

const steps = fc.array(
  recordedStep.map((step) => ({ ...step, crash: false })),
  { minLength: 1, maxLength: 8 },
);

/** Steps with room, steps on a disk with so many bytes left, and steps when there is room again. */
const story = fc.record({ before: steps, space: fc.integer({ min: 0, max: 3_000 }), full: steps, after: steps });

function withDriver<T>(run: (driver: RecordingDriver, live: Told, files: FaultyFiles) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  const done = () => rmSync(dir, { recursive: true, force: true });
  const files = new FaultyFiles();
  const live = new Told();
  const result = run(new RecordingDriver(dir, live, files.ops), live, files);
  if (result instanceof Promise) return result.finally(done) as T;
  done();
  return result;
}

test('after a hole from a full disk, a replay tells the live events and how many are missing', () => {
  let holes = 0;
  let compared = 0;
  fc.assert(
    fc.property(fc.array(story, { minLength: 1, maxLength: 3 }), (stories) => {
      withDriver((driver, live, files) => {
        let resumedAt = 0;
        const report = () => {
          const { hole } = driver.recorder;
          driver.recorder.reportLoss('tracefs', driver.nowNs);
          if (!hole || driver.recorder.hole) return;
          holes += 1;
          resumedAt = live.events.length;
        };
        for (const { before, space, full, after } of stories) {
          for (const step of before) driver.step(step);
          files.space = space;
          for (const step of full) driver.step(step);
          report();
          files.space = Number.POSITIVE_INFINITY;
          report();
          assert.equal(driver.recorder.hole, undefined);
          for (const step of after) driver.step(step);
        }
        driver.finish();
        const { recorder } = driver;
        const anchors = [...recorder.log.anchors()];
        // Behind eviction the oldest checkpoints may lack some of what they refer to: exact are those that do not.
        const oldest = replayed(recorder, anchors.at(-1)!.ordinal);
        let whole = oldest;
        for (let at = anchors.length - 2; whole.evicted && at >= 0; at -= 1) {
          whole = replayed(recorder, anchors[at]!.ordinal);
        }
        if (whole.evicted) return;
        assert.ok(oldest.events.length >= whole.events.length, 'nothing waits for what was evicted');
        assert.equal(whole.damagedBytes, 0);
        // A disk that fills up takes the oldest segments first: of what came behind the hole some may be gone.
        const behind = Math.min(live.events.length - resumedAt, whole.events.length);
        assert.deepEqual(whole.events.slice(whole.events.length - behind), live.events.slice(-behind || Infinity));
        compared += behind;
        const told = new Set(live.events.map((text) => text.split(' ')[0]));
        for (const text of whole.events) assert.ok(told.has(text.split(' ')[0]), text);
        assert.ok(whole.lost >= recorder.entriesUnrecorded || recorder.log.firstOrdinal > 0);
      });
    }),
    { numRuns: runs(40), endOnFailure: true },
  );
  assert.ok(holes > 20 && compared > 200, `only ${holes} holes, and ${compared} events behind them`);
});

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });

async function asked(driver: RecordingDriver, window: { sinceNs?: bigint; untilNs?: bigint }) {
  const { recorder } = driver;
  const whole = { sinceNs: undefined, untilNs: undefined, after: undefined, last: 0 };
  const outlet = { send: () => undefined, ready: async () => undefined };
  const upTo = recorder.timeline.frontier;
  return new HistoryQuery(
    recorder,
    [{ id: predicate.id, predicate }],
    { ...whole, ...window, upTo },
    outlet,
    new AbortController().signal,
  ).run();
}

test('coverage ends where a full disk stopped the recording, and counts the hole afterwards', async () => {
  const exec = { lane: 0, afterNs: 900n, pid: 5, what: 'exec', read: 'at once' } as const;
  const step: RecordedStep = { entries: [exec, exec, exec], lost: 0, crash: false, wallStepNs: 0n };
  await withDriver(async (driver, _live, files) => {
    const wall = () => driver.recorder.timeline.wallNs(driver.recorder.timeline.frontier.timeNs);
    driver.step(step);
    const recordedNs = wall();
    files.space = 0;
    driver.step(step);
    driver.step(step);
    const inHoleNs = wall();
    const during = await asked(driver, {});
    assert.equal(during.coveredToNs, recordedNs);
    const [open] = during.losses;
    assert.deepEqual([open?.reason, open?.events, open?.to], ['disk_full', 6, undefined], 'said while it goes on');
    assert.match(open!.message, /nothing is recorded: no space for the log in .*: free some, or move the data/);
    const before = await asked(driver, { untilNs: recordedNs });
    assert.deepEqual(before.losses, [], 'a window that ends before it is complete');
    driver.recorder.reportLoss('tracefs', driver.nowNs);
    assert.equal(driver.recorder.entriesUnrecorded, 6, 'still no room, and nothing is forgotten');
    files.space = Number.POSITIVE_INFINITY;
    driver.recorder.reportLoss('tracefs', driver.nowNs);
    driver.step(step);
    const endNs = wall();
    const whole = await asked(driver, {});
    assert.equal(whole.coveredToNs, endNs);
    const missing = async (window: { sinceNs?: bigint; untilNs?: bigint }) => {
      const { lost, lostUnknown, losses } = await asked(driver, window);
      assert.deepEqual([lost, lostUnknown], [0, false], 'it is no loss of the kernel');
      return losses.map(({ reason, events, unknown, to }) => [reason, events, unknown, to !== undefined]);
    };
    const hole = [['disk_full', 6, false, true]];
    assert.deepEqual(await missing({}), hole);
    assert.deepEqual(await missing({ untilNs: recordedNs }), [], 'the window ends before the hole');
    assert.deepEqual(await missing({ untilNs: inHoleNs }), hole, 'the window ends in the hole');
    assert.deepEqual(await missing({ sinceNs: inHoleNs - 1n }), hole, 'the window begins in the hole');
    assert.deepEqual(await missing({ sinceNs: endNs }), [], 'the window begins behind the hole');
    const events = replayed(driver.recorder, undefined).events.filter((text) => text.includes('disk_full'));
    assert.equal(events.filter((text) => text.includes('host.degraded')).length, 1, 'an event says so, once');
    assert.equal(events.filter((text) => text.includes('host.loss') && text.includes('"lost":6')).length, 1);
  });
});

test('a hole that a killed agent could not state is stated once by the next agent', async () => {
  const exec = { lane: 0, afterNs: 900n, pid: 5, what: 'exec', read: 'at once' } as const;
  const step: RecordedStep = { entries: [exec, exec, exec], lost: 0, crash: false, wallStepNs: 0n };
  await withDriver(async (driver, _live, files) => {
    const second = () => {
      driver.step(step);
      driver.recorder.reportLoss('tracefs', driver.nowNs);
    };
    second();
    files.space = 0;
    second();
    second();
    const inHoleNs = driver.recorder.timeline.wallNs(driver.recorder.timeline.frontier.timeNs);
    driver.crash();
    // Killed once more before there is room.
    second();
    driver.crash();
    files.space = Number.POSITIVE_INFINITY;
    second();
    const behindNs = driver.recorder.timeline.wallNs(driver.recorder.timeline.frontier.timeNs);
    second();
    for (const window of [{}, { sinceNs: inHoleNs }]) {
      const { losses } = await asked(driver, window);
      assert.ok(losses.some(({ reason, unknown }) => reason === 'disk_full' && unknown));
    }
    driver.crash();
    second();
    second();
    assert.deepEqual((await asked(driver, { sinceNs: behindNs + 1_000n })).losses, [], 'stated once');
    const told = replayed(driver.recorder, undefined).events;
    assert.equal(told.filter((text) => text.includes('an agent before this one ended')).length, 1);
  });
});

test('a disk that fails, or is read-only, is reported as such, and recording resumes when it works', async () => {
  const exec = { lane: 0, afterNs: 900n, pid: 5, what: 'exec', read: 'at once' } as const;
  const step: RecordedStep = { entries: [exec, exec, exec], lost: 0, crash: false, wallStepNs: 0n };
  for (const code of ['EIO', 'EROFS']) {
    await withDriver(async (driver, _live, files) => {
      driver.step(step);
      files.failNext = { operation: 'writev', code };
      driver.step(step);
      const { hole } = driver.recorder;
      assert.equal(hole?.reason, 'disk_failed');
      assert.match(hole?.message ?? '', new RegExp(`nothing is recorded: cannot append to the log in .*: ${code}`));
      assert.deepEqual(
        (await asked(driver, {})).losses.map(({ reason }) => reason),
        ['disk_failed'],
      );
      driver.recorder.reportLoss('tracefs', driver.nowNs);
      assert.equal(driver.recorder.hole, undefined);
      driver.step(step);
      driver.step(step);
      assert.deepEqual(
        (await asked(driver, {})).losses.map(({ reason }) => reason),
        ['disk_failed'],
      );
    });
  }
});

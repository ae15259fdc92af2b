/** A publisher that reads a damaged recorder states what is missing. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Interest } from '../../../src/sensor-agent/interest/interest.js';
import { LiveBudget } from '../../../src/sensor-agent/publish/budget.js';
import { Publisher } from '../../../src/sensor-agent/publish/publisher.js';
import { MARKER } from '../../../src/storage/segment-log/format.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import type { Frame } from '../../../src/wire/frame/frame.js';
import { comparePositions, type Position, positionText } from '../../../src/wire/position.js';
import { RecordingDriver, recordedStep, replayed, type Told } from '../../harness/recording-driver.js';
import { runs } from '../../harness/runs.js';

const PLENTY = { bytesPerSecond: 1e9, eventsPerSecond: 1e9, burstMs: 1000 };
const steps = fc.array(
  recordedStep.map((step) => ({ ...step, crash: false })),
  { minLength: 20, maxLength: 40 },
);
const damage = fc.record({
  how: fc.constantFrom('flip', 'cut', 'cut at a record', 'cut the newest'),
  at: fc.double({ min: 0.05, max: 0.98, noNaN: true }),
});

test('events that a damaged recorder lost are stated in the frames that cover their place, or as a loss', async () => {
  let missing = 0;
  await fc.assert(
    fc.asyncProperty(steps, damage, fc.double({ min: 0, max: 0.99, noNaN: true }), async (steps, { how, at }, sent) => {
      const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
      try {
        const driver = new RecordingDriver(dir);
        const begin = driver.recorder.timeline.frontier;
        // Several frames' worth.
        for (let round = 0; round < 3; round += 1) for (const step of steps) driver.step(step);
        driver.finish();
        const whole = replayed(driver.recorder, undefined);
        // So much of it the broker has already.
        const start = sent < 0.5 ? begin : whole.positions[Math.floor(whole.positions.length * sent)]!;
        await driver.recorder.close();
        damageSegment(dir, how, at);
        driver.open();
        const publisher = new Publisher(driver.recorder, new LiveBudget(PLENTY));
        const frames: Frame[] = [];
        publisher.connect({ writable: true, send: (frame) => frames.push(frame) }, [
          { topic: 'process', to: start, resume: true, frameEnd: true },
        ]);
        publisher.setInterest(EVERYTHING);
        // The recording goes on; whoever waits for what is gone sees that its time has passed.
        for (let round = 0; round < 3; round += 1) {
          driver.step(steps[0]!);
          driver.finish();
        }
        const end = driver.recorder.timeline.frontier;
        const behind = () => frames.length === 0 || comparePositions(frames.at(-1)!.coveredTo, end) < 0;
        for (let tick = 1; behind(); tick += 1) {
          assert.ok(tick < 10_000, 'the publisher never catches up');
          publisher.tick(tick * 400);
        }
        missing += assertStated(whole, frames, start);
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }),
    { numRuns: runs(15), endOnFailure: true },
  );
  assert.ok(missing > 0, 'something was damaged');
});

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const EVERYTHING = new Interest(1n, [predicate.spec], 'n');

/** A bit of some segment, or everything behind a place of it. */
function damageSegment(dir: string, how: string, at: number): void {
  const names = readdirSync(dir)
    .filter((file) => file.endsWith('.log'))
    .sort();
  const name = how === 'cut the newest' ? names.at(-1)! : names[Math.floor(names.length * at)]!;
  const bytes = readFileSync(join(dir, name));
  const place = Math.floor(bytes.length * at);
  const end = how === 'cut at a record' ? bytes.indexOf(MARKER, place) : place;
  bytes[place]! ^= 4;
  writeFileSync(join(dir, name), how === 'flip' || end < 0 ? bytes : bytes.subarray(0, end));
}

/** Returns how many were missing. */
function assertStated(whole: Told, frames: readonly Frame[], start: Position): number {
  const framed = new Set<string>();
  for (const { coveredTo, timesNs, lanes, ties } of frames) {
    for (const [at, timeNs] of timesNs.entries())
      framed.add(positionText({ epoch: coveredTo.epoch, timeNs, lane: lanes[at]!, tie: ties[at]! }));
  }
  const covers = ({ coveredFrom, coveredTo }: Frame, position: Position) =>
    comparePositions(coveredFrom, position) < 0 && comparePositions(position, coveredTo) <= 0;
  const losses = frames.flatMap((frame) => frame.losses);
  const loses = (position: Position) =>
    losses.some(({ from, to }) => {
      return comparePositions(from, position) < 0 && to !== undefined && comparePositions(position, to) <= 0;
    });
  const topics = whole.events.map((text) => text.includes('"topic":"process"'));
  const missing = whole.positions.filter(
    (position, at) => topics[at] && comparePositions(position, start) > 0 && !framed.has(positionText(position)),
  );
  for (const position of missing) {
    const frame = frames.find((one) => covers(one, position));
    assert.ok(
      frame?.lostUnknown || loses(position),
      `${positionText(position)} is missing, and nothing is said where it was`,
    );
  }
  return missing.length;
}

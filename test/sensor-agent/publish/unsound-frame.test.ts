/** Frames that a broker would refuse: an agent makes none, however many ask; and is not stopped by one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FRAME_EVENTS_MAX, FRAME_MATCH_INDICES_MAX, PREDICATES_MAX } from '../../../src/limits.js';
import { Interest } from '../../../src/sensor-agent/interest/interest.js';
import { LiveBudget } from '../../../src/sensor-agent/publish/budget.js';
import { FrameBuilder } from '../../../src/sensor-agent/publish/frame-builder.js';
import { Publisher } from '../../../src/sensor-agent/publish/publisher.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { decodeFrame, encodeFrame, type Frame, refusedFrame } from '../../../src/wire/frame/frame.js';
import { type Position, positionText } from '../../../src/wire/position.js';
import { type RecordedStep, RecordingDriver } from '../../harness/recording-driver.js';

const predicate = compilePredicate({ topics: ['process'], filter: '', includeSelf: true });
const at = (timeNs: number): Position => ({ epoch: 7, timeNs: BigInt(timeNs), lane: 0, tie: 0 });

test('a full frame is valid, however many predicates its events match', () => {
  for (const predicates of [0, 1, 9, 100, PREDICATES_MAX]) {
    const builder = new FrameBuilder('process', at(0), false);
    let added = 0;
    while (!builder.full) {
      added++;
      // Each predicate misses one event, so that none matches all.
      const ids = Array.from({ length: predicates }, (_, id) => BigInt(id)).filter((id) => id !== BigInt(added));
      const event = { type: 'process.exit', topic: 'process', position: at(added), wallNs: 1n, process: { pid: 1 } };
      builder.add(event, ids, () => 0);
    }
    assert.ok(added <= FRAME_EVENTS_MAX && added * predicates <= FRAME_MATCH_INDICES_MAX + PREDICATES_MAX);
    const frame = decodeFrame(encodeFrame(builder.take(at(added), 1n)));
    assert.equal(frame.count, added);
    assert.equal(frame.matches.length, predicates);
  }
});

test('a predicate that is asked for twice is matched once', () => {
  const twice = new Interest(1n, [predicate.spec, predicate.spec], 'n');
  const event = { type: 'process.exit', topic: 'process', position: at(1), wallNs: 1n, process: { pid: 1 } };
  assert.deepEqual(
    twice.match(event).map(({ id }) => id),
    [predicate.id],
  );
});

test('a frame that cannot be sent becomes one unknown loss, and later frames are sent', () => {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  try {
    const refusals: string[] = [];
    const driver = new RecordingDriver(dir);
    const publisher = new Publisher(
      driver.recorder,
      new LiveBudget({ bytesPerSecond: 1e9, eventsPerSecond: 1e9, burstMs: 1000 }),
      (topic, cause) => refusals.push(`${topic}: ${cause}`),
    );
    const frames: Frame[] = [];
    let broken = false;
    publisher.connect(
      {
        writable: true,
        send: (frame) =>
          frames.push(decodeFrame(encodeFrame(broken && frame.count > 0 ? { ...frame, count: 99 } : frame))),
      },
      [],
    );
    publisher.setInterest(new Interest(1n, [predicate.spec], 'n'));
    for (const [round, pid] of [1, 2, 3].entries()) {
      broken = round === 1;
      driver.step(exit(pid));
      driver.finish();
      publisher.tick(round * 10_000);
    }
    assert.deepEqual(refusals, ['process: BackplaneError: frame: count must be the number of event_sizes, 1, got 99']);
    assert.deepEqual(
      frames.map(({ count, refused }) => [count, refused]),
      [
        [1, false],
        [0, true],
        [1, false],
      ],
    );
    for (const [index, frame] of frames.entries()) {
      if (index > 0) assert.equal(positionText(frame.coveredFrom), positionText(frames[index - 1]!.coveredTo));
    }
    assert.equal(decodeFrame(encodeFrame(refusedFrame(frames[0]!))).refused, true);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

function exit(pid: number): RecordedStep {
  return {
    entries: [{ lane: 0, afterNs: 1n, pid, what: 'exit', read: 'never' }],
    lost: 0,
    crash: false,
    wallStepNs: 0n,
  };
}

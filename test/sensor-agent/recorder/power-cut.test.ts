/** A recorder that has lost its end to a power cut says so, once, behind all that it still has. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Interest } from '../../../src/sensor-agent/interest/interest.js';
import { LiveBudget } from '../../../src/sensor-agent/publish/budget.js';
import { Publisher } from '../../../src/sensor-agent/publish/publisher.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import type { Frame } from '../../../src/wire/frame/frame.js';
import { comparePositions, type Position } from '../../../src/wire/position.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { type RecordedStep, RecordingDriver } from '../../harness/recording-driver.js';

const PLENTY = { bytesPerSecond: 1e9, eventsPerSecond: 1e9, burstMs: 1000 };
const EVERYTHING = new Interest(
  1n,
  [compilePredicate({ topics: ['process'], filter: '', includeSelf: true }).spec],
  'n',
);
const STEP: RecordedStep = {
  entries: [
    { lane: 0, afterNs: 40_000n, pid: 2, what: 'exec', read: 'at once' },
    { lane: 1, afterNs: 40_000n, pid: 3, what: 'exec', read: 'at once' },
  ],
  lost: 0,
  crash: false,
  wallStepNs: 0n,
};

/** An agent whose machine fails, and the next boot's. */
class Machine {
  readonly dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  readonly files = new FaultyFiles();
  frames: Frame[] = [];
  #tickMs = 0;
  readonly driver = new RecordingDriver(this.dir, undefined, this.files.ops);
  #publisher = new Publisher(this.driver.recorder, new LiveBudget(PLENTY));

  publish(from: Position): void {
    const link = { writable: true, send: (frame: Frame) => this.frames.push(frame) };
    this.#publisher.connect(link, [{ topic: 'process', to: from, resume: true, frameEnd: true }]);
    this.#publisher.setInterest(EVERYTHING);
    this.record(3);
  }

  record(steps: number): void {
    for (let step = 0; step < steps; step++) {
      this.driver.step(STEP);
      this.#tickMs += 400;
      this.#publisher.tick(this.#tickMs);
    }
  }

  boot(): void {
    this.frames = [];
    this.driver.open({ epoch: 8, continued: false, bootId: 'next' });
    this.#publisher = new Publisher(this.driver.recorder, new LiveBudget(PLENTY));
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

for (const behind of [false, true]) {
  test(`a loss by a power cut is stated behind the old epoch, ${behind ? 'before which events were unsent' : 'of which all was sent'}`, async () => {
    const machine = new Machine();
    try {
      const { driver, files } = machine;
      const start = driver.recorder.timeline.frontier;
      machine.publish(start);
      await driver.recorder.log.sync();
      machine.record(5);
      const to = behind ? start : machine.frames.at(-1)!.coveredTo;
      files.powerLoss('cut', () => 0);
      machine.boot();
      machine.publish(to);
      const [before, after] = [7, 8].map((epoch) =>
        machine.frames.filter(({ coveredTo }) => coveredTo.epoch === epoch),
      );
      assert.equal(
        before!.some(({ count }) => count > 0),
        behind,
      );
      assert.ok(before!.every(({ lostUnknown }) => !lostUnknown));
      assert.deepEqual(
        after!.map(({ lostUnknown }) => lostUnknown),
        after!.map((_, at) => at === 0),
      );
      assert.ok(comparePositions(after![0]!.coveredFrom, before!.at(-1)?.coveredTo ?? to) === 0);
      assert.ok(after!.some(({ count }) => count > 0));
    } finally {
      machine.remove();
    }
  });
}

test('after an agent was stopped in order, a power cut loses nothing', async () => {
  const machine = new Machine();
  try {
    const { driver, files } = machine;
    machine.publish(driver.recorder.timeline.frontier);
    await driver.recorder.log.sync();
    machine.record(5);
    const to = machine.frames.at(-1)!.coveredTo;
    await driver.recorder.close();
    files.powerLoss('cut', () => 0);
    machine.boot();
    machine.publish(to);
    assert.ok(machine.frames.some(({ count }) => count > 0));
    assert.ok(machine.frames.every(({ lostUnknown }) => !lostUnknown));
  } finally {
    machine.remove();
  }
});

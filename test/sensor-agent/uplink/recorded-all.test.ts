/** Whether a node says that nothing was recorded before its oldest record. */
import assert from 'node:assert/strict';
import { readdirSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Recorder } from '../../../src/sensor-agent/recorder/recorder.js';
import { type NodeFacts, nodeReport } from '../../../src/sensor-agent/uplink/node-report.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { type RecordedStep, RecordingDriver } from '../../harness/recording-driver.js';

const FACTS: Omit<NodeFacts, 'recorder'> = {
  ...{
    nodeName: 'n',
    labels: [],
    version: '1',
    kernelRelease: '6',
    source: 'tracefs',
    degraded: undefined,
    profiles: [],
  },
  ...{ argumentsBy: undefined, blindSpots: new Map(), eventsMatched: 0, eventsShed: 0, liveDemandBytesPerSecond: 0 },
  budget: { live: { bytesPerSecond: 1, eventsPerSecond: 1, burstMs: 1 }, history: { bytesPerSecond: 1, burstMs: 1 } },
};

const recordedAll = (recorder: Recorder) => nodeReport({ ...FACTS, recorder }, 0).recordedAll;

/** A recording of several segments, closed. `wallStepNs`: how the wall clock is set in its middle. */
async function recording(wallStepNs: RecordedStep['wallStepNs'] = 0n): Promise<string> {
  const dir = scratchDirectory('recorded-all');
  const driver = new RecordingDriver(dir);
  for (let step = 0; step < 400; step += 1)
    driver.step({
      entries: Array.from({ length: 12 }, (_, at) => ({
        lane: 0,
        afterNs: 900n,
        pid: at + 1,
        what: 'exec',
        read: 'at once',
      })),
      ...{ lost: 0, crash: false, wallStepNs: step === 200 ? wallStepNs : 0n },
    });
  assert.equal(recordedAll(driver.recorder), wallStepNs >= 0n);
  await driver.recorder.close();
  assert.ok(segments(dir).length > 2);
  return dir;
}

const segments = (dir: string) =>
  readdirSync(dir)
    .filter((name) => name.endsWith('.log'))
    .sort();

const opened = (dir: string) => recordedAll(new RecordingDriver(dir).recorder);

test('a recording that has all of it says so', async () => {
  assert.equal(opened(await recording()), true);
});

test('one whose beginning was removed, cut or lies behind a step of the clock does not', async () => {
  const removed = await recording();
  const [oldest] = segments(removed);
  for (const name of readdirSync(removed)) if (name.startsWith(oldest!.slice(0, 16))) rmSync(join(removed, name));
  assert.equal(opened(removed), false);
  const cut = await recording();
  const first = segments(cut)[0]!;
  rmSync(join(cut, first.replace('.log', '.index')), { force: true });
  truncateSync(join(cut, first), 100);
  assert.equal(opened(cut), false);
  assert.equal(opened(await recording(-3_600_000_000_000n)), false);
});

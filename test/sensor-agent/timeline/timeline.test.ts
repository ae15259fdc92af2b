/** Who is told what a recorder's timeline has, and what is noted while nobody is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PageWriter } from '../../../src/sensor-agent/source/synthetic/page-writer.js';
import { NOTHING_ASKED } from '../../../src/sensor-agent/timeline/timeline-sink.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import {
  EVERYTHING,
  type RecordedStep,
  RecordingDriver,
  Told,
  traceEvent,
  WALL_NS,
} from '../../harness/recording-driver.js';

const CALL = { lane: 0, afterNs: 900n, pid: 7, what: 'other', read: 'never' } as const;
const STEP: RecordedStep = { entries: [CALL, { ...CALL, what: 'exit' }], lost: 0, crash: false, wallStepNs: 0n };

function started(): RecordingDriver {
  const dir = scratchDirectory('test');
  return new RecordingDriver(dir);
}

test('a timeline tells what is asked for, to the last sink, and nobody while there is none', () => {
  const driver = started();
  const [first, second] = [new Told(), new Told()];
  const counts = () => {
    driver.step(STEP);
    return [first.events.length, second.events.length];
  };
  driver.recorder.ask(EVERYTHING);
  assert.deepEqual(counts(), [0, 0]);
  driver.recorder.tellTo(first);
  assert.deepEqual(counts(), [2, 0]);
  driver.recorder.tellTo(second);
  assert.deepEqual(counts(), [2, 2]);
  driver.recorder.ask({ ...NOTHING_ASKED, wants: (type) => type === 'process.exit' });
  assert.deepEqual(counts(), [2, 3]);
  driver.recorder.tellTo(undefined);
  driver.recorder.ask(EVERYTHING);
  assert.deepEqual(counts(), [2, 3]);
});

test('an entry that is asked for is noted while nobody is told, and told to whoever comes before its turn', () => {
  const driver = started();
  const told = new Told();
  driver.recorder.ask(EVERYTHING);
  const writer = new PageWriter(64 * 1024);
  writer.append({ ...traceEvent('other', 7), timeNs: driver.nowNs + 900n, pid: 7 });
  driver.recorder.page({ lane: 0, bytes: writer.take()!, lost: 0, lostUnknown: false });
  assert.equal(driver.recorder.timeline.pending, 1);
  driver.recorder.tellTo(told);
  driver.recorder.horizon(driver.nowNs + 1_000n);
  assert.equal(told.events.length, 1);
  assert.equal(driver.recorder.timeline.pending, 0);
});

test('what waits while the clock is set has the time at which it happened', () => {
  const driver = started();
  const told = new Told();
  driver.recorder.ask(EVERYTHING);
  driver.recorder.tellTo(told);
  const beganNs = driver.nowNs;
  const writer = new PageWriter(64 * 1024);
  const happened = [1n, 40n, 200n].map((ms) => beganNs + ms * 1_000_000n);
  for (const timeNs of happened) writer.append({ ...traceEvent('other', 7), timeNs, pid: 7 });
  driver.recorder.page({ lane: 0, bytes: writer.take()!, lost: 0, lostUnknown: false });
  driver.recorder.setClock({ bootNs: beganNs, wallNs: WALL_NS + beganNs });
  driver.recorder.horizon(beganNs + 50_000_000n);
  // Back by an hour: what comes is not told of as if it were before.
  driver.recorder.setClock({ bootNs: beganNs, wallNs: WALL_NS + beganNs - 3_600_000_000_000n });
  writer.append({ ...traceEvent('other', 7), timeNs: beganNs + 300_000_000n, pid: 7 });
  driver.recorder.page({ lane: 0, bytes: writer.take()!, lost: 0, lostUnknown: false });
  driver.recorder.horizon(beganNs + 400_000_000n);
  const times = told.events.map((event) => BigInt(/"wallNs":"(\d+)"/.exec(event)![1]!) - WALL_NS);
  assert.deepEqual(times, [...happened, happened[2]]);
});

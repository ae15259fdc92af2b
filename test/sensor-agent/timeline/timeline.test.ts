/** Who is told what a recorder's timeline has, and what is noted while nobody is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BUILTIN_FORMATS } from '../../../src/sensor-agent/source/builtin-formats.js';
import { FormatTable } from '../../../src/sensor-agent/source/pages/format.js';
import { PageWriter } from '../../../src/sensor-agent/source/synthetic/page-writer.js';
import { NOTHING_ASKED } from '../../../src/sensor-agent/timeline/timeline-sink.js';
import type { BusEvent } from '../../../src/wire/event/event.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import {
  EVERYTHING,
  formatText,
  type RecordedStep,
  RecordingDriver,
  replayed,
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

test('an event that cannot be processed is one loss with its place, once; those around it are told, live and as read again', () => {
  const dir = scratchDirectory('unprocessed');
  // A kernel that no longer says with which flags a task is made.
  const fork = formatText('task_newtask', 501, ['int pid;	offset:8;	size:4;	signed:1']);
  const formats = { ...BUILTIN_FORMATS.texts(), 'task/task_newtask': fork };
  const told = new Failing();
  const driver = new RecordingDriver(dir, told, undefined, undefined, { formats });
  const format = FormatTable.parse(formats).byName('task_newtask')!;
  const counts = () => [told.events.length, told.losses.length];
  const writer = new PageWriter(64 * 1024);
  const append = (event: ReturnType<typeof traceEvent>) => {
    driver.nowNs += 900n;
    writer.append({ ...event, timeNs: driver.nowNs, pid: 7 });
  };
  append(traceEvent('rename', 7));
  append({ format, values: { pid: 27 } } as never);
  const failedNs = driver.nowNs;
  append(traceEvent('rename', 7));
  driver.recorder.page({ lane: 0, bytes: writer.take()!, lost: 0, lostUnknown: false });
  driver.recorder.horizon(driver.nowNs + 10n);
  assert.deepEqual(counts(), [2, 1]);
  const [{ count, unknown, stated } = assert.fail()] = told.losses;
  assert.deepEqual([count, unknown, stated?.reason, stated?.from.timeNs], [1, false, 'not_processed', failedNs]);
  assert.match(stated!.message, /an event task_newtask .*undefined/);
  assert.equal(driver.recorder.timeline.pending, 0);
  assert.match(String(driver.recorder.timeline.failures.last), /undefined/);
  driver.recorder.horizon(driver.nowNs + 20n);
  assert.deepEqual(counts(), [2, 1]);
  const again = replayed(driver.recorder, undefined);
  assert.deepEqual([again.events, again.lost], [told.events, 1]);
  // Whoever is told may fail, too.
  told.fails = 1;
  for (let at = 0; at < 3; at++) append(traceEvent('rename', 7));
  driver.recorder.page({ lane: 0, bytes: writer.take()!, lost: 0, lostUnknown: false });
  driver.recorder.horizon(driver.nowNs + 30n);
  driver.recorder.horizon(driver.nowNs + 40n);
  assert.deepEqual(counts(), [4, 2]);
  assert.deepEqual([told.losses[1]?.count, told.losses[1]?.stated?.from], [1, told.failedAt]);
});

class Failing extends Told {
  fails = 0;
  failedAt: BusEvent['position'] | undefined;
  override event(event: BusEvent): void {
    if (this.fails-- > 0) {
      this.failedAt = event.position;
      throw new Error('no');
    }
    super.event(event);
  }
}

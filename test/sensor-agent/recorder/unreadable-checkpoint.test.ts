/** A hole whose checkpoint cannot be read any more: what waits at the next one is told all the same. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { RecordKind } from '../../../src/sensor-agent/recorder/recording.js';
import { Replay } from '../../../src/sensor-agent/recorder/replay.js';
import { PageWriter } from '../../../src/sensor-agent/source/synthetic/page-writer.js';
import { Timeline } from '../../../src/sensor-agent/timeline/timeline.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { EVERYTHING, RecordingDriver, Told, traceEvent } from '../../harness/recording-driver.js';

test('events that wait at the checkpoint from which context is known again are told', async () => {
  const files = new FaultyFiles();
  const told = new Told();
  const driver = new RecordingDriver(scratchDirectory('unreadable'), told, files.ops);
  const { recorder } = driver;
  const page = (lane: number) => {
    const writer = new PageWriter(64 * 1024);
    for (let at = 0; at < 10; at += 1) {
      driver.nowNs += 100n;
      writer.append({ ...traceEvent('fork', 7), timeNs: driver.nowNs, pid: 7 });
    }
    recorder.page({ lane, bytes: writer.take()!, lost: 0, lostUnknown: false });
  };
  const horizon = () => {
    driver.nowNs += 1_000n;
    recorder.horizon(driver.nowNs);
    driver.nowNs += 10n;
  };
  page(0);
  horizon();
  files.space = 0;
  page(0);
  horizon();
  files.space = Number.POSITIVE_INFINITY;
  const before = told.events.length;
  recorder.reportLoss('tracefs', driver.nowNs);
  damageCheckpointBehindHole(recorder.log);
  page(0);
  recorder.log.roll();
  page(1);
  horizon();
  driver.finish();
  const wanted = told.events.slice(before).map((text) => text.split(' ')[0]);
  assert.equal(wanted.length, 22, 'two notices and two pages');
  const again = new Told();
  const replay = new Replay(recorder.log, undefined, new Timeline(EVERYTHING, again));
  while (replay.step(1 << 20));
  assert.ok(replay.damagedBytes > 0);
  const found = new Set(again.events.map((text) => text.split(' ')[0]));
  assert.deepEqual(
    wanted.filter((position) => !found.has(position)),
    [],
  );
  replay.close();
  await recorder.close();
});

function damageCheckpointBehindHole(log: RecordingDriver['recorder']['log']): void {
  const reader = log.reader(log.firstOrdinal);
  let behind = false;
  for (let item = reader.next(); item; item = reader.next()) {
    if (item.kind !== 'record') continue;
    if (item.recordKind === RecordKind.HOLE) behind = true;
    if (!behind || item.recordKind !== RecordKind.CHECKPOINT) continue;
    const payload = Buffer.from(item.payload);
    for (const { path } of log.segments()) {
      const bytes = readFileSync(path);
      const at = bytes.lastIndexOf(payload);
      if (at < 0) continue;
      bytes[at + 1]! ^= 4;
      writeFileSync(path, bytes);
    }
    break;
  }
  reader.close();
  assert.ok(behind);
}

/** Side records of execs in one record, and in the form that earlier versions wrote. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { packExecs, unpackExecs } from '../../../src/sensor-agent/recorder/exec-records.js';
import { EXEC_SHAPE } from '../../../src/sensor-agent/recorder/record-shape.js';
import { packRecord, type RecordedExec, unpackRecord } from '../../../src/sensor-agent/recorder/recording.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { RecordingDriver, replayed, Told } from '../../harness/recording-driver.js';
import { runs } from '../../harness/runs.js';

const RECORDING = new URL('../../../../test/fixtures/recording/one-record-per-exec.json.gz', import.meta.url);

const some = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
const exec: fc.Arbitrary<RecordedExec> = fc.record({
  lane: fc.nat({ max: 0xffff }),
  timeNs: fc.bigInt({ min: 0n, max: 1n << 62n }),
  pid: fc.nat({ max: 1 << 22 }),
  missed: fc.boolean(),
  process: some(
    fc.record({
      pid: fc.nat(),
      parentPid: some(fc.nat()),
      comm: some(fc.string()),
      executablePath: some(fc.string({ unit: 'grapheme' })),
      executableAsGiven: some(fc.boolean()),
      executableDeleted: some(fc.boolean()),
      args: some(fc.array(fc.string({ maxLength: 80 }))),
      argsTruncated: some(fc.boolean()),
      workingDirectory: some(fc.string()),
      uid: some(fc.nat()),
      loginUid: some(fc.nat({ max: 0xffff_ffff })),
      tty: some(fc.string()),
      cgroup: some(fc.string()),
      containerId: some(fc.string()),
      cgroups: some(fc.array(fc.tuple(fc.string(), fc.array(fc.nat())))) as fc.Arbitrary<undefined>,
      startTimeNs: some(fc.bigInt({ min: 0n, max: 1n << 62n })),
      threads: some(fc.array(fc.nat())),
      redactions: some(fc.nat()),
    }),
  ),
});

test('what is packed is unpacked', () => {
  fc.assert(
    fc.property(fc.array(exec, { maxLength: 5 }), (execs) => {
      // Without prototypes and absent fields, which only the comparison would see.
      assert.deepEqual(present(unpackExecs(packExecs(execs))), present(execs));
    }),
    { numRuns: runs(200) },
  );
});

test('a list is no exec to earlier versions: they count it as damaged', () => {
  const payload = packExecs([{ lane: 0, timeNs: 1n, pid: 7, missed: true }]);
  assert.throws(() => unpackRecord(payload, EXEC_SHAPE), { code: 'damaged' });
});

test('what is no list of execs is damaged', () => {
  for (const value of [[[0, 1, 7, true]], [[0, 1n, 7]], [7], [{ lane: 0 }], [['0', 1n, 7, true]]]) {
    assert.throws(() => unpackExecs(packRecord(value as never)), { code: 'damaged' }, JSON.stringify(value, text));
  }
});

test('execs that come one behind the other are one record, and their events the same live and replayed', () => {
  const live = new Told();
  const driver = new RecordingDriver(scratchDirectory('execs'), live);
  const step = (pids: readonly number[]) => ({
    entries: pids.map((pid) => ({
      lane: 0,
      afterNs: 900n as const,
      pid,
      what: 'exec' as const,
      read: 'at once' as const,
    })),
    ...{ lost: 0 as const, crash: false, wallStepNs: 0n as const },
  });
  const before = driver.recorder.log.nextOrdinal;
  driver.step(step([4, 5, 6, 7]));
  assert.equal(driver.recorder.log.nextOrdinal - before, 3, 'execs, page, horizon');
  driver.step(step([4, 4, 5]));
  driver.finish();
  assert.equal(live.events.length, 7);
  assert.deepEqual(replayed(driver.recorder, undefined).events, live.events);
});

test('a recording of an earlier version, a record for each exec, is read as it was told then', () => {
  const { files, events, lost } = JSON.parse(gunzipSync(readFileSync(RECORDING)).toString()) as {
    files: Record<string, string>;
    events: string[];
    lost: number;
  };
  const dir = scratchDirectory('execs');
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content, 'base64');
  const driver = new RecordingDriver(dir);
  const told = replayed(driver.recorder, undefined);
  assert.equal(told.damagedBytes, 0);
  // While a clock is behind what it was, times stood still since the last event told, now since the last one read.
  assert.deepEqual(told.events.map(withoutTimes), events.map(withoutTimes));
  const times = told.events.map((event) => BigInt(/"wallNs":"(\d+)"/.exec(event)![1]!));
  assert.ok(times.every((time, at) => at === 0 || time >= times[at - 1]!));
  assert.equal(told.lost, lost);
});

function withoutTimes(event: string): string {
  return event.replace(/"(wallNs|creationTimeNs)":"\d+"/g, '"$1"');
}

function present(value: unknown): string {
  return JSON.stringify(value, text);
}

function text(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  const isPlain = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isPlain ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
}

/** The scan of all processes after a loss, on the real kernel. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PAGE_HEADER_BYTES, RESCAN_INTERVAL_MS } from '../../../src/limits.js';
import { Rescan } from '../../../src/sensor-agent/timeline/rescan.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { CHANGING, RecordingDriver, Told } from '../../harness/recording-driver.js';

const QUIET = { entries: [], lost: 0, crash: false, wallStepNs: 0n } as const;
const EXIT = { lane: 0, afterNs: 1n, pid: process.pid, what: 'exit', read: 'never' } as const;

test('after a loss the processes of this machine are scanned again, once', () => {
  const dir = mkdtempSync(join(tmpdir(), 'rescan-'));
  try {
    const told = new Told();
    const driver = new RecordingDriver(dir, told);
    const { recorder } = driver;
    const rescan = new Rescan(recorder);
    const settle = (nowMs: number) => {
      const before = recorder.log.nextOrdinal;
      for (let round = 0; round < 10_000; round += 1) rescan.step(nowMs);
      return recorder.log.nextOrdinal - before;
    };
    assert.equal(settle(0), 0);
    driver.step({ ...QUIET, entries: [{ ...EXIT, pid: 1, what: 'other' }], lost: 5 });
    assert.ok(settle(1) > 0);
    assert.equal(settle(RESCAN_INTERVAL_MS * 2), 0);
    // A page that could not be placed: how many events it had is not known.
    const bytes = Buffer.alloc(PAGE_HEADER_BYTES);
    bytes.writeBigUInt64LE(recorder.timeline.horizonNs + 2n);
    recorder.page({ lane: 0, bytes, lost: 0, lostUnknown: true });
    assert.ok(settle(RESCAN_INTERVAL_MS * 3) > 0);

    driver.step({ ...QUIET, entries: [EXIT] });
    driver.finish();
    const exit = told.events.find((text) => text.includes('process.exit'))!;
    assert.match(exit, new RegExp(`"parentPid":${process.ppid},`));
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('a user that was told and not seen to change is read again where that is wanted', () => {
  const told = new Told();
  const driver = new RecordingDriver(scratchDirectory('rescan'), told, undefined, undefined, CHANGING);
  const { recorder } = driver;
  const rescan = new Rescan(recorder);
  const became = { ...EXIT, what: 'user' } as const;
  const renamed = { ...EXIT, what: 'rename' } as const;
  driver.step({ ...QUIET, entries: [renamed, became, renamed] });
  rescan.want();
  for (let round = 0; round < 10_000; round += 1) rescan.step(0);
  driver.step({ ...QUIET, entries: [EXIT] });
  driver.finish();
  const own = told.events.filter((text) => text.includes(`"pid":${process.pid},`));
  const users = own.map((text) => Number(/"user":\{"id":(\d+)/.exec(text)?.[1]));
  assert.deepEqual(users.slice(1), [process.pid + 1_000, process.geteuid!()]);
});

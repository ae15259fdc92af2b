/** Records with a good checksum and whatever content: read again, they are damage, and the recording goes on. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Packr } from 'msgpackr';
import { MiB } from '../../../src/limits.js';
import { RecordKind } from '../../../src/sensor-agent/recorder/recording.js';
import { type RecordedStep, RecordingDriver, replayed, Told } from '../../harness/recording-driver.js';

const packr = new Packr({ useRecords: false, int64AsType: 'bigint' });
const repeated = (bytes: number[], count: number) =>
  Buffer.concat(Array.from({ length: count }, () => Buffer.from(bytes)));
const PAYLOADS: Record<string, Buffer> = {
  nothing: Buffer.alloc(0),
  'a byte': Buffer.from([0xc1]),
  'an array that promises 20 million': Buffer.from([0xdd, 0x01, 0x31, 0x2d, 0x00]),
  'arrays in arrays that promise 20 million each': repeated([0xdd, 0x01, 0x31, 0x2d, 0x00], 1000),
  'a map that promises 20 million': Buffer.from([0xdf, 0x01, 0x31, 0x2d, 0x00]),
  'a text of 4 GiB': Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff]),
  'a million arrays in each other': Buffer.alloc(1 * MiB, 0x91),
  null: packr.pack(null),
  'a number': packr.pack(-1),
  'an array': packr.pack([]),
  'an empty map': packr.pack({}),
  __proto__: Buffer.concat([Buffer.from([0x81, 0xa9]), Buffer.from('__proto__'), packr.pack({ polluted: true })]),
  'wrong types': packr.pack({
    lane: 'x',
    timeNs: 'y',
    pid: {},
    process: 5,
    processes: 7,
    paths: 8,
    formats: null,
    part: 0,
    parts: 1,
    head: 9,
    from: 1,
    to: null,
    type: 3,
  }),
  'numbers at their ends': packr.pack({
    lane: 2 ** 53,
    timeNs: -(2n ** 63n),
    pid: -1,
    missed: false,
    process: null,
    lost: 1e308,
  }),
};
/** The others are of fixed numbers. */
const KINDS = Object.entries(RecordKind).filter(([name]) => !['PAGE', 'HORIZON', 'CLOCK'].includes(name));

const entry = { lane: 0, afterNs: 900n, pid: 7, what: 'exec', read: 'at once' } as const;
const step: RecordedStep = { entries: [entry, entry], lost: 0, crash: false, wallStepNs: 0n };

for (const [name, kind] of KINDS) {
  test(`a record of kind ${name} with invalid content is refused`, () => {
    for (const [what, payload] of Object.entries(PAYLOADS)) {
      const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
      try {
        const rss = process.memoryUsage.rss();
        const driver = new RecordingDriver(dir, new Told());
        for (let round = 0; round < 5; round++) driver.step(step);
        driver.recorder.log.append({ kind, timeNs: driver.wallNs + driver.nowNs, parts: [payload] });
        for (let round = 0; round < 5; round++) driver.step(step);
        driver.finish();
        const { events } = replayed(driver.recorder, undefined);
        assert.ok(events.length <= 20 && events.length >= 10, `${what}: ${events.length} events`);
        driver.crash();
        driver.step(step);
        driver.finish();
        const again = replayed(driver.recorder, undefined);
        assert.ok(again.events.length > events.length || again.damagedBytes > 0, `${what}: recording does not go on`);
        assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
        assert.ok(process.memoryUsage.rss() - rss < 128 * MiB, what);
      } catch (cause) {
        assert.fail(`${what}: ${cause instanceof Error ? cause.stack : cause}`);
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }
  });
}

/** Tens of thousands of processes make long checkpoints, which must not be most of what is recorded. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Recorder } from '../../../src/sensor-agent/recorder/recorder.js';
import { RecordKind } from '../../../src/sensor-agent/recorder/recording.js';
import { Redactor } from '../../../src/sensor-agent/redaction/redactor.js';
import { compileRules } from '../../../src/sensor-agent/redaction/rule.js';
import { RECORD_HEADER_BYTES } from '../../../src/storage/segment-log/format.js';
import { ORIGIN } from '../../harness/recording-driver.js';

const PAGE_BYTES = 65_536;
const PAGES = 3_000;

test('checkpoints take at most a third of the recording, however large each is', () => {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-test-'));
  try {
    const redactor = new Redactor(compileRules({ rules: [], off: ['all'] }));
    const recorder = new Recorder({ dir, bytesMax: 2 ** 40, ageMsMax: 3_600_000, redactor });
    recorder.begin(ORIGIN, { bootNs: 1_000_000_000n, wallNs: BigInt(Date.now()) * 1_000_000n });
    recorder.snapshot(
      Array.from({ length: 30_000 }, (_, index) => {
        return { pid: index + 10, parentPid: 1, comm: 'worker', args: [`--with=${'x'.repeat(700)}`] };
      }),
    );
    const page = Buffer.alloc(PAGE_BYTES);
    for (let count = 0; count < PAGES; count++) {
      // One entry, as long as the page.
      page.writeBigUInt64LE(recorder.timeline.clock.bootNs + BigInt(count) * 1_000n, 0);
      page.writeUInt32LE(PAGE_BYTES - 16, 8);
      page.writeUInt32LE(PAGE_BYTES - 24, 20);
      recorder.page({ lane: 0, bytes: page, lost: 0, lostUnknown: false });
    }
    assert.equal(recorder.hole, undefined, 'however much a scan finds, it is recorded');
    let [checkpoints, count, all] = [0, 0, 0];
    const reader = recorder.log.reader(recorder.log.firstOrdinal);
    for (let item = reader.next(); item !== undefined; item = reader.next()) {
      if (item.kind !== 'record') continue;
      const bytes = item.payload.length + RECORD_HEADER_BYTES;
      all += bytes;
      if (item.recordKind !== RecordKind.CHECKPOINT) continue;
      checkpoints += bytes;
      count += 1;
    }
    reader.close();
    assert.ok(checkpoints > 2 * 16 * 2 ** 20 && count > 2, `long ones, and several: ${count}, ${checkpoints} bytes`);
    // Those that open segments are there besides.
    assert.ok(checkpoints < all / 2, `${checkpoints} of ${all} bytes`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

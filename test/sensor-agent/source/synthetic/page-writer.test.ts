/** The page writer against the kernel's own pages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BUILTIN_FORMATS } from '../../../../src/sensor-agent/source/builtin-formats.js';
import { mergeEvents, readCapture } from '../../../../src/sensor-agent/source/pages/capture.js';
import { eventFlags, eventPid } from '../../../../src/sensor-agent/source/pages/format.js';
import { PageEntries, scanPage, startCursor } from '../../../../src/sensor-agent/source/pages/page.js';
import { PageWriter } from '../../../../src/sensor-agent/source/synthetic/page-writer.js';

const FIXTURES = fileURLToPath(new URL('../../../../../test/fixtures/ftrace/', import.meta.url));

for (const name of ['lite-4k', 'syscalls-64k', 'overflow-4k', 'arm64-4k']) {
  test(`${name}: rewritten events are entries of the same length, time and values`, () => {
    const { formats, lanes } = readCapture(`${FIXTURES}${name}`);
    const writer = new PageWriter(65_536);
    const entries = new PageEntries();
    let count = 0;
    for (const event of mergeEvents(lanes)) {
      const format = formats.byId(event.id)!;
      const values = format.decode(event.page, event.at, event.length);
      const pid = eventPid(event.page, event.at, event.length);
      const flags = eventFlags(event.page, event.at, event.length);
      assert.ok(writer.append({ format, timeNs: event.timeNs, pid, flags, values }));
      const page = writer.take()!;
      scanPage(page, new Uint8Array(65_536).fill(1), startCursor(), entries);
      assert.equal(entries.count, 1);
      const at = entries.offsets[0]!;
      assert.deepEqual(format.decode(page, at, entries.lengths[0]!), values);
      assert.equal(eventPid(page, at, entries.lengths[0]!), pid);
      assert.equal(eventFlags(page, at, entries.lengths[0]!), flags);
      assert.equal(entries.lengths[0], event.length, format.name);
      assert.equal(entries.timeNs(0), event.timeNs);
      count++;
    }
    assert.ok(count > 300);
  });
}

test('the built-in formats lay fields out as this kernel does', () => {
  for (const name of ['lite-4k', 'overflow-4k']) {
    for (const format of readCapture(`${FIXTURES}${name}`).formats.all()) {
      const builtin = BUILTIN_FORMATS.byName(`${format.group}/${format.name}`);
      if (format.name === 'sched_process_fork') continue;
      assert.equal(builtin?.id, format.id);
      assert.deepEqual(builtin?.fields, format.fields);
    }
  }
});

test('an event that no page can hold is refused', () => {
  const format = BUILTIN_FORMATS.byName('sched_process_exec')!;
  const writer = new PageWriter(256);
  const entry = { format, timeNs: 1n, pid: 1, values: { filename: 'x'.repeat(300) } };
  assert.throws(() => writer.append(entry), /must fit a page of 256 bytes, got 332/);
  assert.equal(writer.take(), undefined);
  assert.throws(() => new PageWriter(1 << 20), /pageBytes must be 256 to 65536, got 1048576/);
});

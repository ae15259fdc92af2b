/** The exec lane's ring: what goes in comes out, in order, however it wraps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EXEC_RING_BYTES } from '../../../../src/limits.js';
import {
  EXEC_ENTRY_BYTES_MAX,
  ExecEntryWriter,
  readExecEntry,
} from '../../../../src/sensor-agent/source/exec/exec-entry.js';
import { ExecRing } from '../../../../src/sensor-agent/source/exec/exec-ring.js';
import { runs } from '../../../harness/runs.js';

test('entries come out as they went in, and a full ring takes no more', () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: EXEC_ENTRY_BYTES_MAX }) },
    { weight: 1, arbitrary: fc.constant('drain' as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 50, maxLength: 200 }), (steps) => {
      const memory = ExecRing.memory();
      const writer = new ExecRing(memory);
      const reader = new ExecRing(memory);
      const waiting: { bytes: number; mark: number }[] = [];
      let held = 0;
      let mark = 0;
      const drain = () => {
        reader.drain((entry) => {
          const { bytes, mark: expected } = waiting.shift()!;
          assert.equal(entry.length, bytes);
          assert.ok(entry.every((byte) => byte === expected));
        });
        assert.equal(waiting.length, 0);
        held = 0;
      };
      for (const bytes of steps) {
        if (bytes === 'drain') {
          drain();
          continue;
        }
        let room = writer.reserve(EXEC_ENTRY_BYTES_MAX);
        if (room === undefined) {
          assert.ok(held + 2 * (EXEC_ENTRY_BYTES_MAX + 4) > EXEC_RING_BYTES, `no room with ${held} bytes held`);
          drain();
          room = writer.reserve(EXEC_ENTRY_BYTES_MAX)!;
        }
        mark = (mark + 1) % 256;
        room.fill(mark, 0, bytes);
        writer.commit(bytes);
        waiting.push({ bytes, mark });
        held += bytes + 8;
      }
      drain();
    }),
    { numRuns: runs(50) },
  );
});

test('a loss is reported once', () => {
  const ring = new ExecRing(ExecRing.memory());
  ring.addLost(3, false);
  ring.addLost(4, true);
  assert.deepEqual(ring.takeLost(), { count: 7, unknown: true });
  assert.deepEqual(ring.takeLost(), { count: 0, unknown: false });
});

test('entries are read back as written, with and without absent parts', () => {
  const part = fc.option(fc.uint8Array({ maxLength: 64 }).map(Buffer.from), { nil: undefined });
  const entry = fc.record(
    {
      lane: fc.nat(0xffff),
      superseded: fc.boolean(),
      deleted: fc.boolean(),
      pid: fc.nat(2 ** 22),
      timeNs: fc.bigInt(0n, (1n << 64n) - 1n),
      uid: fc.option(fc.nat(0xfffffffe), { nil: undefined }),
      parentPid: fc.option(fc.integer({ min: 1, max: 0xffffffff }), { nil: undefined }),
      loginUid: fc.option(fc.nat(0xffffffff), { nil: undefined }),
      tty: fc.option(fc.nat(0xffffffff), { nil: undefined }),
      filename: fc.string({ unit: 'binary', maxLength: 100 }).map((text) => Buffer.from(text).toString()),
      cmdline: part,
      exe: part,
      cwd: part,
      cgroup: part,
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(entry, (expected) => {
      const room = Buffer.alloc(EXEC_ENTRY_BYTES_MAX);
      const writer = new ExecEntryWriter();
      writer.begin(room, expected);
      if (expected.deleted) writer.deleted();
      for (const bytes of [expected.cmdline, expected.exe, expected.cwd, expected.cgroup]) writer.part(bytes);
      if (expected.uid !== undefined) writer.uid(expected.uid);
      if (expected.parentPid !== undefined) writer.parentPid(expected.parentPid);
      if (expected.loginUid !== undefined) writer.loginUid(expected.loginUid);
      if (expected.tty !== undefined) writer.tty(expected.tty);
      assert.deepEqual(readExecEntry(room.subarray(0, writer.end())), expected);
    }),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { BusEvent } from '../../src/wire/event.js';
import { EventWriter } from '../../src/wire/event-writer.js';
import { eventBatchCodec } from '../../src/wire/messages.js';

const text = fc.string({ unit: 'grapheme', maxLength: 300 });
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const int64 = fc.oneof(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), fc.constantFrom(0n, -1n, 1n));
const event: fc.Arbitrary<BusEvent> = fc.record(
  {
    type: fc.constantFrom('process.exec', 'network.tcp.connect'),
    topic: fc.constant('process'),
    position: fc.record({
      epoch: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
      timeNs: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      lane: fc.integer({ min: 0, max: 0xffff }),
      tie: fc.integer({ min: 0, max: 0xffffffff }),
    }),
    wallNs: fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }),
    process: fc.record(
      {
        pid: int32,
        parentPid: int32,
        comm: text,
        executable: fc.record({ path: text, name: text }),
        commandArgs: fc.array(text, { maxLength: 20 }),
        commandArgsMissed: fc.boolean(),
        commandArgsTruncated: fc.boolean(),
        workingDirectory: text,
        user: fc.record({ id: fc.integer({ min: 0, max: 0xffffffff }) }),
        cgroup: fc.record({ path: text }),
        previousComm: text,
      },
      { requiredKeys: ['pid'] },
    ),
    container: fc.record({ id: text }),
    signal: fc.record({ number: int32, name: text, targetPid: int32, targetComm: text, code: int32, result: int32 }),
    raw: fc.record({
      name: text,
      fields: fc.dictionary(fc.stringMatching(/^[a-z]{1,9}$/), text, { maxKeys: 4, noNullPrototype: true }),
    }),
    syscall: fc.record({
      id: int64,
      name: text,
      args: fc.array(int64, { maxLength: 6 }),
      result: int64,
      returned: fc.boolean(),
    }),
    file: fc.record({ path: text, pathMissed: fc.boolean(), descriptor: int32, flags: int32, mode: int32 }),
  },
  { requiredKeys: ['type', 'topic', 'position', 'wallNs'] },
);

test('what is written is what a protobuf reader reads', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 8 }), (events) => {
      const writer = new EventWriter(64);
      const sizes = events.map((one) => writer.write(one));
      const run = writer.take();
      assert.equal(
        run.length,
        sizes.reduce((sum, size) => sum + size, 0),
      );
      const { events: read } = eventBatchCodec.decode(run, run.length);
      assert.equal(read.length, events.length);
      for (const [at, one] of events.entries()) same(read[at]!, one);
    }),
    { numRuns: 300 },
  );
});

function same(read: ReturnType<typeof eventBatchCodec.decode>['events'][number], written: BusEvent): void {
  assert.equal(read.type, written.type);
  assert.equal(BigInt(read.time!.seconds) * 1_000_000_000n + BigInt(read.time!.nanos), written.wallNs);
  assert.equal(BigInt(read.position!.timeNs), written.position.timeNs);
  assert.deepEqual(
    [Number(read.position!.epoch), read.position!.lane, read.position!.tie],
    [written.position.epoch, written.position.lane, written.position.tie],
  );
  assert.equal(read.container?.id, written.container?.id);
  if (written.signal) {
    assert.deepEqual({ ...read.signal }, { ...written.signal });
  }
  if (written.raw) assert.deepEqual({ ...read.raw, fields: { ...read.raw?.fields } }, { ...written.raw });
  const { syscall, file } = written;
  if (syscall) {
    const args = syscall.args.map((argument) => BigInt.asUintN(64, argument).toString());
    const { id, result } = syscall;
    assert.deepEqual({ ...read.syscall }, { ...syscall, id: id.toString(), result: result.toString(), args });
  }
  if (file) {
    assert.deepEqual({ ...read.file }, { ...file, flags: file.flags.toString(), mode: file.mode.toString() });
  }
  const { process } = written;
  assert.equal(read.process === null || read.process === undefined, process === undefined);
  if (!process) return;
  assert.equal(read.process!.pid, process.pid);
  assert.equal(read.process!.parentPid, process.parentPid ?? 0);
  assert.deepEqual(read.process!.commandArgs, process.commandArgs ?? []);
  assert.equal(read.process!.executable?.path, process.executable?.path);
  assert.equal(read.process!.user?.id, process.user?.id);
  assert.equal(read.process!.cgroup?.path, process.cgroup?.path);
  assert.equal(read.process!.commandArgsTruncated, process.commandArgsTruncated ?? false);
  assert.equal(read.process!.workingDirectory, process.workingDirectory ?? '');
}

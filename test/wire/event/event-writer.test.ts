/** Events as they are encoded by hand, against a general protobuf reader. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { BusEvent } from '../../../src/wire/event/event.js';
import { eventToJson } from '../../../src/wire/event/event-json.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';
import { eventBatchCodec } from '../../../src/wire/messages.js';
import { event } from '../../harness/arbitrary/event-arbitrary.js';
import { runs } from '../../harness/runs.js';

test('written events are read the same by a protobuf reader', () => {
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
    { numRuns: runs(300) },
  );
});

test('what was given as 0 is told from what was not given', () => {
  const file = { path: '/f', pathMissed: false, descriptor: -100, flags: 0, mode: 0 };
  const writer = new EventWriter();
  const base = { type: 'file.chown', topic: 'file', position: { epoch: 1, timeNs: 1n, lane: 0, tie: 0 }, wallNs: 1n };
  writer.write({ ...base, file: { ...file, ownerId: 0, groupId: -1 } });
  writer.write({ ...base, type: 'file.truncate', file: { ...file, size: 0n } });
  const run = writer.take();
  const [chown, truncate] = eventBatchCodec.decode(run, run.length).events.map((one) => eventToJson(one, '', ''));
  assert.deepEqual(chown!['file'], { path: '/f', descriptor: -100, ownerId: '0', groupId: '-1' });
  assert.deepEqual(truncate!['file'], { path: '/f', descriptor: -100, size: '0' });
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
    const wide = (['flags', 'mode', 'ownerId', 'groupId', 'size'] as const).map((name) => [name, String(file[name])]);
    const present = { _ownerId: 'ownerId', _groupId: 'groupId', _size: 'size' };
    assert.deepEqual({ ...read.file }, { ...file, ...Object.fromEntries(wide), ...present });
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
  assert.deepEqual(read.process!.inferred, process.inferred ?? []);
}

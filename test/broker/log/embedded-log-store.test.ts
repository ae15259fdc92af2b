/** One bound of bytes over all partition logs: what ended first goes first, of whichever log. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { EmbeddedLogStore } from '../../../src/broker/log/embedded/embedded-log-store.js';
import type { PartitionLog } from '../../../src/broker/log/partition-log.js';
import { KiB, MiB } from '../../../src/limits.js';
import { nodeFileOps } from '../../../src/storage/file-ops.js';
import { encodeFrame } from '../../../src/wire/frame/frame.js';
import { frameOf, PROCESS } from '../../contract/partition-log.js';
import { FaultyFiles } from '../../harness/files/faulty-files.js';

const BYTES_MAX = 4 * MiB;
const EXCESS_BYTES_MAX = MiB;
const FRAME_BYTES = 16 * KiB;
let dir: string;
let store: EmbeddedLogStore;
let at: number;

async function open(files = nodeFileOps): Promise<void> {
  store = await EmbeddedLogStore.open({
    dir,
    fsync: 'commit',
    bytesMax: BYTES_MAX,
    excessBytesMax: EXCESS_BYTES_MAX,
    ageMsMax: 3_600_000,
    files,
    warn: assert.fail,
    onFailure: (_log, cause) => assert.fail(String(cause)),
  });
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backplane-store-'));
  at = 0;
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
});
afterEach(async () => {
  await store.close();
  mock.timers.reset();
  rmSync(dir, { recursive: true, force: true });
});

async function append(log: PartitionLog, bytes: number, bytesMax = BYTES_MAX): Promise<void> {
  for (let done = 0; done < bytes; done += FRAME_BYTES) {
    const frame = frameOf(at, ++at, FRAME_BYTES);
    await log.append('a', frame, encodeFrame(frame));
    assert.ok(store.bytes <= bytesMax, `${store.bytes} bytes`);
    mock.timers.tick(1);
  }
}

test('a busy partition may use the space that other partitions leave free', async () => {
  await open();
  const [busy, idle] = [store.partition(0), store.partition(3)];
  await append(idle, 64 * KiB);
  await append(busy, 3.5 * MiB);
  assert.equal(busy.firstOffset, 0, 'nothing had to go');
  assert.equal(idle.firstOffset, 0);
});

test("the segment that ended first is deleted first, even an idle log's only one, and its coverage stays known", async () => {
  await open();
  const logs = [0, 1, 2].map((partition) => store.partition(partition));
  const [first, second, busy] = logs as [PartitionLog, PartitionLog, PartitionLog];
  await append(first, 0.5 * MiB);
  const covered = first.coveredTo('a', 'process');
  const { deliverableOffset: nextOffset } = first;
  await append(second, 0.5 * MiB);
  await append(busy, 3.25 * MiB);
  assert.ok(first.firstOffset > 0, 'the oldest log gives way');
  assert.equal(second.firstOffset, 0);
  assert.equal(busy.firstOffset, 0);
  await append(busy, 0.5 * MiB);
  assert.equal(first.firstOffset, nextOffset, 'the whole of it');
  assert.ok(second.firstOffset > 0);
  assert.equal(busy.firstOffset, 0);
  await append(busy, 2 * BYTES_MAX);
  assert.ok(busy.firstOffset > 0);
  assert.ok(store.bytes > BYTES_MAX / 2, 'no more goes than must');
  await store.close();
  await open();
  assert.deepEqual(store.partition(0).coveredTo('a', 'process'), covered);
  assert.ok(store.partition(0).deliverableOffset >= nextOffset);
});

test('what is still to be noted of frames keeps them for a while, and not beyond a bound', async () => {
  await open();
  const [first, busy] = [store.partition(0), store.partition(3)];
  const asked: string[] = [];
  let mayForget = false;
  store.guard((partition, before) => {
    asked.push(`${partition}<${before}`);
    return mayForget;
  });
  await append(first, 128 * KiB);
  assert.deepEqual(
    store.fading(),
    store.all().map(() => 0),
    'nothing is old',
  );
  const end = first.deliverableOffset;
  await append(busy, 4 * MiB, BYTES_MAX + EXCESS_BYTES_MAX);
  assert.ok(store.bytes > BYTES_MAX && first.firstOffset === 0, `${store.bytes} bytes`);
  assert.ok(asked.length > 0 && asked.every((each) => each === `0<${end}`), asked.join());
  const [ofFirst = 0, , , ofBusy = 0] = store.fading();
  assert.ok(ofFirst === end && ofBusy > 0 && ofBusy < busy.deliverableOffset, 'the older half may be forgotten soon');
  mayForget = true;
  store.enforceRetention();
  assert.ok(store.bytes <= BYTES_MAX && first.firstOffset === end);
  mayForget = false;
  const { firstOffset } = busy;
  await append(busy, 2 * MiB, BYTES_MAX + EXCESS_BYTES_MAX);
  assert.ok(busy.firstOffset > firstOffset, 'no longer than that');
});

test('on a full disk the oldest segment of all logs is deleted to make room', async () => {
  const files = new FaultyFiles();
  await open(files.ops);
  const [old, busy] = [store.partition(0), store.partition(1)];
  await append(old, 1 * MiB);
  await append(busy, 1 * MiB);
  files.space = 64 * KiB;
  await append(busy, 0.75 * MiB);
  assert.ok(old.firstOffset > 0, 'the other log gave way');
  assert.equal(busy.firstOffset, 0, 'not the one that was written');
});

test('frames not yet acknowledged are never deleted, however full the disk', async () => {
  const files = new FaultyFiles();
  await open(files.ops);
  const log = store.partition(0);
  let release: () => void = () => undefined;
  files.gate = new Promise((resolve) => {
    release = resolve;
  });
  const frames = Array.from({ length: 40 }, (_, i) => frameOf(i, i + 1, FRAME_BYTES));
  const promised = frames.map((frame) => log.append('a', frame, encodeFrame(frame)));
  files.space = 0;
  const more = frameOf(40, 41, FRAME_BYTES);
  await assert.rejects(log.append('a', more, encodeFrame(more)), /no space/);
  release();
  await Promise.all(promised);
  const reader = log.reader(0, PROCESS);
  let read = 0;
  for (let item = await reader.next(); item; item = await reader.next()) {
    assert.equal(item.kind, 'frame');
    read++;
  }
  reader.close();
  assert.equal(read, frames.length);
});

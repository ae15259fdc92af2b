/** The embedded log keeps the contract of partition logs, and states damaged frames. */
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CoveredFile } from '../../../src/broker/log/embedded/covered-file.js';
import { type PartitionLog, partitionOf } from '../../../src/broker/log/partition-log.js';
import { NAME_BYTES_MAX, NODES_PER_PARTITION_MAX, PARTITIONS } from '../../../src/limits.js';
import { nodeFileOps } from '../../../src/storage/file-ops.js';
import { MARKER, RECORD_HEADER_BYTES } from '../../../src/storage/segment-log/format.js';
import { encodeFrame } from '../../../src/wire/frame/frame.js';
import { frameOf, PROCESS, partitionLogContract } from '../../contract/partition-log.js';
import { embedded } from '../../harness/broker/embedded-log.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';

for (const fsync of ['commit', 'interval', 'never'] as const) {
  partitionLogContract(`embedded, ${fsync}`, async () => embedded(fsync));
}

test('a flipped bit is a stated gap, and the frames around it are served', async () => {
  const under = embedded('commit');
  try {
    const log = await under.open();
    for (let i = 0; i < 10; i++) {
      const frame = frameOf(i, i + 1);
      await log.append('a', frame, encodeFrame(frame));
    }
    await log.close();
    const segment = join(under.dir, readdirSync(under.dir).find((name) => name.endsWith('.log'))!);
    const bytes = readFileSync(segment);
    bytes[Math.floor(bytes.length / 2)]! ^= 0x10;
    writeFileSync(segment, bytes);
    const again = await under.open();
    const reader = again.reader(again.firstOffset, PROCESS);
    const kinds: string[] = [];
    for (let item = await reader.next(); item; item = await reader.next()) kinds.push(item.kind);
    assert.deepEqual(
      kinds.filter((kind) => kind === 'damage'),
      ['damage'],
    );
    assert.equal(kinds.filter((kind) => kind === 'frame').length, 9);
  } finally {
    await under.destroy();
  }
});

/** Frames of `a` and `b` in turn, to 10 each, of which some cannot be read when the log is opened again. */
async function damaged(under: ReturnType<typeof embedded>, frames: readonly number[], also = () => {}) {
  const log = await under.open();
  const offsets: number[] = [];
  for (let i = 0; i < 20; i++) {
    const frame = { ...frameOf(Math.floor(i / 2), Math.floor(i / 2) + 1, 100), continues: true };
    offsets.push(await log.append(i % 2 ? 'b' : 'a', frame, encodeFrame(frame)));
  }
  await log.close();
  const segment = join(under.dir, readdirSync(under.dir).find((name) => name.endsWith('.log'))!);
  const bytes = readFileSync(segment);
  const records: number[] = [];
  for (let at = bytes.indexOf(MARKER); at >= 0; at = bytes.indexOf(MARKER, at + 1)) records.push(at);
  for (const at of frames) bytes[records.at(at - 20)! + RECORD_HEADER_BYTES + 50]! ^= 1;
  writeFileSync(segment, bytes);
  also();
  return { log: await under.open(), offsets };
}

const reaching = async (log: PartitionLog, offset: number) => {
  const covered = await log.coveredBefore(offset);
  return ['a', 'b'].map((node) => Number(covered.to(node, 'process')?.timeNs ?? 0n));
};

test('how far frames reached that cannot be read any more, those behind them say, or the file beside the log', async () => {
  const under = embedded('commit');
  try {
    const { log, offsets } = await damaged(under, [5, 12, 19]);
    assert.deepEqual(await reaching(log, offsets[5]!), [3, 2], 'all before it can be read');
    assert.deepEqual(await reaching(log, offsets[6]!), [3, 3], 'the next frame of b says so');
    assert.deepEqual(await reaching(log, offsets[8]!), [4, 4], 'another one was read before it');
    assert.deepEqual(await reaching(log, offsets[13]!), [7, 6]);
    assert.deepEqual(await reaching(log, log.deliverableOffset), [10, 10], 'no frame says so');
    const next = frameOf(10, 11);
    await log.append('b', next, encodeFrame(next));
    assert.deepEqual(await reaching(log, offsets[19]! + 1), [10, 10], 'also where the log has gone on');
    await log.close();
    const file = join(under.dir, 'covered');
    writeFileSync(file, Buffer.alloc(readFileSync(file).length, 0x5a));
    const again = await under.open();
    assert.equal(again.coveredTo('b', 'process')?.timeNs, 11n, 'the log itself is enough');
  } finally {
    await under.destroy();
  }
});

const LOSSES: Record<string, (file: string) => void> = {
  'is gone': (file) => rmSync(file),
  'is noise': (file) => writeFileSync(file, 'noise'),
  'is empty': (file) => truncateSync(file),
  'has lost a node': (file) => truncateSync(file, 512),
};

for (const [what, lose] of Object.entries(LOSSES)) {
  test(`where the file beside the log ${what}, cursors from behind what cannot be read are refused`, async () => {
    const under = embedded('commit');
    try {
      const { log, offsets } = await damaged(under, [9, 19], () => lose(join(under.dir, 'covered')));
      await assert.rejects(log.coveredBefore(log.deliverableOffset), { code: 'cursor_expired' });
      assert.deepEqual(await reaching(log, offsets[9]!), [5, 4], 'what is before that is known');
    } finally {
      await under.destroy();
    }
  });
}

test('what a power cut took of a log that is not synced at once is sent again, whatever the file beside it says', async () => {
  const under = embedded('interval');
  const kept = scratchDirectory('power-cut');
  const write = async (from: number, to: number) => {
    const log = await under.open();
    for (let i = from; i < to; i++) {
      const frame = { ...frameOf(i, i + 1, 100), continues: true };
      await log.append('a', frame, encodeFrame(frame));
    }
    await log.close();
  };
  try {
    await write(0, 5);
    cpSync(under.dir, kept, { recursive: true });
    await write(5, 10);
    copyFileSync(join(under.dir, 'covered'), join(kept, 'covered'));
    for (const name of readdirSync(under.dir)) rmSync(join(under.dir, name));
    cpSync(kept, under.dir, { recursive: true });
    const log = await under.open();
    assert.equal(log.coveredTo('a', 'process')?.timeNs, 5n, 'the node begins there');
    assert.deepEqual(await reaching(log, log.deliverableOffset), [5, 0], 'who stands there has had no more');
  } finally {
    await under.destroy();
  }
});

test('what was found out once needs the file beside the log no more', async () => {
  const under = embedded('commit');
  try {
    const { log, offsets } = await damaged(under, [9, 19]);
    await log.close();
    writeFileSync(join(under.dir, 'covered'), 'noise');
    const again = await under.open();
    for (const offset of [offsets[19]! + 1, again.deliverableOffset])
      assert.deepEqual(await reaching(again, offset), [10, 10]);
    assert.equal(again.coveredTo('b', 'process')?.timeNs, 10n);
  } finally {
    await under.destroy();
  }
});

test('the file of how far nodes reach is bounded: who was silent for longest is forgotten', () => {
  const dir = scratchDirectory('covered');
  const to = (time: number) =>
    new Map([['process', { epoch: 3, timeNs: BigInt(time), lane: 65_535, tie: 2 ** 32 - 1 }]]);
  const name = (at: number) => `node-${at}`.padEnd(NAME_BYTES_MAX, 'x');
  const file = new CoveredFile(nodeFileOps, dir, 'f'.repeat(16));
  for (let at = 0; at < NODES_PER_PARTITION_MAX; at++) file.write(name(at), to(at));
  file.write(name(0), to(7));
  file.write('one more', to(8));
  file.close();
  assert.equal(readFileSync(join(dir, 'covered')).length, NODES_PER_PARTITION_MAX * 512);
  const known = new CoveredFile(nodeFileOps, dir, 'f'.repeat(16)).read();
  assert.equal(known.size, NODES_PER_PARTITION_MAX);
  assert.deepEqual([known.get(name(0)), known.get('one more')], [to(7), to(8)]);
  assert.ok(!known.has(name(1)) && known.has(name(2)));
  assert.deepEqual(new CoveredFile(nodeFileOps, dir, '0'.repeat(16)).read(), new Map(), 'of another log');
});

test('nodes are spread over the partitions, and each always has the same one', () => {
  const seen = new Set<number>();
  for (let i = 0; i < 200; i++) {
    const partition = partitionOf(`node-${i}`);
    assert.equal(partition, partitionOf(`node-${i}`));
    assert.ok(partition >= 0 && partition < PARTITIONS);
    seen.add(partition);
  }
  assert.equal(seen.size, PARTITIONS);
});

test('a reader that passes over many frames of other topics lets others have their turn', async () => {
  const under = embedded('never');
  try {
    const log = await under.open();
    const begun = performance.now();
    for (let i = 0; i < 60_000; i++) {
      const frame = frameOf(i, i + 1, 0, 'syscall');
      void log.append('a', frame, encodeFrame(frame));
    }
    const last = frameOf(0, 1);
    await log.append('a', last, encodeFrame(last));
    const reader = log.reader(log.firstOffset, PROCESS);
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    assert.equal((await reader.next())?.kind, 'frame');
    assert.ok(turned, `read without a turn; writing took ${performance.now() - begun} ms`);
    turned = false;
    setImmediate(() => {
      turned = true;
    });
    const before = await log.coveredBefore(log.deliverableOffset - 1);
    assert.equal(before.to('a', 'syscall')?.timeNs, 60_000n);
    assert.equal(before.to('a', 'process'), undefined);
    assert.ok(turned, 'restored without a turn');
  } finally {
    await under.destroy();
  }
});

/** The embedded log keeps the contract of partition logs, and states damaged frames. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { partitionOf } from '../../../src/broker/log/partition-log.js';
import { PARTITIONS } from '../../../src/limits.js';
import { encodeFrame } from '../../../src/wire/frame/frame.js';
import { frameOf, PROCESS, partitionLogContract } from '../../contract/partition-log.js';
import { embedded } from '../../harness/broker/embedded-log.js';

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

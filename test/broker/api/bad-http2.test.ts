/** What a peer may do beneath gRPC: frames of one byte, streams and headers without end. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { MESSAGE_BYTES_MAX, MiB, STREAMS_PER_CONNECTION_MAX } from '../../../src/limits.js';
import { rawService } from '../../../src/wire/grpc/rpc.js';
import { range } from '../../harness/broker/harness.js';
import { RawHttp2 } from '../../harness/broker/raw-http2.js';
import { framed, Witness } from '../../harness/broker/witness.js';
import { until } from '../../harness/until.js';

const REFUSED_STREAM = 7;
const ENHANCE_YOUR_CALM = 11;
const METHODS = (['Backplane', 'Uplink'] as const).flatMap((service) =>
  Object.values(rawService(service)).map(({ path }) => path),
);

/** From Node.js 22 on the engine lets what is young grow so much larger before it looks for what is garbage. */
const YOUNG_BYTES = Number(process.versions.node.split('.')[0]) < 22 ? 0 : 64 * MiB;

let witness: Witness;
before(async () => {
  witness = await Witness.start();
});
after(() => witness.destroy());

/** What the process grows by, at most, and afterwards everybody is served. */
async function costing(bytesMax: number, act: () => Promise<void>): Promise<void> {
  await witness.served();
  const before = process.memoryUsage.rss();
  let grown = 0;
  const watch = setInterval(() => {
    grown = Math.max(grown, process.memoryUsage.rss() - before);
  }, 20);
  await act().finally(() => clearInterval(watch));
  await witness.served();
  assert.ok(grown < bytesMax + YOUNG_BYTES, `${grown} bytes more are resident`);
}

test('a message of 1 MB in frames of one byte is refused before it takes 100 MB of memory', async () => {
  const bytes = framed(Buffer.alloc(MESSAGE_BYTES_MAX)).subarray(0, -1);
  await costing(96 * MiB, async () => {
    for (const path of METHODS) {
      const raw = await RawHttp2.connect(witness.harness.broker.grpcAddress);
      raw.request(1, path);
      await raw.data(1, bytes, 1);
      await until(`${path} is reset`, () => raw.closed || raw.resets.has(1) || raw.answered.has(1));
      raw.destroy();
    }
  });
});

test('unfinished messages on all streams of one connection together stay within the memory bound', async () => {
  const raw = await RawHttp2.connect(witness.harness.broker.grpcAddress);
  await costing(96 * MiB, async () => {
    for (const stream of range(0, STREAMS_PER_CONNECTION_MAX)) {
      raw.request(1 + 2 * stream, '/backplane.v1.Backplane/Subscribe');
      await raw.data(1 + 2 * stream, framed(Buffer.alloc(100), 0, MESSAGE_BYTES_MAX), 1);
    }
    await until('some are refused', () => raw.resets.size > STREAMS_PER_CONNECTION_MAX / 2);
  });
  assert.ok([...raw.resets.values()].every((code) => code === ENHANCE_YOUR_CALM));
  raw.destroy();
});

test('one stream above the bound is refused, or, once the bound was acknowledged, its connection closed', async () => {
  const oneTooMany = (raw: RawHttp2) => {
    for (const stream of range(0, STREAMS_PER_CONNECTION_MAX + 1)) {
      raw.request(1 + 2 * stream, '/backplane.v1.Backplane/Subscribe');
    }
  };
  const early = await RawHttp2.connect(witness.harness.broker.grpcAddress);
  oneTooMany(early);
  await until('one is refused', () => early.resets.size > 0);
  assert.deepEqual([...early.resets], [[1 + 2 * STREAMS_PER_CONNECTION_MAX, REFUSED_STREAM]]);
  assert.ok(!early.closed);
  early.destroy();
  const late = await RawHttp2.connect(witness.harness.broker.grpcAddress);
  await late.ping();
  oneTooMany(late);
  await until('the end of the connection', () => late.closed);
  await witness.served();
});

test('every method refuses a length of 4 GiB, a decompression bomb, and bytes that are no message', async () => {
  const bomb = gzipSync(Buffer.alloc(64 * MiB));
  const groups = Buffer.alloc(500_000, 0x7b);
  await costing(256 * MiB, async () => {
    for (const path of METHODS) {
      const huge = await witness.call(path, [framed(Buffer.alloc(10), 0, 0xffff_ffff)]);
      assert.ok(['8', '9'].includes(huge.status ?? ''), `${path}: ${huge.status} ${huge.message}`);
      const unpacked = await witness.call(path, [framed(bomb, 1)], { 'grpc-encoding': 'gzip' });
      assert.ok(['8', '9', '13'].includes(unpacked.status ?? ''), `${path}: ${unpacked.status} ${unpacked.message}`);
      for (const bytes of [Buffer.alloc(1000, 0xff), groups, Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])]) {
        const { status, message } = await witness.call(path, [framed(bytes)]);
        // What is asked without a message is not looked at.
        const asked = /List(?!Subscriptions|Nodes)|GetStatus/.test(path)
          ? ['0']
          : [bytes === groups ? '8' : '3', '3', '9'];
        assert.ok(asked.includes(status ?? ''), `${path}: ${status} ${message}`);
        assert.ok(message.length < 400 && !message.includes('\n'), message);
      }
    }
  });
});

test('100,000 streams that are reset at once cost other callers nothing', async () => {
  await costing(192 * MiB, async () => {
    for (let left = 100_000; left > 0; ) {
      const raw = await RawHttp2.connect(witness.harness.broker.grpcAddress);
      for (let id = 1; left > 0 && !raw.closed && id < 50_000; id += 2, left--) {
        raw.request(id, '/backplane.v1.Backplane/Subscribe');
        await raw.reset(id);
        if (id % 1001 === 0) await sleep(0);
      }
      raw.destroy();
    }
  });
});

test('headers that never end are not collected', async () => {
  const raw = await RawHttp2.connect(witness.harness.broker.grpcAddress);
  await costing(96 * MiB, async () => {
    for (const round of range(0, 10_000)) {
      if (raw.closed) break;
      await raw.headersOf(1, 16_000, round === 0);
    }
    await until('the connection is closed', () => raw.closed);
  });
});

/** What every partition log must do, whatever it keeps its frames in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { LogItem, PartitionLog, PartitionReader } from '../../src/broker/log/partition-log.js';
import { BackplaneError } from '../../src/errors.js';
import { encodeFrame, type Frame } from '../../src/wire/frame/frame.js';
import type { Position } from '../../src/wire/position.js';
import { element } from '../harness/arbitrary/frame-arbitrary.js';

export interface LogUnderTest {
  /** The same log at every call, as after a restart. `bytesMax` bounds it by retention. */
  open(bytesMax?: number): Promise<PartitionLog>;
  /** Ends it as a kill would. */
  kill(log: PartitionLog): Promise<void>;
  /** Makes old frames go. */
  enforce(log: PartitionLog): void;
  destroy(): Promise<void>;
}

const position = (time: number): Position => ({ epoch: 1, timeNs: BigInt(time), lane: 0, tie: 0 });

/** Covers (from, to], with `bytes` of one event when given. */
export function frameOf(from: number, to: number, bytes = 0): Frame {
  const events = bytes === 0 ? Buffer.alloc(0) : element(bytes, to);
  return {
    topic: 'process',
    coveredFrom: position(from),
    coveredTo: position(to),
    count: bytes === 0 ? 0 : 1,
    eventSizes: bytes === 0 ? [] : [events.length],
    matches: [],
    shed: [],
    lost: 0,
    lostUnknown: false,
    losses: [],
    refused: false,
    late: 0,
    watermarkNs: 0n,
    timesNs: bytes === 0 ? new BigUint64Array(0) : BigUint64Array.of(BigInt(to)),
    lanes: bytes === 0 ? [] : [0],
    ties: bytes === 0 ? [] : [0],
    events,
  };
}

function append(log: PartitionLog, node: string, from: number, to: number, bytes = 0) {
  const frame = frameOf(from, to, bytes);
  return log.append(node, frame, encodeFrame(frame));
}

async function drain(reader: PartitionReader): Promise<LogItem[]> {
  const items: LogItem[] = [];
  for (let item = await reader.next(); item; item = await reader.next()) items.push(item);
  return items;
}

const shown = (item: LogItem) => (item.kind === 'frame' ? `${item.node}:${item.frame.coveredTo.timeNs}` : item.kind);

export function partitionLogContract(name: string, create: () => Promise<LogUnderTest>): void {
  const each = (what: string, run: (under: LogUnderTest) => Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      const under = await create();
      try {
        await run(under);
      } finally {
        await under.destroy();
      }
    });

  each('frames come back in order, from any offset, with what they said', async (under) => {
    const log = await under.open();
    const offsets: number[] = [];
    for (let i = 0; i < 20; i++) {
      const { offset, durable } = append(log, i % 2 ? 'a' : 'b', i, i + 1, 200);
      offsets.push(offset);
      await durable;
    }
    assert.deepEqual(
      offsets,
      [...new Set(offsets)].sort((x, y) => x - y),
    );
    const items = await drain(log.reader(log.firstOffset));
    assert.deepEqual(
      items.map((item) => item.kind === 'frame' && item.offset),
      offsets,
    );
    const [first] = items;
    assert.ok(first?.kind === 'frame');
    assert.deepEqual(first.frame, frameOf(0, 1, 200));
    const tail = await drain(log.reader(offsets[15]!));
    assert.deepEqual(tail.map(shown), ['a:16', 'b:17', 'a:18', 'b:19', 'a:20']);
  });

  each('nothing is delivered before it is durable, and a reader at the end tails', async (under) => {
    const log = await under.open();
    let told = 0;
    log.onDeliverable(() => told++);
    const reader = log.reader(log.firstOffset);
    assert.equal(await reader.next(), undefined);
    const { offset, durable } = append(log, 'a', 0, 1);
    if (log.deliverableOffset <= offset) assert.equal(await reader.next(), undefined);
    await durable;
    assert.ok(told > 0 && log.deliverableOffset > offset);
    assert.deepEqual((await drain(reader)).map(shown), ['a:1']);
    await append(log, 'a', 1, 2).durable;
    assert.deepEqual((await drain(reader)).map(shown), ['a:2']);
    reader.close();
  });

  each('it knows how far each node goes, at once and after a kill', async (under) => {
    let log = await under.open();
    for (let i = 0; i < 50; i++) await append(log, `n${i % 5}`, i, i + 1, 100).durable;
    void append(log, 'n0', 50, 99).durable.catch(() => undefined);
    assert.deepEqual(log.coveredTo('n0'), position(99));
    await log.settled();
    await under.kill(log);
    log = await under.open();
    assert.deepEqual(log.coveredTo('n0'), position(99));
    assert.deepEqual(log.coveredTo('n4'), position(50));
    assert.equal(log.coveredTo('n9'), undefined);
    const items = await drain(log.reader(log.firstOffset));
    assert.equal(items.length, 51);
    assert.ok(log.nextOffset > (items.at(-1) as { offset: number }).offset);
  });

  each('an offset says how far each node went before it', async (under) => {
    const log = await under.open();
    const expected: [number, Map<string, Position>][] = [];
    const reached = new Map<string, Position>();
    for (let i = 0; i < 30; i++) {
      const node = `n${(i * i) % 4}`;
      const { offset, durable } = append(log, node, i, i + 1, 3000);
      expected.push([offset, new Map(reached)]);
      reached.set(node, position(i + 1));
      await durable;
    }
    for (const [offset, positions] of [...expected, [log.nextOffset, reached] as const]) {
      assert.deepEqual(new Map([...(await log.positionsBefore(offset))].sort()), new Map([...positions].sort()));
    }
  });

  each('offsets that never were are invalid, those that went are expired', async (under) => {
    const log = await under.open(64 * 1024);
    const first = append(log, 'a', 0, 1, 1000);
    await first.durable;
    const reader = log.reader(first.offset);
    for (let i = 1; i < 200; i++) await append(log, 'a', i, i + 1, 1000).durable;
    under.enforce(log);
    assert.ok(log.bytes < 150 * 1024 && log.firstOffset > first.offset);
    const code = async (offset: number) => {
      const error = await log.positionsBefore(offset).then(
        () => undefined,
        (cause: unknown) => cause,
      );
      return error instanceof BackplaneError ? error.code : undefined;
    };
    assert.equal(await code(log.nextOffset + 1), 'cursor_invalid');
    assert.equal(await code(first.offset), 'cursor_expired');
    assert.equal(await code(log.firstOffset), undefined);
    const [gone, next] = await drain(reader);
    assert.equal(gone?.kind, 'evicted');
    assert.ok(next?.kind === 'frame' && next.offset >= log.firstOffset);
    assert.deepEqual(log.coveredTo('a'), position(200));
  });

  each('concurrent appends are all durable, in their order', async (under) => {
    const log = await under.open();
    const appended: Promise<void>[] = [];
    for (let i = 0; i < 200; i++) {
      appended.push(append(log, 'a', i, i + 1, 50).durable);
      if (i % 20 === 0) await turn();
    }
    await Promise.all(appended);
    const items = await drain(log.reader(log.firstOffset));
    assert.deepEqual(
      items.map(shown),
      Array.from({ length: 200 }, (_, i) => `a:${i + 1}`),
    );
  });
}

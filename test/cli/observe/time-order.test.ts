/** Lines of several topics are printed in the order of time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { inOrder, type Line, TimeOrder } from '../../../src/cli/observe/time-order.js';
import { LINE_ORDER_MS } from '../../../src/limits.js';
import { subscribeResponseCodec } from '../../../src/wire/messages.js';
import { type ReceivedBatch, receivedBatch } from '../../../src/wire/received-batch.js';
import { until } from '../../harness/until.js';

function batch(
  topic: string,
  times: readonly number[],
  more: { history?: boolean; node?: string } = {},
): ReceivedBatch {
  const events = times.map((nanos) => ({ type: `${topic}.x`, time: { seconds: 1, nanos } }));
  const cursor = `after-${topic}-${times.at(-1)}`;
  const batch = { node: 'n', topic, cursor, events, ...more };
  return receivedBatch(subscribeResponseCodec.encode({ events: batch }))!;
}

const told = (lines: readonly Line[]) => lines.map(({ topic, event }) => `${topic} ${event.message.time!.nanos}`);

test('batches of two topics of a node are merged by time, and the last line has the last cursor', () => {
  const lines = inOrder([batch('network', [2, 5]), batch('process', [1, 3, 4])]);
  assert.deepEqual(told(lines), ['process 1', 'network 2', 'process 3', 'process 4', 'network 5']);
  assert.deepEqual(
    lines.map(({ cursor }) => cursor),
    ['', '', '', '', 'after-process-4'],
  );
});

test('every event is printed once, in the order of its topic, whatever batches come', async () => {
  const times = fc.array(fc.nat(50), { minLength: 1, maxLength: 5 }).map((all) => all.sort((a, b) => a - b));
  const batches = fc.array(fc.record({ topic: fc.constantFrom('a', 'b', 'c'), times, history: fc.boolean() }));
  await fc.assert(
    fc.asyncProperty(batches, async (all) => {
      const lines: Line[] = [];
      const order = new TimeOrder(async (some) => {
        lines.push(...some);
      });
      const floors = new Map<string, number>();
      const expected: string[] = [];
      for (const { topic, times, history } of all) {
        const floor = floors.get(topic) ?? 0;
        const moved = times.map((time) => time + floor);
        floors.set(topic, moved.at(-1)!);
        expected.push(...moved.map((time) => `${topic} ${time}`));
        await order.add(batch(topic, moved, { history }));
      }
      await order.flush();
      for (const topic of ['a', 'b', 'c']) {
        const of = (names: readonly string[]) => names.filter((name) => name.startsWith(topic));
        assert.deepEqual(of(told(lines)), of(expected));
      }
      assert.equal(lines.length, expected.length);
    }),
  );
});

test('held live lines are printed after a while, and history at once, behind the held lines', async () => {
  const lines: Line[] = [];
  const order = new TimeOrder(async (some) => {
    lines.push(...some);
  });
  await order.add(batch('process', [7]));
  await order.add(batch('process', [8], { history: true }));
  assert.deepEqual(told(lines), ['process 7', 'process 8']);
  await order.add(batch('network', [9]));
  await until('the live line', () => lines.length === 3);
});

test('few live batches of one node are printed in order at the end of the turn, many and those of several nodes later', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const lines: Line[] = [];
  const order = new TimeOrder(async (some) => {
    lines.push(...some);
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  await order.add(batch('network', [2]));
  await order.add(batch('process', [1]));
  assert.ok(order.holds);
  await turn();
  assert.deepEqual(told(lines.splice(0)), ['process 1', 'network 2']);
  for (const [first, second] of [
    [batch('network', [4]), batch('process', Array(100).fill(3))],
    [batch('network', [6]), batch('process', [5], { node: 'm' })],
    [batch('network', [8]), batch('process', [7])],
  ] as const) {
    await order.add(second);
    await turn();
    assert.equal(lines.length, 0);
    await order.add(first);
    t.mock.timers.tick(LINE_ORDER_MS);
    await turn();
    const printed = told(lines.splice(0));
    assert.equal(printed.length, second.received.length + 1);
    assert.match(printed.at(-1)!, /^network/);
  }
});

test('a slow reader is waited for', async () => {
  let release: () => void = () => {};
  const order = new TimeOrder(
    () =>
      new Promise((resolve) => {
        release = resolve;
      }),
  );
  await order.add(batch('process', [1]));
  void order.flush();
  let taken = false;
  const second = order.add(batch('process', [2])).then(() => {
    taken = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(taken, false);
  release();
  await second;
});

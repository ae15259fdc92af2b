/** Credit, byte pools, signals and stream writers: the pieces of backpressure. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { BytePool } from '../../src/flow/byte-pool.js';
import { CreditBalance, CreditWindow } from '../../src/flow/credit.js';
import { Signal } from '../../src/flow/signal.js';
import { StreamWriter } from '../../src/flow/stream-writer.js';

test('credit: a sender that keeps to it never stalls for good and is never found in breach', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 1000 }),
      fc.array(fc.integer({ min: 1, max: 400 })),
      async (size, frames) => {
        const balance = new CreditBalance(size);
        const window = new CreditWindow(size, (bytes) => balance.add(bytes));
        const never = new AbortController().signal;
        let granted = size;
        let sent = 0;
        for (const bytes of frames) {
          await balance.positive(never);
          balance.take(bytes);
          sent += bytes;
          assert.ok(window.received(bytes));
          assert.ok(sent < granted + 400 + size);
          window.consumed(bytes);
          granted += bytes;
        }
      },
    ),
  );
});

test('credit: a sender that exceeds it is found in breach', () => {
  const grants: number[] = [];
  const window = new CreditWindow(100, (bytes) => grants.push(bytes));
  assert.ok(window.received(60));
  assert.ok(window.received(60));
  assert.equal(window.received(1), false);
  window.consumed(60);
  assert.deepEqual(grants, [60]);
});

test('credit: a window that may grow doubles as long as it is read, and is never more than it may be', async () => {
  const allowed = 4_096;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 64 }), async (first) => {
      const balance = new CreditBalance(first);
      let size = first;
      const grow = (bytes: number) => {
        if (size + bytes > allowed) return false;
        size += bytes;
        return true;
      };
      const window = new CreditWindow(first, (bytes) => balance.add(bytes), grow);
      for (let frames = 0; frames < 2_000; frames++) {
        assert.ok(balance.available > 0 && balance.available <= size);
        const bytes = 1 + (frames % size);
        balance.take(bytes);
        assert.ok(window.received(bytes));
        window.consumed(bytes);
      }
      assert.ok(size > allowed / 2 && size <= allowed);
    }),
    { numRuns: 20 },
  );
});

test('credit: a waiting sender is released by an abort', async () => {
  const abort = new AbortController();
  const waiting = new CreditBalance(0).positive(abort.signal);
  abort.abort();
  await waiting;
});

test('a byte pool serves in order of arrival, drops requests that were given up, and gets all bytes back', async () => {
  const pool = new BytePool(100);
  const order: string[] = [];
  const giveUp = new AbortController();
  const never = new AbortController().signal;
  const first = (await pool.take(80, never))!;
  const second = pool.take(90, giveUp.signal).then((release) => order.push(release ? 'second' : 'gave up'));
  const third = pool.take(50, never).then((release) => {
    order.push('third');
    release?.();
  });
  await turn();
  assert.deepEqual(order, [], 'the small one does not overtake');
  assert.ok(await pool.take(0, never), 'who needs nothing waits for nobody');
  giveUp.abort();
  first();
  first();
  await Promise.all([second, third]);
  assert.deepEqual(order, ['gave up', 'third']);
  const everything = await pool.take(1_000_000, never);
  assert.ok(everything, 'more than all of it counts as all of it');
});

test('a signal between two waits is not lost', async () => {
  const signal = new Signal();
  const never = new AbortController().signal;
  signal.notify();
  signal.notify();
  await signal.wait(never, 60_000);
  const waiting = signal.wait(never, 60_000);
  signal.notify();
  await waiting;
  await signal.wait(AbortSignal.abort(), 60_000);
});

test('signal: the longest wait is no wait of a millisecond', async () => {
  for (const ms of [2 ** 31 - 1, Number.POSITIVE_INFINITY]) {
    const signal = new Signal();
    const waiting = signal.wait(new AbortController().signal, ms);
    const timer = setTimeout(() => signal.notify(), 50);
    assert.equal(await waiting, true, 'it was woken, and not by the time');
    clearTimeout(timer);
  }
});

/** A stream whose consumer takes a chunk only when the test says so. */
class Tap extends Writable {
  readonly taken: string[] = [];
  #pending: (() => void)[] = [];

  constructor() {
    super({ objectMode: true, highWaterMark: 1_000 });
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.taken.push(chunk);
    this.#pending.push(done);
  }

  async take(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      this.#pending.shift()?.();
      await turn();
    }
  }
}

test('a writer keeps its bound in bytes, whatever the high-water mark of the stream', async () => {
  const tap = new Tap();
  const writer = new StreamWriter<string>(tap, { bytesMax: 100, sizeOf: (text) => text.length });
  await writer.write('a'.repeat(100));
  let written = false;
  const over = writer.write('b').then(() => {
    written = true;
  });
  await turn();
  assert.equal(written, false);
  assert.equal(writer.tryWrite('c'), false);
  assert.equal(writer.inFlightBytes, 101);
  await tap.take(1);
  await over;
  await tap.take(1);
  assert.equal(writer.tryWrite('c'), true);
  await tap.take(1);
  assert.deepEqual(tap.taken, ['a'.repeat(100), 'b', 'c']);
});

test('a waiting writer is released when its stream is destroyed, cancelled or ends', async () => {
  for (const end of [(tap: Tap) => tap.destroy(), (tap: Tap) => tap.emit('cancelled')]) {
    const tap = new Tap();
    const writer = new StreamWriter<string>(tap, { bytesMax: 1, sizeOf: (text) => text.length });
    const waiting = writer.write('long');
    await turn();
    end(tap);
    await assert.rejects(waiting, /the stream has ended/);
    assert.ok(writer.closed.aborted);
    await assert.rejects(writer.write('more'), /the stream has ended/);
    assert.throws(() => writer.tryWrite('more'), /the stream has ended/);
  }
});

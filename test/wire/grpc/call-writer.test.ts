/** Messages that wait on a stream go together: one that is taken slowly does not hold up each of them for a turn. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { joinWrites } from '../../../src/wire/grpc/call-writer.js';

/** As a gRPC call is: each message has its own callback. */
class Call extends Writable {
  readonly taken: string[] = [];
  readonly #callbacks: ((error?: Error | null) => void)[] = [];

  constructor() {
    super({ objectMode: true });
  }

  override _write(message: string, _: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.taken.push(message);
    this.#callbacks.push(callback);
  }

  /** What was taken is on its way. */
  sent(error?: Error): void {
    for (const callback of this.#callbacks.splice(0)) callback(error);
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('all that waits behind a message is written in one turn, in order, and each is told of', async () => {
  const call = new Call();
  joinWrites(call);
  const told: string[] = [];
  for (const message of ['a', 'b', 'c', 'd']) call.write(message, () => told.push(message));
  assert.deepEqual(call.taken, ['a']);
  call.sent();
  await turn();
  assert.deepEqual([call.taken, told], [['a', 'b', 'c', 'd'], ['a']]);
  for (const message of ['e', 'f']) call.write(message, () => told.push(message));
  call.sent();
  await turn();
  assert.deepEqual(told, ['a', 'b', 'c', 'd']);
  call.sent();
  await turn();
  assert.deepEqual([call.taken.join(''), told.join('')], ['abcdef', 'abcdef']);
});

test('a message that cannot be written ends the stream, and each that waited is told', async () => {
  const call = new Call();
  joinWrites(call);
  const told: (string | undefined)[] = [];
  let failed: Error | undefined;
  call.on('error', (cause) => {
    failed = cause;
  });
  for (const message of ['a', 'b', 'c']) call.write(message, (cause) => told.push(cause?.message));
  call.sent();
  await turn();
  call.sent(new Error('gone'));
  await turn();
  assert.equal(failed?.message, 'gone');
  assert.deepEqual(told, [undefined, 'gone', 'gone']);
});

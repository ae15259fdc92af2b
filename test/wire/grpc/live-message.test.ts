/** Messages with several frames. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIVE_MESSAGE_FRAMES_MAX } from '../../../src/limits.js';
import { decodeLiveMessage } from '../../../src/wire/grpc/rpc.js';

/** A field with bytes, of at most 127 or of 2 ** 20. */
function field(number: number, bytes: Buffer): Buffer {
  const length = bytes.length < 128 ? [bytes.length] : [0x80, 0x80, 0x40];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}

const frames = (count: number) => Array.from({ length: count }, (_, at) => Buffer.from(`frame ${at}`));

test('a message holds 1 to 64 frames, in their order', () => {
  const sent = frames(LIVE_MESSAGE_FRAMES_MAX);
  const message = Buffer.concat(sent.map((frame) => field(1, frame)));
  assert.deepEqual(decodeLiveMessage(message), sent);
  assert.throws(
    () => decodeLiveMessage(Buffer.concat([message, field(1, Buffer.from('one more'))])),
    /live message: frames must be at most 64, got more/,
  );
  assert.throws(() => decodeLiveMessage(Buffer.alloc(0)), /live message: frames must be at least 1, got none/);
});

test('frames in a message that is mostly something else do not keep it in memory', () => {
  const [frame] = frames(1);
  const alone = field(1, frame!);
  const padded = Buffer.concat([alone, field(15, Buffer.alloc(2 ** 20))]);
  assert.equal(decodeLiveMessage(alone)[0]!.buffer, alone.buffer);
  const [copy] = decodeLiveMessage(padded);
  assert.deepEqual(copy, frame);
  assert.notEqual(copy!.buffer, padded.buffer);
});

/** What a query for the last events holds of one stretch is bounded, however large its events are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HISTORY_FRAME_BYTES, LAST_BYTES_MAX, LAST_MAX } from '../../../src/limits.js';
import { HistoryBuilder, NewestFrames } from '../../../src/sensor-agent/history/history-builder.js';

test('the newest events are held up to a frame beyond what a broker refuses', () => {
  const newest = new NewestFrames(LAST_MAX);
  const builder = new HistoryBuilder((frame) => newest.add(frame));
  const process = { pid: 7, commandArgs: ['/bin/x', 'y'.repeat(16_000)] };
  const add = (at: number) => {
    const position = { epoch: 1, timeNs: BigInt(at), lane: 0, tie: 0 };
    builder.add({ type: 'process.fork', topic: 'process', position, wallNs: BigInt(at), process }, undefined, []);
  };
  for (let at = 0; at < LAST_MAX; at += 1) add(at);
  builder.flush();
  assert.ok(newest.bytes > LAST_BYTES_MAX, 'a broker refuses it');
  assert.ok(newest.bytes <= LAST_BYTES_MAX + 2 * HISTORY_FRAME_BYTES, `${newest.bytes} bytes are held`);
  assert.equal(newest.frames.at(-1)!.timesNs.at(-1), BigInt(LAST_MAX - 1));
});

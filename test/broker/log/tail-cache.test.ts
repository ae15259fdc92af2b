/** The newest frames are in memory: so many bytes, and more of what has just come. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LogEntry } from '../../../src/broker/log/partition-log.js';
import { PartitionTail, TailCache } from '../../../src/broker/log/tail-cache.js';

const TOPICS = new Set(['process']);
/** Of a cached entry beside its frame. */
const ENTRY_BYTES = 512;
const FRAME_BYTES = 488;
const entry = (offset: number) =>
  ({ kind: 'frame', offset, bytes: FRAME_BYTES, frame: { topic: 'process', count: 0 } }) as unknown as LogEntry;

test('beyond its bound the oldest goes, unless it has just come, and in any case beyond the other bound', () => {
  const clock = { ms: 0 };
  const each = ENTRY_BYTES + FRAME_BYTES;
  const bounds = { bytesMax: 4 * each, newestBytesMax: () => 8 * each, newestMs: 100 };
  const cache = new TailCache(bounds, () => clock.ms);
  const tails = [new PartitionTail(cache, 0), new PartitionTail(cache, 0)] as const;
  let at = 0;
  const add = (count: number) => {
    for (let times = 0; times < count; times++, at++) tails[at % 2]!.add(entry(at));
  };
  add(8);
  assert.deepEqual(
    tails.map(({ from }) => from),
    [0, 0],
  );
  add(1);
  assert.deepEqual(
    tails.map(({ from }) => from),
    [1, 0],
  );
  clock.ms = 101;
  add(1);
  // The four that came last, of which three have not just come.
  assert.deepEqual(
    tails.map(({ from }) => from),
    [5, 6],
  );
  assert.equal(tails[0].find(0, TOPICS)?.offset, 6);
  assert.equal(tails[1].find(0, TOPICS)?.offset, 7);
});

/** What is shed is counted by the set of predicates that an event matches, within the bounds of a frame. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FRAME_SHED_IDS_MAX, PREDICATES_MAX } from '../../../src/limits.js';
import { FrameBuilder } from '../../../src/sensor-agent/publish/frame-builder.js';
import { decodeFrame, encodeFrame } from '../../../src/wire/frame/frame.js';

const at = (timeNs: number) => ({ epoch: 1, timeNs: BigInt(timeNs), lane: 0, tie: 0 });

test('of each set of predicates it is known how many events match exactly these', () => {
  const builder = new FrameBuilder('process', at(0), true);
  for (const [index, ids] of [[1n], [1n, 2n], [2n], [1n, 2n], [1n], [1n]].entries()) builder.shed(at(index + 1), ids);
  const { shed } = decodeFrame(encodeFrame(builder.take(at(10), 10n)));
  assert.deepEqual(shed, [
    { predicateIds: [1n], events: 3 },
    { predicateIds: [1n, 2n], events: 2 },
    { predicateIds: [2n], events: 1 },
  ]);
  builder.shed(at(11), [1n]);
  assert.deepEqual(builder.take(at(12), 12n).shed, [{ predicateIds: [1n], events: 1 }], 'the next frame begins anew');
});

test('a frame is full before its sets may be more than a frame can have, and such a frame is valid', () => {
  const builder = new FrameBuilder('process', at(0), true);
  const all = Array.from({ length: PREDICATES_MAX }, (_, id) => BigInt(id + 1));
  let events = 0;
  for (; !builder.full; events++) {
    builder.shed(
      at(events + 1),
      all.filter((id) => id !== BigInt(events + 1)),
    );
  }
  assert.ok(events * (PREDICATES_MAX - 1) <= FRAME_SHED_IDS_MAX);
  const frame = builder.take(at(events + 1), 1n);
  assert.equal(decodeFrame(encodeFrame(frame)).shed.length, events);
});

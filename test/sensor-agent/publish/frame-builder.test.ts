/** Frames end before they are too large to be sent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PREDICATES_MAX } from '../../../src/limits.js';
import { FrameBuilder } from '../../../src/sensor-agent/publish/frame-builder.js';
import { decodeFrame, encodeFrame } from '../../../src/wire/frame/frame.js';
import { ORIGIN } from '../../../src/wire/position.js';

test('a full frame can be sent, however many predicates match some of its events', () => {
  for (const predicates of [1, 60, 300, PREDICATES_MAX]) {
    const ids = Array.from({ length: predicates }, (_, id) => BigInt(id + 1));
    const builder = new FrameBuilder('process', ORIGIN, false);
    let matches = 0;
    for (let at = 1; !builder.full; at++) {
      const position = { epoch: 1, timeNs: BigInt(at), lane: 0, tie: 0 };
      const event = { type: 'process.exit', topic: 'process', position, wallNs: BigInt(at), process: { pid: at } };
      // Each of them matches all but every third event.
      const matched = predicates === 1 ? ids : ids.filter((id) => (id + BigInt(at)) % 3n !== 0n);
      builder.add(event, matched, (bytes) => bytes);
      matches += matched.length;
    }
    const { last } = builder;
    const frame = decodeFrame(encodeFrame(builder.take(last!, 1n)));
    const found = frame.matches.reduce((sum, { all, indices }) => sum + (all ? frame.count : indices.length), 0);
    assert.equal(found, matches);
  }
});

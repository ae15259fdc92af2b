/** The frame codec: exact, equal to protobufjs, and safe against any bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../../src/errors.js';
import { EVENT_BYTES_MAX, FRAME_BYTES_MAX, FRAME_EVENTS_MAX } from '../../../src/limits.js';
import { decodeFrame, encodeFrame, type Frame } from '../../../src/wire/frame/frame.js';
import { decodeHistoryFrame, encodeHistoryFrame } from '../../../src/wire/frame/history-frame.js';
import { type MessageCodec, messageCodec } from '../../../src/wire/schema.js';
import { element, frameArbitrary, historyFrameArbitrary } from '../../harness/arbitrary/frame-arbitrary.js';
import { frameOver } from '../../harness/frames.js';
import { runs } from '../../harness/runs.js';

/** The library's codec, by the .proto file. */
function library(name: string): MessageCodec<object, Record<string, unknown>> {
  return messageCodec(name);
}

function refused(run: () => unknown): BackplaneError | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof BackplaneError, String(error));
    assert.equal(error.code, 'invalid_argument');
    assert.doesNotMatch(error.message, /\n/);
    return error;
  }
}

test('a decoded frame equals the encoded one', () => {
  fc.assert(
    fc.property(frameArbitrary, (frame) => {
      assert.deepEqual(decodeFrame(encodeFrame(frame)), frame);
    }),
  );
  fc.assert(
    fc.property(historyFrameArbitrary, (frame) => {
      assert.deepEqual(decodeHistoryFrame(encodeHistoryFrame(frame)), frame);
    }),
  );
});

test('protobufjs reads frames of this codec, and this codec those of protobufjs', () => {
  fc.assert(
    fc.property(frameArbitrary, (frame) => {
      const bytes = encodeFrame(frame);
      const theirs = library('Frame').decode(bytes, FRAME_BYTES_MAX);
      assert.deepEqual(theirs.eventTimesNs, [...frame.timesNs].map(String));
      assert.deepEqual(decodeFrame(library('Frame').encode(theirs)), frame);
    }),
  );
  fc.assert(
    fc.property(historyFrameArbitrary, (frame) => {
      const theirs = library('HistoryFrame').decode(encodeHistoryFrame(frame), FRAME_BYTES_MAX);
      assert.deepEqual(decodeHistoryFrame(library('HistoryFrame').encode(theirs)), frame);
    }),
  );
});

test('a frame cut at any byte is refused, or is another valid frame', () => {
  fc.assert(
    fc.property(frameArbitrary, (frame) => {
      const bytes = encodeFrame(frame);
      for (let end = 0; end < bytes.length; end++) {
        refused(() => encodeFrame(decodeFrame(bytes.subarray(0, end))));
      }
    }),
    { numRuns: runs(40) },
  );
});

test('a frame with any byte changed, or garbage, is refused, or is another valid frame', () => {
  fc.assert(
    fc.property(frameArbitrary, fc.nat(), fc.integer({ min: 1, max: 255 }), (frame, at, flip) => {
      const bytes = encodeFrame(frame);
      const index = at % bytes.length;
      bytes[index] = bytes[index]! ^ flip;
      refused(() => encodeFrame(decodeFrame(bytes)));
    }),
    { numRuns: runs(500) },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      refused(() => decodeFrame(Buffer.from(bytes)));
      refused(() => decodeHistoryFrame(Buffer.from(bytes)));
    }),
    { numRuns: runs(1000) },
  );
});

const ONE = element(3, 1);

function frame(change: Partial<Frame>): Frame {
  return frameOver(position(0n), position(100n), {
    count: 2,
    eventSizes: [ONE.length, ONE.length],
    matches: [{ predicateId: 7n, all: false, indices: [1] }],
    watermarkNs: 1n,
    timesNs: BigUint64Array.of(5n, 6n),
    lanes: [0, 0],
    ties: [0, 0],
    events: Buffer.concat([ONE, ONE]),
    ...change,
  });
}

const position = (timeNs: bigint, epoch = 1) => ({ epoch, timeNs, lane: 0, tie: 0 });

test('a frame that contradicts itself is refused, with the reason', () => {
  encodeFrame(frame({}));
  const broken: [Partial<Frame>, RegExp][] = [
    [{ topic: '../../etc' }, /topic must be/],
    [{ topic: '' }, /topic must be/],
    [{ count: 3 }, /count must be the number of event_sizes, 2, got 3/],
    [{ timesNs: BigUint64Array.of(5n) }, /columns must have equal lengths/],
    [{ timesNs: BigUint64Array.of(6n, 5n) }, /position order, event 1/],
    [{ timesNs: BigUint64Array.of(5n, 5n) }, /position order, event 1/],
    [{ lanes: [0, 70_000] }, /lane of event 1 must be at most 65535, got 70000/],
    [{ eventSizes: [ONE.length, ONE.length - 1] }, /event 1 is not one element/],
    [{ eventSizes: [2 * ONE.length, 0] }, /event 0 is not one element/],
    [{ events: Buffer.concat([ONE, ONE, ONE]) }, /event_sizes must add up to 15 bytes of events, got 10/],
    [{ events: Buffer.from('0000000000') }, /event 0 is not one element/],
    [{ coveredFrom: position(101n) }, /covered_from must not come after covered_to/],
    [{ coveredFrom: position(5n) }, /first event must come after covered_from/],
    [{ coveredTo: position(5n) }, /last event must not come after covered_to/],
    [{ matches: [{ predicateId: 7n, all: false, indices: [2] }] }, /must ascend and be below 2, got 2/],
    [{ matches: [{ predicateId: 7n, all: false, indices: [1, 0] }] }, /must ascend/],
    [{ matches: [{ predicateId: 7n, all: true, indices: [0] }] }, /either all or indices/],
    [{ matches: [{ predicateId: 7n, all: false, indices: [] }] }, /either all or indices/],
    [{ matches: [1, 2].map(() => ({ predicateId: 7n, all: true, indices: [] })) }, /two match lists/],
  ];
  for (const [change, reason] of broken) assert.match(refused(() => encodeFrame(frame(change)))?.message ?? '', reason);
});

test('the largest allowed frame passes, and one beyond any bound does not', () => {
  const many = (count: number, body: number): Partial<Frame> => {
    const one = element(body, 0);
    return {
      count,
      eventSizes: Array.from({ length: count }, () => one.length),
      timesNs: BigUint64Array.from({ length: count }, (_, index) => BigInt(index + 1)),
      lanes: Array.from({ length: count }, () => 0xffff),
      ties: Array.from({ length: count }, () => 0xffff_ffff),
      matches: [{ predicateId: 7n, all: true, indices: [] }],
      coveredTo: position(1_000_000n),
      events: Buffer.concat(Array.from({ length: count }, () => one)),
    };
  };
  const largest = frame(many(FRAME_EVENTS_MAX, FRAME_BYTES_MAX / FRAME_EVENTS_MAX - 2));
  assert.equal(decodeFrame(encodeFrame(largest)).events.length, FRAME_BYTES_MAX);
  assert.match(refused(() => encodeFrame(frame(many(FRAME_EVENTS_MAX + 1, 1))))?.message ?? '', /at most 8192 events/);
  assert.match(refused(() => encodeFrame(frame(many(5, EVENT_BYTES_MAX))))?.message ?? '', /at most 262144 bytes/);
  encodeFrame(frame(many(1, EVENT_BYTES_MAX)));
  assert.match(refused(() => encodeFrame(frame(many(1, EVENT_BYTES_MAX + 8))))?.message ?? '', /size of event 0/);
});

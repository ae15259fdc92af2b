/** What passes is an event for everybody: decoders, JSON, field masks. What passes not is named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { eventFault, walkedFault } from '../../../src/wire/event/event-check.js';
import { type EventShape, shapeOfMessage } from '../../../src/wire/event/event-shape.js';
import { eventWallNs } from '../../../src/wire/event/event-time.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';
import { compileFieldMask, cutRuns } from '../../../src/wire/event/field-mask.js';
import { encodeEventBatch } from '../../../src/wire/frame/splice.js';
import { decodeSubscribeResponse } from '../../../src/wire/grpc/rpc.js';
import { responseToJson } from '../../../src/wire/message-json.js';
import { subscribeResponseCodec } from '../../../src/wire/messages.js';
import type { ReceivedBatch } from '../../../src/wire/received-batch.js';
import { event } from '../../harness/arbitrary/event-arbitrary.js';
import { runs } from '../../harness/runs.js';

const MASK = compileFieldMask(['process.pid', 'process.executable.path', 'network.peer', 'raw.fields', 'syscall']);

function faultOf(body: Buffer): string | undefined {
  // The quick test passes nothing that the walk does not.
  const fault = walkedFault(body, 0, body.length);
  assert.equal(eventFault(body, 0, body.length), fault);
  // Nor does it look behind the end, where a frame goes on.
  const within = Buffer.concat([Buffer.from([0x80]), body, Buffer.from([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])]);
  assert.equal(eventFault(within, 1, 1 + body.length) === undefined, fault === undefined);
  return fault;
}

/** As an element of a batch. */
function element(body: Buffer): Buffer {
  const length: number[] = [];
  for (let rest = body.length; ; rest >>>= 7) {
    length.push(rest < 128 ? rest : (rest & 0x7f) | 0x80);
    if (rest < 128) break;
  }
  return Buffer.concat([Buffer.from([0x2a, ...length]), body]);
}

const HEADER = { node: 'a', topic: 'process', history: false, cursor: 'c' };

function useEverywhere(body: Buffer): void {
  const run = element(body);
  const lines = responseToJson(subscribeResponseCodec.decode(encodeEventBatch(HEADER, [run]), 1 << 20));
  assert.ok(JSON.stringify(lines).includes('"node":"a"'));
  assert.ok(eventWallNs(run) >= 0n);
  cutRuns(run, MASK);
}

function bodyOf(run: Buffer): Buffer {
  return run.subarray(run[1]! < 128 ? 2 : run[2]! < 128 ? 3 : 4);
}

test('every event that a node writes passes the check', () => {
  fc.assert(
    fc.property(event, (one) => {
      const writer = new EventWriter();
      writer.write(one);
      assert.equal(faultOf(bodyOf(writer.take())), undefined);
    }),
  );
});

test('every event that passes, even mutated at random, can be decoded, printed, masked and dated', () => {
  let passed = 0;
  const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(event, flips, fc.nat({ max: 40 }), (one, mutations, cutBytes) => {
      const writer = new EventWriter();
      writer.write(one);
      let body = Buffer.from(bodyOf(writer.take()));
      for (const [at, value] of mutations) body[at % body.length] = value;
      if (cutBytes < 10) body = body.subarray(0, body.length - cutBytes);
      if (faultOf(body) !== undefined) return;
      passed += 1;
      useEverywhere(body);
    }),
    { numRuns: runs(3000) },
  );
  assert.ok(passed > 100, `only ${passed} mutations passed: the property says little`);
});

const varint = (bytes: number, last: number) => [...new Array<number>(bytes - 1).fill(0xff), last];

/** A varint lengthened by zeros. */
function padded(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => ((value >>> (7 * i)) & 0x7f) | (i < bytes - 1 ? 0x80 : 0));
}

const FAULTS: Readonly<Record<string, readonly [readonly number[], RegExp]>> = {
  'bytes that are no fields': [[0xff, 0xff, 0xff, 0xff], /varint/],
  'a field that ends behind its event': [[0x0a, 5, 0x61], /field 1 must end within/],
  'a message that ends behind the one around it': [[0x22, 3, 0x1a, 9, 0x61], /field 3 must end within/],
  'a length without bytes': [[0x0a], /field 1 must end within/],
  'text that is not UTF-8': [[0x0a, 2, 0xc3, 0x28], /field 1 must be UTF-8/],
  'text with a surrogate': [[0x0a, 3, 0xed, 0xa0, 0x80], /field 1 must be UTF-8/],
  'text with an overlong byte': [[0x0a, 2, 0xc0, 0x80], /field 1 must be UTF-8/],
  'an argument that is not UTF-8': [[0x22, 3, 0x2a, 1, 0x80], /field 5 must be UTF-8/],
  'long text that is not UTF-8': [[0x0a, 200, 1, ...new Array<number>(199).fill(0x61), 0xff], /field 1 must be UTF-8/],
  'a key of a map that is not UTF-8': [[0x4a, 5, 0x12, 3, 0x0a, 1, 0xff], /field 1 must be UTF-8/],
  'an entry of a map of messages without its value': [
    [0x8a, 1, 9, 0x3a, 7, 0x2a, 5, 0x0a, 3, 0x0a, 1, 0x61],
    /field 2 of an entry must not be missing/,
  ],
  'text as a number': [[0x08, 1], /field 1 must not have wire type 0/],
  'a number as text': [[0x22, 3, 0x0a, 1, 0x61], /field 1 must not have wire type 2/],
  'a time as eight bytes': [[0x11, 1, 2, 3, 4, 5, 6, 7, 8], /field 2 must not have wire type 1/],
  'a fixed number as four bytes': [[0x1a, 5, 0x15, 1, 2, 3, 4], /field 2 must not have wire type 5/],
  'eight bytes cut short': [[0x1a, 3, 0x11, 1, 2], /last field must end/],
  'packed numbers that are no multiple of eight': [[0x52, 5, 0x1a, 3, 1, 2, 3], /multiple of 8/],
  'a varint of eleven bytes': [[0x22, 12, 0x08, ...varint(11, 1)], /varint .* 10 bytes/],
  'a length of six bytes': [[0x0a, ...padded(1, 6), 0x61], /varint .* 5 bytes/],
  'a number of 32 bits in six bytes': [[0x22, 7, 0x08, ...padded(1, 6)], /varint of 32 bits/],
  'nanoseconds in nine bytes': [[0x12, 10, 0x10, ...padded(1, 9)], /varint .* 5 bytes/],
  'a varint without an end': [[0x22, 2, 0x08, 0x80], /varint/],
  'a tag of six bytes': [[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], /varint .* 5 bytes/],
  'a tag beyond 32 bits': [[0xff, 0xff, 0xff, 0xff, 0x7f], /tag must be below/],
  'field number 0': [[0x00, 0x00], /field number/],
  'a group': [[0x0b, 0x0c], /wire type 3/],
  'an unknown group': [[0xfb, 0x01, 0xfc, 0x01], /wire type 3/],
  'a wire type that does not exist': [[0x0e], /wire type 6/],
  'a time behind 9999': [[0x12, 7, 0x08, ...varint(6, 0x7f)], /1970 to 9999/],
  'a time before 1970': [[0x12, 11, 0x08, ...varint(10, 1)], /1970 to 9999/],
  'a billion nanoseconds': [[0x12, 6, 0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03], /1970 to 9999/],
  'a bad time behind an unknown field': [[0x12, 10, 0x9a, 0x06, 0, 0x08, ...varint(6, 0x7f)], /1970 to 9999/],
  'a creation time of no year': [[0x22, 9, 0x52, 7, 0x08, ...varint(6, 0x7f)], /1970 to 9999/],
};

for (const [what, [bytes, fault]] of Object.entries(FAULTS)) {
  test(`an event with this fault is refused: ${what}`, () =>
    assert.match(faultOf(Buffer.from(bytes)) ?? 'passes', fault));
}

/** Calls `visit` with each field of a message and of those within, and with what puts a message's bytes into an event. */
function eachField(
  shape: EventShape,
  around: (body: readonly number[]) => readonly number[],
  visit: (field: number, around: (body: readonly number[]) => readonly number[]) => void,
  depth = 0,
): void {
  for (let field = 1; field < shape.kinds.length; field++) {
    visit(field, around);
    const within = shape.inner[field];
    const prefix = padded(field * 8 + 2, field < 16 ? 1 : 2);
    // The body of an application's event nests without end.
    if (within && depth < 8) eachField(within, (body) => around([...prefix, body.length, ...body]), visit, depth + 1);
  }
}

test('a varint padded with zeros is either refused or read the same everywhere, with the fields behind it', () => {
  let passed = 0;
  eachField(
    shapeOfMessage('Event'),
    (body) => body,
    (field, around) => {
      for (let bytes = 1; bytes <= 10; bytes++) {
        const number = [...padded(field * 8, 2), ...padded(1, bytes)];
        const chunk = [...padded(field * 8 + 2, 2), ...padded(0, bytes)];
        for (const one of [number, chunk, [...number, ...number], [...chunk, ...number]]) {
          const body = Buffer.from([...around(one), 0x0a, 1, 0x7a]);
          if (faultOf(body) !== undefined) continue;
          passed++;
          useEverywhere(body);
          const bytes = encodeEventBatch(HEADER, [element(body)]);
          const [line] = responseToJson(subscribeResponseCodec.decode(bytes, 1 << 20));
          assert.equal((line!.event as { type?: string }).type, 'z');
        }
      }
    },
  );
  assert.ok(passed > 500, `only ${passed} passed: the test says little`);
});

const SOUND: Readonly<Record<string, readonly number[]>> = {
  'nothing at all': [],
  'an unknown number': [0xf8, 0x01, 0x05],
  'unknown bytes that are no text': [0xfa, 0x01, 2, 0xff, 0xff],
  'an unknown field in a message': [0x22, 4, 0xfa, 0x01, 1, 0xff],
  'an unknown fixed field of each size': [0xf9, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 0xfd, 0x01, 1, 2, 3, 4],
  'a varint of ten bytes': [0x22, 11, 0x08, ...varint(10, 1)],
  'a length of five bytes': [0x0a, ...padded(1, 5), 0x61],
  'a number of five bytes': [0x22, 6, 0x08, ...padded(1, 5)],
  'a field that comes twice': [0x0a, 1, 0x61, 0x0a, 1, 0x62],
  'numbers one by one that are packed otherwise': [0x52, 9, 0x19, 1, 2, 3, 4, 5, 6, 7, 8],
  'a map with a field that is called as none may be': [0x4a, 13, 0x12, 11, 0x0a, 9, ...Buffer.from('__proto__')],
};

for (const [what, bytes] of Object.entries(SOUND)) {
  test(`an unusual but valid event passes: ${what}`, () => {
    assert.equal(faultOf(Buffer.from(bytes)), undefined);
    useEverywhere(Buffer.from(bytes));
  });
}

test('fields of a raw event that are named like those of a time are printed unchanged', () => {
  const writer = new EventWriter();
  const position = { epoch: 1, timeNs: 1n, lane: 0, tie: 0 };
  const raw = { name: 'timer', fields: { seconds: 'x', nanos: 'y' } };
  writer.write({ type: 'raw', topic: 'host', position, wallNs: 1n, raw });
  const [line] = responseToJson(subscribeResponseCodec.decode(encodeEventBatch(HEADER, [writer.take()]), 1 << 20));
  assert.deepEqual((line!.event as { raw?: object }).raw, { name: 'timer', fields: { seconds: 'x', nanos: 'y' } });
});

test('a client treats a batch with an invalid event as a gap, and goes on', () => {
  const bytes = encodeEventBatch(HEADER, [element(Buffer.from([0xff, 0xff, 0xff, 0xff]))]);
  const { gap } = decodeSubscribeResponse(bytes);
  assert.deepEqual([gap?.node, gap?.topic, gap?.reason, gap?.eventsUnknown], ['a', 'process', 'refused', true]);
  assert.throws(() => decodeSubscribeResponse(Buffer.from([0x1a, 2, 0xff, 0xff])));
});

test('what a newer broker says beside a batch costs no event', () => {
  const writer = new EventWriter();
  const position = { epoch: 1, timeNs: 1n, lane: 0, tie: 0 };
  writer.write({ type: 'host.start', topic: 'host', position, wallNs: 1n });
  const batch = encodeEventBatch(HEADER, [writer.take()]);
  const unknown = Buffer.from([0x98, 0x06, 1]);
  for (const bytes of [Buffer.concat([unknown, batch]), Buffer.concat([batch, unknown])]) {
    const { events, gap } = decodeSubscribeResponse(bytes);
    assert.equal(gap ?? undefined, undefined);
    assert.deepEqual(
      (events as ReceivedBatch).received.map(({ timeNs }) => timeNs),
      [1n],
    );
  }
});

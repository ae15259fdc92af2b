/** Events as JSON from their bytes, against the way over decoded objects. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { eventFault } from '../../../src/wire/event/event-check.js';
import { eventToJson } from '../../../src/wire/event/event-json.js';
import { JsonBytes } from '../../../src/wire/event/event-json-bytes.js';
import { EventWriter } from '../../../src/wire/event/event-writer.js';
import { type EventMessage, eventBatchCodec } from '../../../src/wire/messages.js';
import { ProtoReader } from '../../../src/wire/protobuf.js';
import { messageType } from '../../../src/wire/schema.js';
import { event } from '../../harness/arbitrary/event-arbitrary.js';
import { runs } from '../../harness/runs.js';

/** Undefined where the bytes are encoded in an unusual way. */
function told(bytes: Buffer, node = 'node "1"', topic = 'process'): unknown {
  const json = new JsonBytes(16);
  json.text(' ');
  if (!json.openEvent(bytes, 0, bytes.length, node, topic)) {
    assert.equal(json.takeText(), ' ', 'nothing is written then');
    return undefined;
  }
  json.text('}');
  return JSON.parse(json.takeText());
}

function expected(bytes: Buffer, node = 'node "1"', topic = 'process'): unknown {
  const element = Buffer.concat([Buffer.from([0x2a]), varint(bytes.length), bytes]);
  const [message] = eventBatchCodec.decode(element, element.length).events;
  return JSON.parse(JSON.stringify(eventToJson(message as EventMessage, node, topic)));
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    bytes.push(rest < 0x80 ? rest : (rest & 0x7f) | 0x80);
    if (rest < 0x80) return Buffer.from(bytes);
  }
}

test('events as nodes write them are the same JSON as by way of objects', () => {
  fc.assert(
    fc.property(event, (one) => {
      const writer = new EventWriter(64);
      writer.write(one);
      const reader = new ProtoReader(writer.take(), 'batch');
      reader.nextTag();
      const bytes = reader.chunk();
      const json = told(bytes);
      if (one.raw === undefined) assert.notEqual(json, undefined, 'it is no unusual one');
      if (json !== undefined) assert.deepEqual(json, expected(bytes));
    }),
    { numRuns: runs(1_000) },
  );
});

const text = fc.string({ unit: 'grapheme', maxLength: 200 });
const wide = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map(String);
const user = fc.record({ id: fc.nat(), name: text }, { requiredKeys: [] });
const time = fc.record({ seconds: fc.integer({ min: 0, max: 253_402_300_799 }), nanos: fc.nat(999_999_999) });
/** Fields in every state: absent, at their default, at their bounds. */
const message = fc.record(
  {
    type: text,
    time,
    position: fc.record(
      {
        epoch: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(String),
        timeNs: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(String),
        lane: fc.nat(65_535),
      },
      { requiredKeys: [] },
    ),
    process: fc.record(
      {
        pid: fc.integer(),
        comm: text,
        commandArgs: fc.array(text),
        commandArgsMissed: fc.boolean(),
        user,
        creationTime: time,
        exitCode: fc.nat(),
        loginUser: user,
        inferred: fc.array(fc.constantFrom('user', '')),
        parent: fc.record({ pid: fc.integer(), commandArgs: fc.array(text) }, { requiredKeys: [] }),
      },
      { requiredKeys: [] },
    ),
    container: fc.record({ id: fc.constantFrom('0', 'f00', '') }),
    syscall: fc.record(
      { id: wide, result: wide, args: fc.array(fc.nat()), targetPid: fc.integer() },
      { requiredKeys: [] },
    ),
    file: fc.record({ path: text, descriptor: fc.integer(), flags: wide, mode: wide }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
);
/** What is left to the slow way. */
const unusual = fc.record(
  { raw: fc.record({ name: text, fields: fc.dictionary(text, text) }), node: text },
  { requiredKeys: [] },
);

test('whatever the schema allows is the same JSON as by way of objects, or left to that', () => {
  const type = messageType('Event');
  const edit = fc.record({ at: fc.nat(), byte: fc.nat(255), cut: fc.boolean() });
  let usual = 0;
  let tried = 0;
  fc.assert(
    fc.property(
      message,
      fc.oneof(fc.constant({}), unusual),
      fc.oneof(fc.constant([]), fc.array(edit, { maxLength: 3 })),
      (usually, unusually, edits) => {
        tried += 1;
        let bytes = Buffer.from(type.encode(type.fromObject({ ...usually, ...unusually })).finish());
        for (const { at, byte, cut } of edits) {
          if (bytes.length === 0) break;
          bytes[at % bytes.length] = byte;
          if (cut) bytes = bytes.subarray(0, at % bytes.length);
        }
        // Any bytes are taken without an error; what is compared is what a broker lets pass.
        const json = told(bytes);
        if (json === undefined || eventFault(bytes, 0, bytes.length) !== undefined) return;
        usual += 1;
        assert.deepEqual(json, expected(bytes));
      },
    ),
    { numRuns: runs(3_000) },
  );
  assert.ok(usual > tried / 20, `${usual} events of ${tried} were compared`);
});

test('control characters, quotes and other scripts are written as JSON has them', () => {
  const type = messageType('Event');
  const every = Array.from({ length: 0x250 }, (_, code) => String.fromCodePoint(code)).join('');
  const bytes = Buffer.from(type.encode(type.fromObject({ type: `${every}\u2028😀` })).finish());
  assert.deepEqual(told(bytes, '', ''), { type: `${every}\u2028😀` });
});

test('text that is no UTF-8 is left to the slow way', () => {
  assert.equal(told(Buffer.from([0x0a, 2, 0xc3, 0x28])), undefined);
});

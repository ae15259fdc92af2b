/** JSON as google.protobuf.Value: what goes in comes out, here and in the library; what is no JSON is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../src/errors.js';
import { JSON_DEPTH_MAX } from '../../src/limits.js';
import { jsonToValue, valueToJson } from '../../src/wire/event/event-json.js';
import { checkJsonValue, decodeJsonValue, encodeJsonValue, type JsonValue } from '../../src/wire/json-value.js';
import { messageCodec } from '../../src/wire/schema.js';
import { runs } from '../harness/runs.js';

/** An event of which only the body is set. */
const codec = messageCodec<object, { body: Parameters<typeof valueToJson>[0] }>('AppEvent');
const json = fc.jsonValue({ maxDepth: 8 }).map((value) => JSON.parse(JSON.stringify(value)) as JsonValue);

function refusal(value: unknown): string {
  try {
    checkJsonValue(value, 'body');
    return '';
  } catch (cause) {
    assert.ok(cause instanceof BackplaneError && cause.code === 'invalid_argument');
    return cause.message;
  }
}

function nested(depth: number, leaf: unknown): unknown {
  let value = leaf;
  for (let at = 0; at < depth; at++) value = at % 2 === 0 ? [value] : { a: value };
  return value;
}

test('property: JSON is itself again, by our reader and by the library', () => {
  fc.assert(
    fc.property(json, (value) => {
      if (refusal(value) !== '') return;
      const bytes = encodeJsonValue(value);
      assert.deepEqual(JSON.stringify(decodeJsonValue(bytes)), JSON.stringify(value));
      const message = codec.encode({ body: jsonToValue(value) });
      const { body } = codec.decode(message, message.length);
      assert.deepEqual(valueToJson(body), value);
      assert.deepEqual(message.subarray(message.length - bytes.length), bytes);
    }),
    { numRuns: runs(300) },
  );
});

test('what is too deep, has __proto__, half of a surrogate pair or a number beyond 64 bits is refused by its place', () => {
  assert.equal(refusal(nested(JSON_DEPTH_MAX, 1)), '');
  assert.match(refusal(nested(JSON_DEPTH_MAX + 1, 1)), /^body.*: must be at most 16 deep$/);
  assert.match(refusal(nested(100_000, 1)), /must be at most 16 deep/);
  assert.equal(
    refusal(JSON.parse('{"a": [{"__proto__": {"polluted": true}}]}')),
    'body.a[0]: must not have the name __proto__',
  );
  assert.equal(refusal({ a: '\ud800' }), 'body.a: is not valid Unicode (a lone surrogate)');
  assert.match(refusal({ '\udfff': 1 }), /has a name that is not valid Unicode/);
  assert.match(refusal(JSON.parse('[1e999]')), /^body\[0\]: must be a number of 64 bits/);
  for (const fine of [null, '', 0, -0, false, [], {}, { constructor: 1, toString: 2 }, '\u0000\u001b[31m\r\n<b>']) {
    assert.equal(refusal(fine), '');
    assert.deepEqual(decodeJsonValue(encodeJsonValue(fine)), Object.is(fine, -0) ? -0 : fine);
  }
});

test('fuzz: bytes are a value or refused, and never deeper than allowed', () => {
  fc.assert(
    fc.property(json, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (value, changes) => {
      const bytes = Buffer.from(encodeJsonValue(value));
      for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
      let decoded: JsonValue;
      try {
        decoded = decodeJsonValue(bytes);
      } catch (cause) {
        assert.ok(cause instanceof BackplaneError, String(cause));
        return;
      }
      assert.equal(({} as { polluted?: unknown }).polluted, undefined);
      if (refusal(decoded) === '') assert.deepEqual(decodeJsonValue(encodeJsonValue(decoded)), decoded);
    }),
    { numRuns: runs(500) },
  );
  // Each level takes four bytes, so that a small message could nest far deeper than any stack.
  let deep = Buffer.from([8, 0]);
  for (let at = 0; at < 5_000; at++) {
    const inner = Buffer.concat([Buffer.from([0x0a]), lengthOf(deep), deep]);
    deep = Buffer.concat([Buffer.from([0x32]), lengthOf(inner), inner]);
  }
  assert.throws(() => decodeJsonValue(deep), /must be at most 16 deep/);
});

function lengthOf({ length }: Buffer): Buffer {
  const bytes: number[] = [];
  for (let rest = length; ; rest >>>= 7) {
    bytes.push(rest < 128 ? rest : (rest & 127) | 128);
    if (rest < 128) return Buffer.from(bytes);
  }
}

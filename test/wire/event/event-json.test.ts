/** Events as protojson, against the schema: only what is at its default may be left out, and never by a field's name alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import protobuf from 'protobufjs/light.js';
import { eventToJson } from '../../../src/wire/event/event-json.js';
import type { EventMessage } from '../../../src/wire/messages.js';
import { messageCodec, messageType } from '../../../src/wire/schema.js';

type Fields = Record<string, unknown>;

/** A message with all of its fields; `leaf` gives those that are no messages. */
function filled(type: protobuf.Type, leaf: (field: protobuf.Field) => unknown): Fields {
  const entries = type.fieldsArray.map((field) => {
    // Any JSON, which nests without end: it has a test of its own.
    if (field.resolvedType?.fullName === '.google.protobuf.Value') return [field.name, undefined];
    if (field instanceof protobuf.MapField) return [field.name, { name: leaf(field) }];
    const value = field.resolvedType instanceof protobuf.Type ? filled(field.resolvedType, leaf) : leaf(field);
    return [field.name, field.repeated && value !== undefined ? [value] : value];
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

const TYPE = messageType('Event');
const CODEC = messageCodec<Fields, EventMessage>('Event');

function json(message: Fields): unknown {
  const bytes = CODEC.encode(message);
  return eventToJson(CODEC.decode(bytes, bytes.length), '', '');
}

const isString = ({ type }: protobuf.Field) => type === 'string';

test('texts that look like nothing stay', () => {
  for (const text of ['0', 'false', 'null', '__proto__', ' ']) {
    const texts = filled(TYPE, (field) => (isString(field) ? text : undefined));
    assert.deepEqual(json(texts), expected(TYPE, texts));
    assert.equal((json(texts) as { container: { id: string } }).container.id, text);
  }
});

test('numbers and flags are left out at their default, unless the schema says that they may be absent', () => {
  const zeros = filled(TYPE, ({ type }) => (type === 'string' ? '' : type === 'bool' ? false : 0));
  assert.deepEqual(json(zeros), expected(TYPE, zeros));
  const ones = filled(TYPE, ({ type }) => (type === 'string' ? '1' : type === 'bool' ? true : 1));
  assert.deepEqual(json(ones), expected(TYPE, ones));
});

/** As https://protobuf.dev/programming-guides/json has it. */
function expected(type: protobuf.Type, message: Fields): unknown {
  if (type.name === 'Timestamp')
    return `1970-01-01T00:00:0${message['seconds'] ?? 0}.00000000${message['nanos'] ?? 0}Z`;
  const json: Fields = {};
  for (const field of type.fieldsArray) {
    const { name, repeated, resolvedType } = field;
    if (!Object.hasOwn(message, name)) continue;
    const value = message[name];
    const isLong = /64$/.test(field.type);
    if (field instanceof protobuf.MapField) json[name] = value;
    else if (repeated) json[name] = (value as unknown[]).map(String);
    else if (resolvedType instanceof protobuf.Type) json[name] = expected(resolvedType, value as Fields);
    else if ((value !== '' && value !== 0 && value !== false) || field.getOption('proto3_optional') === true)
      json[name] = isLong ? String(value) : value;
  }
  return json;
}

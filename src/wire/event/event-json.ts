/**
 * An event as canonical protojson: lowerCamelCase names, 64-bit integers as strings, times as RFC 3339 with
 * nanoseconds, and fields at their default left out, except those that the schema marks as optional. Topic and node,
 * which a batch carries once, are set on the event.
 */
import type { JsonValue } from '../json-value.js';
import type { EventMessage, TimestampFields, ValueMessage } from '../messages.js';
import { messageFields } from '../schema.js';
import { NANOS_MAX, SECONDS_MAX } from './event-shape.js';

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** `node` and `topic` are left out when empty. */
export function eventToJson(event: EventMessage, node: string, topic: string): { [name: string]: Json } {
  return messageToJson(event, EVENT, { node, topic });
}

/** What the values of a message do not show. */
interface JsonShape {
  /** Names of fields of 64 bits: their values are decimal strings, of which "0" is the default. */
  readonly longs: ReadonlySet<string>;
  /** Names of fields that are any JSON. */
  readonly values: ReadonlySet<string>;
  readonly inner: ReadonlyMap<string, JsonShape>;
}

const VALUE_TYPE = '.google.protobuf.Value';
const EVENT = shapeOf('.backplane.v1.Event');

function shapeOf(fullName: string): JsonShape {
  const fields = messageFields(fullName)!;
  const inner = new Map<string, JsonShape>();
  const values = new Set<string>();
  for (const { name, of } of fields) {
    if (of === VALUE_TYPE) values.add(name);
    else if (of !== undefined && messageFields(of)) inner.set(name, shapeOf(of));
  }
  return { longs: new Set(fields.filter(({ type }) => /64$/.test(type)).map(({ name }) => name)), values, inner };
}

const UNDERSCORE = 95;

/** `instead`: what stands in the place of fields, where it is not empty. */
function messageToJson(
  message: object,
  shape: JsonShape | undefined,
  instead?: Readonly<Record<string, string>>,
): { [name: string]: Json } {
  const json: { [name: string]: Json } = {};
  const fields = message as Record<string, unknown>;
  // Not Object.entries: this runs for every event.
  for (const name in fields) {
    const value = instead?.[name] || fields[name];
    // proto-loader marks a present optional field by `_name: 'name'`, even when it is at its default.
    if (name.charCodeAt(0) === UNDERSCORE) continue;
    const text = fieldToJson(name, value, fields, shape);
    if (text !== undefined) json[name] = text;
  }
  return json;
}

/** Whether an optional field is set, which its value does not show where that is the default. */
function isPresent(name: string, fields: Record<string, unknown>): boolean {
  return fields[`_${name}`] === name;
}

function fieldToJson(
  name: string,
  value: unknown,
  fields: Record<string, unknown>,
  shape: JsonShape | undefined,
): Json | undefined {
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map(String);
  if (typeof value === 'object' && value !== null) {
    if (shape?.values.has(name)) return valueToJson(value as ValueMessage);
    // The only map: its entries are data, and are kept even with names or values that look like defaults.
    if (name === 'fields') return mapToJson(value);
    if (isTimestamp(value)) return timestampToJson(value);
    return messageToJson(value, shape?.inner.get(name));
  }
  if (typeof value === 'string') {
    const isDefault = value === '' || (value === '0' && shape?.longs.has(name) === true);
    return !isDefault || isPresent(name, fields) ? value : undefined;
  }
  if (typeof value === 'number') return value !== 0 || isPresent(name, fields) ? value : undefined;
  if (typeof value === 'boolean') return value || isPresent(name, fields) ? value : undefined;
  return undefined;
}

/** JSON in an event: what it is at its default is data, and is kept. */
export function valueToJson(value: ValueMessage): Json {
  const { kind } = value;
  if (kind === 'structValue') {
    const entries = Object.entries(value.structValue?.fields ?? {});
    return Object.fromEntries(entries.map(([name, item]): [string, Json] => [name, valueToJson(item)]));
  }
  if (kind === 'listValue') return (value.listValue?.values ?? []).map(valueToJson);
  if (kind === 'stringValue') return value.stringValue ?? '';
  if (kind === 'numberValue') return value.numberValue ?? 0;
  return kind === 'boolValue' ? value.boolValue === true : null;
}

/** The inverse, as protobufjs takes it. */
export function jsonToValue(json: JsonValue): ValueMessage {
  if (json === null) return { kind: 'nullValue', nullValue: 'NULL_VALUE' };
  if (typeof json === 'string') return { kind: 'stringValue', stringValue: json };
  if (typeof json === 'number') return { kind: 'numberValue', numberValue: json };
  if (typeof json === 'boolean') return { kind: 'boolValue', boolValue: json };
  if (Array.isArray(json)) return { kind: 'listValue', listValue: { values: json.map(jsonToValue) } };
  const fields = Object.entries(json).map(([name, item]): [string, ValueMessage] => [name, jsonToValue(item)]);
  return { kind: 'structValue', structValue: { fields: Object.fromEntries(fields) } };
}

function mapToJson(map: object): Json | undefined {
  const entries = Object.entries(map).map(([key, value]): [string, Json] => [key, String(value)]);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function isTimestamp(value: object): value is TimestampFields {
  return 'seconds' in value && 'nanos' in value;
}

/** RFC 3339 with nine digits; undefined outside 1970 to 9999. */
export function timestampToJson({ seconds, nanos }: TimestampFields): string | undefined {
  const at = Number(seconds);
  if (!(at >= 0 && at <= SECONDS_MAX && nanos >= 0 && nanos <= NANOS_MAX)) return undefined;
  if (at !== lastSecond.at) lastSecond = { at, text: new Date(at * 1000).toISOString().slice(0, 19) };
  return `${lastSecond.text}.${String(nanos).padStart(9, '0')}Z`;
}

/** Events that follow each other are mostly of one second. */
let lastSecond = { at: -1, text: '' };

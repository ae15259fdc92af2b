/**
 * An event as canonical protojson: lowerCamelCase names, 64-bit integers as strings, times as RFC 3339 with
 * nanoseconds, and fields at their default left out, except those that the schema marks as optional. Topic and node,
 * which a batch carries once, are set on the event.
 */
import type { EventMessage, TimestampFields } from '../messages.js';

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** `node` and `topic` are left out when empty. */
export function eventToJson(event: EventMessage, node: string, topic: string): { [name: string]: Json } {
  return messageToJson({ ...event, topic: topic || event.topic, node: node || event.node });
}

/** Fields of 64 bits, which proto-loader gives as decimal strings. (No container's id is "0".) */
const LONG_FIELDS = new Set(['epoch', 'timeNs', 'lost', 'id', 'result', 'flags', 'mode', 'ownerId', 'groupId', 'size']);
/** 9999-12-31, the last day that RFC 3339 can write. */
const SECONDS_MAX = 253_402_300_799;

function messageToJson(message: object): { [name: string]: Json } {
  const json: { [name: string]: Json } = {};
  const fields = message as Record<string, unknown>;
  for (const [name, value] of Object.entries(fields)) {
    // proto-loader marks a present optional field by `_name: 'name'`, even when it is at its default.
    if (name.startsWith('_') && value === name.slice(1)) continue;
    const present = fields[`_${name}`] === name;
    const text = fieldToJson(name, value, present);
    if (text !== undefined) json[name] = text;
  }
  return json;
}

function fieldToJson(name: string, value: unknown, present: boolean): Json | undefined {
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map(String);
  if (typeof value === 'object' && value !== null) {
    // The only map: its entries are data, and are kept even with names or values that look like defaults.
    if (name === 'fields') return mapToJson(value);
    if (isTimestamp(value)) return timestampToJson(value);
    return messageToJson(value);
  }
  if (typeof value === 'string') {
    return present || (value !== '' && !(value === '0' && LONG_FIELDS.has(name))) ? value : undefined;
  }
  if (typeof value === 'number') return present || value !== 0 ? value : undefined;
  if (typeof value === 'boolean') return present || value ? value : undefined;
  return undefined;
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
  if (!(at >= 0 && at <= SECONDS_MAX && nanos >= 0 && nanos <= 999_999_999)) return undefined;
  const toSecond = new Date(at * 1000).toISOString().slice(0, 19);
  return `${toSecond}.${String(nanos).padStart(9, '0')}Z`;
}

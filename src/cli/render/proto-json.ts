/** Answers of the broker as canonical protojson, with fields at their defaults written out. */
import { timestampText } from '../../subscriptions/timestamp.js';
import { eventToJson } from '../../wire/event-json.js';
import type { EventBatchMessage } from '../../wire/messages.js';

/** The message's JSON form: times as RFC 3339, unset messages and oneof markers left out. For any message but Event. */
export function protoJson(message: object): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) {
    // proto-loader marks oneofs with a virtual field; optional fields' markers begin with an underscore.
    if (value === null || value === undefined || name.startsWith('_')) continue;
    json[name] = jsonValue(value);
  }
  return json;
}

/** An EventBatch; node and topic stand on the batch, not on its events. */
export function batchJson(batch: EventBatchMessage): Record<string, unknown> {
  const { events, ...rest } = batch;
  return { ...protoJson(rest), events: events.map((event) => eventToJson(event, '', '')) };
}

function jsonValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(jsonValue);
  if (typeof value !== 'object' || value === null) return value;
  if (isTimestamp(value)) return timestampText(value);
  return protoJson(value);
}

function isTimestamp(value: object): value is { seconds: string; nanos: number } {
  return 'seconds' in value && 'nanos' in value && Object.keys(value).length === 2;
}

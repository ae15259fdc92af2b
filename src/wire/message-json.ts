/**
 * Messages other than events as protojson. Defaults are written, so that a script finds every field: times as RFC 3339,
 * unset messages left out.
 */
import { eventToJson, type Json, timestampToJson } from './event/event-json.js';
import { selectorsOf } from './frame/batch-matches.js';
import type { EventBatchMessage, SubscribeResponse__Output } from './messages.js';

export function messageToJson(message: object): { [name: string]: Json } {
  const json: { [name: string]: Json } = {};
  for (const [name, value] of Object.entries(message)) {
    const text = valueToJson(value);
    if (text !== undefined) json[name] = text;
  }
  return json;
}

/** One JSON object per event of a batch; one for any other response. */
export function responseToJson(response: SubscribeResponse__Output): { [name: string]: Json }[] {
  const { events: batch, item } = response;
  if (!batch) return [messageToJson({ [item ?? 'unknown']: item === undefined ? {} : response[item] })];
  const { node, topic, history, refill, cursor, events, matches } = batch;
  const selectors = selectorsOf(batch);
  return events.map((event, index) => {
    const line: { [name: string]: Json } = { event: eventToJson(event, node, topic), history };
    if (refill) line.refill = true;
    if (matches.length > 0) line.selectors = [...selectors(index)];
    // The cursor resumes behind the whole batch: only its last event may carry it.
    if (index === events.length - 1 && cursor !== '') line.cursor = cursor;
    return line;
  });
}

/** An EventBatch as one object; node and topic stand on the batch, not on its events. */
export function batchToJson(batch: EventBatchMessage): { [name: string]: Json } {
  // By name: a batch that was received holds its events' bytes too.
  const { node, topic, history, cursor, refill, events, matches } = batch;
  const json = { node, topic, history, cursor, refill, events: events.map((event) => eventToJson(event, '', '')) };
  return matches.length === 0 ? json : { ...json, matches: matches.map(messageToJson) };
}

function valueToJson(value: unknown): Json | undefined {
  if (Array.isArray(value)) return value.map((item) => valueToJson(item) ?? null);
  if (typeof value === 'object' && value !== null) {
    if ('seconds' in value && 'nanos' in value) {
      return timestampToJson({ seconds: String(value.seconds), nanos: Number(value.nanos) });
    }
    return messageToJson(value);
  }
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number') return value;
  return undefined;
}

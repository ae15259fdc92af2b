/** An event as canonical protojson: what is unset or at its default is left out. */
import { timestampText } from '../../subscriptions/timestamp.js';
import type { EventMessage } from '../../wire/messages.js';

export function eventToJson(event: EventMessage, node: string, topic: string): Record<string, unknown> {
  return compacted({ ...event, node, topic } as unknown as Record<string, unknown>);
}

function compacted(message: Record<string, unknown>): Record<string, unknown> {
  const json: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) {
    if (name.startsWith('_')) continue;
    if (name === 'id' && typeof value === 'number') json[name] = value;
    else if (value === null || value === undefined || value === '' || value === 0 || value === false || value === '0') continue;
    else if (Array.isArray(value)) {
      if (value.length > 0) json[name] = value;
    } else if (typeof value === 'object') {
      const inner = value as Record<string, unknown>;
      if ('seconds' in inner && 'nanos' in inner) json[name] = timestampText(inner as { seconds: string; nanos: number });
      else json[name] = compacted(inner);
    } else json[name] = value;
  }
  return json;
}

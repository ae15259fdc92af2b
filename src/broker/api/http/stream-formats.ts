/**
 * The two texts of a stream of events.
 *
 *   NDJSON        := ({"result": StreamResult} "\n")* ({"end": StreamEnd} | {"error": Problem}) "\n"
 *   event stream  := "retry: " ms "\n\n" (event | ": \n\n")*        (HTML's server-sent events)
 *   event         := "event: " name "\n" ("id: " cursor "\n")? "data: " JSON "\n\n"
 *
 * No event is called `error`, which is what browsers call a broken connection. The id `end` says that a browser need not
 * come back; it does so all the same, and is told 204.
 */
import type { BackplaneError, ErrorCode } from '../../../errors.js';
import { EVENT_STREAM_RETRY_MS, STREAM_KEEP_ALIVE_MS } from '../../../limits.js';
import { cursorOf, type StreamFormat, type StreamItem } from './http-sink.js';
import { problemOf } from './problem.js';

export const NDJSON_TYPE = 'application/x-ndjson';
export const EVENT_STREAM_TYPE = 'text/event-stream';
/** What a browser sends back as Last-Event-ID when all that it asked for has come. */
export const END_ID = 'end';

/** The names of events by what they carry; an event is a `message`, with what stands beside it. */
export const EVENT_NAMES: Readonly<Record<string, string>> = {
  event: 'message',
  accepted: 'accepted',
  gap: 'gap',
  nodeStatus: 'node',
  watermark: 'watermark',
  coverage: 'coverage',
  group: 'group',
};

export const NDJSON: StreamFormat = {
  headers: { 'content-type': `${NDJSON_TYPE}; charset=utf-8` },
  preamble: undefined,
  item: (result) => line({ result }),
  eventBefore: () => '{"result":',
  eventAfter: '}\n',
  end: (end) => line({ end }),
  problem: (error) => line({ error: problemOf(error) }),
  idle: { text: line({ result: { keepAlive: {} } }), afterMs: STREAM_KEEP_ALIVE_MS },
};

export const EVENT_STREAM: StreamFormat = {
  headers: {
    'content-type': `${EVENT_STREAM_TYPE}; charset=utf-8`,
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
  },
  preamble: `retry: ${EVENT_STREAM_RETRY_MS}\n\n`,
  item: (item) => sentEvent(nameOf(item), cursorOf(item), dataOf(item)),
  eventBefore: (cursor) => `${eventHead(EVENT_NAMES.event!, cursor)}data: `,
  eventAfter: '\n\n',
  end: (end) => sentEvent('end', END_ID, end),
  // Who would be refused again must not come back, but the others shall, from the last cursor.
  problem: (error) => sentEvent('problem', mayPass(error) ? '' : END_ID, problemOf(error)),
  idle: { text: ': \n\n', afterMs: STREAM_KEEP_ALIVE_MS },
};

const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['unavailable', 'resource_exhausted']);

function mayPass({ code }: BackplaneError): boolean {
  return PASSING.has(code);
}

function line(object: object): string {
  return `${JSON.stringify(object)}\n`;
}

function sentEvent(name: string, id: string, data: unknown): string {
  return `${eventHead(name, id)}data: ${JSON.stringify(data)}\n\n`;
}

function eventHead(name: string, id: string): string {
  return `event: ${name}\n${id === '' ? '' : `id: ${id}\n`}`;
}

function keyOf(item: StreamItem): string {
  return Object.keys(EVENT_NAMES).find((key) => key in item) ?? 'event';
}

function nameOf(item: StreamItem): string {
  return EVENT_NAMES[keyOf(item)]!;
}

function dataOf(item: StreamItem): unknown {
  const key = keyOf(item);
  return key === 'event' ? item : item[key];
}

/** By the Accept header: what a browser's EventSource asks for, else lines. */
export function formatOf(accept: string | undefined): StreamFormat {
  const types = (accept ?? '').split(',').map((range) => range.split(';')[0]!.trim().toLowerCase());
  const asked = types.find((type) => type === EVENT_STREAM_TYPE || type === NDJSON_TYPE);
  return asked === EVENT_STREAM_TYPE ? EVENT_STREAM : NDJSON;
}

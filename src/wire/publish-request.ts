/**
 * What publishers send, read strictly: from the message, whose bodies are any JSON, or from JSON itself.
 *
 *   PublishRequest := seq 1 | topic 2 | events PublishedEvent 3 *
 *   PublishedEvent := id 1 | source 2 | type 3 | time Timestamp 4 | subject 5 | traceparent 6 | key 7 | body Value 8
 */
import { isUtf8 } from 'node:buffer';
import { BackplaneError, invalid } from '../errors.js';
import { PUBLISH_EVENTS_MAX } from '../limits.js';
import { readMessage } from './json-reader.js';
import { decodeJsonValue } from './json-value.js';
import type { TimestampFields } from './messages.js';
import { readTimestamp } from './position-codec.js';
import { ProtoReader } from './protobuf.js';
import { messageType } from './schema.js';

/** An event as it came. Texts are empty where they were not given. */
export interface PublishDraft {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly timeNs: bigint | undefined;
  readonly subject: string;
  readonly traceparent: string;
  readonly key: string;
  /** Not checked: as JSON.parse makes it. Undefined where there is none. */
  readonly body: unknown;
}

export interface PublishBatch {
  readonly seq: number;
  readonly topic: string;
  readonly events: readonly PublishDraft[];
  /** As they arrived. */
  readonly bytes: number;
}

const NOTHING: PublishDraft = {
  id: '',
  source: '',
  type: '',
  timeNs: undefined,
  subject: '',
  traceparent: '',
  key: '',
  body: undefined,
};
const NS_PER_S = 1_000_000_000n;

/** Throws invalid_argument, too_large. */
export function decodePublishRequest(bytes: Buffer): PublishBatch {
  const reader = new ProtoReader(bytes, 'PublishRequest');
  const events: PublishDraft[] = [];
  let seq = 0;
  let topic = '';
  while (reader.nextTag()) {
    if (reader.field === 1) seq = reader.uint();
    else if (reader.field === 2) topic = textOf(reader);
    else if (reader.field === 3) {
      if (events.length === PUBLISH_EVENTS_MAX) throw tooMany();
      events.push(decodeEvent(reader.chunk(), `events[${events.length}]`));
    } else throw reader.fail(`has the unknown field ${reader.field}`);
  }
  return { seq, topic, events, bytes: bytes.length };
}

function decodeEvent(bytes: Buffer, what: string): PublishDraft {
  const reader = new ProtoReader(bytes, what);
  const draft: { -readonly [K in keyof PublishDraft]: PublishDraft[K] } = { ...NOTHING };
  while (reader.nextTag()) {
    if (reader.field === 1) draft.id = textOf(reader);
    else if (reader.field === 2) draft.source = textOf(reader);
    else if (reader.field === 3) draft.type = textOf(reader);
    else if (reader.field === 4) draft.timeNs = readTimestamp(reader, 'time');
    else if (reader.field === 5) draft.subject = textOf(reader);
    else if (reader.field === 6) draft.traceparent = textOf(reader);
    else if (reader.field === 7) draft.key = textOf(reader);
    else if (reader.field === 8) draft.body = decodeJsonValue(reader.chunk(), `${what}.body`);
    else throw reader.fail(`has the unknown field ${reader.field}`);
  }
  return draft;
}

function textOf(reader: ProtoReader): string {
  const chunk = reader.chunk();
  if (!isUtf8(chunk)) throw reader.fail(`field ${reader.field} must be UTF-8`);
  return chunk.toString('utf8');
}

/** One event, a list of them, or an object that has the list as `events`. Throws invalid_argument, too_large. */
export function publishBatchOf(json: unknown, topic: string, bytes: number): PublishBatch {
  const list = listOf(json);
  const events = list ?? [json];
  if (events.length > PUBLISH_EVENTS_MAX) throw tooMany();
  return {
    seq: 0,
    topic,
    events: events.map((event, index) => draftOf(event, list === undefined ? '' : `events[${index}]`)),
    bytes,
  };
}

/** Undefined for what is one event. */
function listOf(json: unknown): readonly unknown[] | undefined {
  if (Array.isArray(json)) return json;
  if (typeof json !== 'object' || json === null || !Object.hasOwn(json, 'events')) return undefined;
  const [other] = Object.keys(json).filter((name) => name !== 'events');
  if (other !== undefined) throw invalid(other, 'stands beside events: a batch has nothing but its events');
  const { events } = json as { events: unknown };
  if (!Array.isArray(events)) throw invalid('events', 'must be a list');
  return events;
}

function draftOf(json: unknown, path: string): PublishDraft {
  const { time, ...given } = readMessage(messageType('PublishedEvent'), json, path) as Partial<PublishDraft> & {
    time?: TimestampFields;
  };
  return { ...NOTHING, ...given, timeNs: time && BigInt(time.seconds) * NS_PER_S + BigInt(time.nanos) };
}

function tooMany(): Error {
  const problem = `events: a batch must have at most ${PUBLISH_EVENTS_MAX}, it has more`;
  return new BackplaneError('too_large', problem, { field: 'events' });
}

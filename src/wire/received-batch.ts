/**
 * A batch of events as a client gets it: checked, and decoded only when somebody looks at it, one by one for the command
 * line, all at once for the client library.
 *
 *   SubscribeResponse := events EventBatch 2
 *   EventBatch        := node 1 | topic 2 | history bool 3 | cursor 4 | events Event 5 * | refill bool 6
 *                      | matches SelectorMatch 7 * | slice 10
 *   SelectorMatch     := selector 1 | all bool 2 | indices packed uint32 3
 */
import { BackplaneError } from '../errors.js';
import { FRAME_EVENTS_MAX } from '../limits.js';
import { eventFault } from './event/event-check.js';
import { wallNsOf } from './event/event-time.js';
import { selectorsOf } from './frame/batch-matches.js';
import { readPacked } from './frame/frame-columns.js';
import { decodeEvent } from './gen/typed/decode.js';
import { type EventBatchMessage, type EventMessage, eventCodec } from './messages.js';
import { LENGTH, ProtoReader } from './protobuf.js';
import { EventReader } from './typed/event-bytes.js';
import type { BackplaneEvent } from './typed/messages.js';

export class ReceivedEvent {
  #message: EventMessage | undefined;

  /**
   * @param bytes the encoded Event
   * @param selectors ids of the selectors that it matches; none for a subscription without selectors
   */
  constructor(
    readonly bytes: Buffer,
    readonly selectors: readonly string[] = [],
  ) {}

  get message(): EventMessage {
    this.#message ??= eventCodec.decode(this.bytes, this.bytes.length);
    return this.#message;
  }

  /** Wall nanoseconds since 1970; 0 where it has no time. */
  get timeNs(): bigint {
    return wallNsOf(this.bytes);
  }
}

export class ReceivedBatch implements EventBatchMessage {
  node = '';
  topic = '';
  history = false;
  cursor = '';
  refill = false;
  slice = 0;
  readonly matches: { selector: string; all: boolean; indices: number[] }[] = [];
  /** Number of its events. */
  count = 0;
  readonly #encoded: Buffer;
  #received: ReceivedEvent[] | undefined;
  #typed: readonly BackplaneEvent[] | undefined;
  #selectorsOf: ((event: number) => readonly string[]) | undefined;

  /** `encoded`: an EventBatch. */
  constructor(encoded: Buffer = Buffer.alloc(0)) {
    this.#encoded = encoded;
  }

  /** Each is decoded when somebody looks at it. */
  get received(): readonly ReceivedEvent[] {
    this.#received ??= eventsIn(this.#encoded, this.selectorsOf);
    return this.#received;
  }

  /** By place of an event, the ids of the selectors that it matches. */
  get selectorsOf(): (event: number) => readonly string[] {
    this.#selectorsOf ??= selectorsOf(this);
    return this.#selectorsOf;
  }

  get events(): EventMessage[] {
    return this.received.map(({ message }) => message);
  }

  /** Events [from, to) of it, as a batch of a node of that name, and with that cursor. */
  part(from: number, to: number, node: string, cursor: string): ReceivedBatch {
    const { topic, history, refill, slice } = this;
    const part = Object.assign(new ReceivedBatch(), { node, topic, history, cursor, refill, slice });
    part.count = to - from;
    part.#received = this.received.slice(from, to);
    for (const { selector, all, indices } of this.matches) {
      const within = indices.filter((index) => index >= from && index < to).map((index) => index - from);
      if (all || within.length > 0) part.matches.push({ selector, all, indices: within });
    }
    return part;
  }

  /** All of them in the client library's form. */
  get typed(): readonly BackplaneEvent[] {
    this.#typed ??= typedEvents(this, this.#encoded);
    return this.#typed;
  }
}

/** `events Event 5`, length-delimited. */
const EVENTS_TAG = 0x2a;

/**
 * The batch of an encoded SubscribeResponse; undefined for any other response. Throws invalid_argument where it has
 * anything that nobody can decode.
 */
export function receivedBatch(bytes: Buffer): ReceivedBatch | undefined {
  const encoded = encodedBatch(bytes);
  if (encoded === undefined) return undefined;
  const reader = new ProtoReader(encoded, 'batch');
  const batch = new ReceivedBatch(encoded);
  while (reader.nextTag()) {
    if (reader.field === 1) batch.node = reader.chunk().toString('utf8');
    else if (reader.field === 2) batch.topic = reader.chunk().toString('utf8');
    else if (reader.field === 3) batch.history = reader.bool();
    else if (reader.field === 4) batch.cursor = reader.chunk().toString('utf8');
    else if (reader.field === 5) {
      reader.expect(LENGTH);
      const end = reader.varint() + reader.offset;
      const fault =
        end > encoded.length ? 'an event must end within the batch' : eventFault(encoded, reader.offset, end);
      if (fault !== undefined) throw reader.fail(fault);
      reader.offset = end;
      batch.count += 1;
    } else if (reader.field === 6) batch.refill = reader.bool();
    else if (reader.field === 7) batch.matches.push(readSelectorMatch(reader.chunk()));
    else if (reader.field === 10) batch.slice = reader.uint();
    else reader.skip();
  }
  return batch;
}

function readSelectorMatch(encoded: Buffer): ReceivedBatch['matches'][number] {
  const inner = new ProtoReader(encoded, 'batch: match');
  const match = { selector: '', all: false, indices: [] as number[] };
  while (inner.nextTag()) {
    if (inner.field === 1) match.selector = inner.chunk().toString('utf8');
    else if (inner.field === 2) match.all = inner.bool();
    else if (inner.field === 3) readPacked(inner, match.indices, FRAME_EVENTS_MAX);
    else inner.skip();
  }
  return match;
}

/**
 * As receivedBatch, with all events in the client library's form, which is quick: they are decoded in one go, and checked
 * only where that fails.
 */
export function typedBatch(bytes: Buffer): ReceivedBatch | undefined {
  const encoded = encodedBatch(bytes);
  if (encoded === undefined) return undefined;
  const batch = new ReceivedBatch(encoded);
  try {
    batch.count = batch.typed.length;
    return batch;
  } catch {
    // Says what is wrong.
    receivedBatch(bytes);
    throw new BackplaneError('invalid_argument', 'batch: an event of it cannot be decoded');
  }
}

/** Decodes the events, and what stands beside them into the batch. */
function typedEvents(batch: ReceivedBatch, encoded: Buffer): readonly BackplaneEvent[] {
  const reader = new EventReader(encoded);
  const end = encoded.length;
  const events: BackplaneEvent[] = [];
  while (reader.at < end) {
    const tag = reader.tag();
    if (tag === EVENTS_TAG) events.push(decodeEvent(reader, reader.end(end)));
    else if (tag === 0x0a) batch.node = reader.text(end);
    else if (tag === 0x12) batch.topic = reader.text(end);
    else if (tag === 0x18) batch.history = reader.bool();
    else if (tag === 0x22) batch.cursor = reader.text(end);
    else if (tag === 0x30) batch.refill = reader.bool();
    else if (tag === 0x3a) batch.matches.push(readSelectorMatch(reader.bytes(end)));
    else if (tag === 0x50) batch.slice = reader.uint32();
    else reader.skip(tag);
  }
  if (reader.at !== end) reader.fail();
  return events;
}

function eventsIn(encoded: Buffer, selectorsAt: ReceivedBatch['selectorsOf']): ReceivedEvent[] {
  const reader = new ProtoReader(encoded, 'batch');
  const events: ReceivedEvent[] = [];
  while (reader.nextTag()) {
    if (reader.field === 5) events.push(new ReceivedEvent(reader.chunk(), selectorsAt(events.length)));
    else reader.skip();
  }
  return events;
}

/** Undefined for any other response. What stands beside a batch is of a newer broker. */
export function encodedBatch(bytes: Buffer): Buffer | undefined {
  const response = new ProtoReader(bytes, 'response');
  let batch: Buffer | undefined;
  while (response.nextTag()) {
    if (response.field !== 2 || response.wireType !== LENGTH) response.skip();
    else if (batch === undefined) batch = response.chunk();
    else throw response.fail('must have one batch');
  }
  return batch;
}

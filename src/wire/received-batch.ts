/**
 * A batch of events as a client gets it: checked, and each event decoded only when somebody looks at its fields.
 *
 *   SubscribeResponse := events EventBatch 2
 *   EventBatch        := node 1 | topic 2 | history bool 3 | cursor 4 | events Event 5 * | refill bool 6
 *                      | matches SelectorMatch 7 *
 *   SelectorMatch     := selector 1 | all bool 2 | indices packed uint32 3
 */

import { FRAME_EVENTS_MAX } from '../limits.js';
import { eventFault } from './event/event-check.js';
import { wallNsOf } from './event/event-time.js';
import { selectorsOf } from './frame/batch-matches.js';
import { readPacked } from './frame/frame-columns.js';
import { type EventBatchMessage, type EventMessage, eventCodec } from './messages.js';
import { LENGTH, ProtoReader } from './protobuf.js';

export class ReceivedEvent {
  #message: EventMessage | undefined;
  /** Ids of the selectors that it matches; none for a subscription without selectors. */
  selectors: readonly string[] = [];

  /** `bytes`: the encoded Event. */
  constructor(readonly bytes: Buffer) {}

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
  readonly matches: { selector: string; all: boolean; indices: number[] }[] = [];
  readonly received: ReceivedEvent[] = [];

  get events(): EventMessage[] {
    return this.received.map(({ message }) => message);
  }
}

/**
 * The batch of an encoded SubscribeResponse; undefined for any other response. Throws invalid_argument where it has
 * anything that nobody can decode.
 */
export function receivedBatch(bytes: Buffer): ReceivedBatch | undefined {
  const encoded = encodedBatch(bytes);
  if (encoded === undefined) return undefined;
  const reader = new ProtoReader(encoded, 'batch');
  const batch = new ReceivedBatch();
  while (reader.nextTag()) {
    if (reader.field === 1) batch.node = reader.chunk().toString('utf8');
    else if (reader.field === 2) batch.topic = reader.chunk().toString('utf8');
    else if (reader.field === 3) batch.history = reader.bool();
    else if (reader.field === 4) batch.cursor = reader.chunk().toString('utf8');
    else if (reader.field === 5) {
      const event = reader.chunk();
      const fault = eventFault(event, 0, event.length);
      if (fault !== undefined) throw reader.fail(fault);
      batch.received.push(new ReceivedEvent(event));
    } else if (reader.field === 6) batch.refill = reader.bool();
    else if (reader.field === 7) batch.matches.push(readSelectorMatch(reader));
    else reader.skip();
  }
  nameSelectors(batch);
  return batch;
}

function readSelectorMatch(reader: ProtoReader): ReceivedBatch['matches'][number] {
  const inner = new ProtoReader(reader.chunk(), 'batch: match');
  const match = { selector: '', all: false, indices: [] as number[] };
  while (inner.nextTag()) {
    if (inner.field === 1) match.selector = inner.chunk().toString('utf8');
    else if (inner.field === 2) match.all = inner.bool();
    else if (inner.field === 3) readPacked(inner, match.indices, FRAME_EVENTS_MAX);
    else inner.skip();
  }
  return match;
}

function nameSelectors(batch: ReceivedBatch): void {
  if (batch.matches.length === 0) return;
  const selectors = selectorsOf(batch);
  for (const [index, event] of batch.received.entries()) event.selectors = selectors(index);
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

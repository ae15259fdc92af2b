/** Publishers, and logs of documents, in tests. */
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import type { DocumentBatch, NewBatch } from '../../../src/broker/log/documents/document-batch.js';
import type { DocumentLog } from '../../../src/broker/log/documents/document-log.js';
import {
  EmbeddedDocumentLog,
  type EmbeddedDocumentLogOptions,
} from '../../../src/broker/log/documents/embedded-document-log.js';
import { encodePart } from '../../../src/wire/event/document-event.js';
import { jsonToValue, valueToJson } from '../../../src/wire/event/event-json.js';
import { createPublisherClient } from '../../../src/wire/grpc/rpc.js';
import type { JsonValue } from '../../../src/wire/json-value.js';
import type {
  EventMessage,
  PublishedEvent,
  PublisherClient,
  PublishResponse__Output,
} from '../../../src/wire/messages.js';
import { until } from '../until.js';
import type { Harness, Subscriber } from './harness.js';

/** One stream of a publisher. */
export class TestPublisher {
  readonly answers: PublishResponse__Output[] = [];
  error: ServiceError | undefined;
  readonly #client: PublisherClient;
  readonly #stream: ClientDuplexStream<object, PublishResponse__Output>;
  #seq = 0;

  constructor(address: string) {
    this.#client = createPublisherClient(address);
    this.#stream = this.#client.publish() as ClientDuplexStream<object, PublishResponse__Output>;
    this.#stream.on('data', (answer: PublishResponse__Output) => this.answers.push(answer));
    this.#stream.on('error', (error: ServiceError) => {
      this.error = error;
    });
  }

  /** Sends a batch and waits for nothing; returns its number. */
  send(topic: string, events: readonly PublishedEvent[]): number {
    this.#stream.write({ seq: ++this.#seq, topic, events });
    return this.#seq;
  }

  /** Resolves with the acknowledgement; throws the status by which the stream ended instead. */
  async publish(topic: string, events: readonly PublishedEvent[]): Promise<PublishResponse__Output> {
    const seq = this.send(topic, events);
    const answer = await until(`the acknowledgement of batch ${seq}`, () => {
      return this.answers.find((each) => each.seq === String(seq)) ?? this.error;
    });
    if ('seq' in answer) return answer;
    throw answer;
  }

  close(): void {
    this.#stream.cancel();
    this.#client.close();
  }
}

export function published(id: string, body?: JsonValue, more: Partial<PublishedEvent> = {}): PublishedEvent {
  return { id, ...(body === undefined ? {} : { body: jsonToValue(body) }), ...more };
}

/** Events that were born in the broker, in the order of their arrival. */
export function documentsOf({
  responses,
}: Subscriber): { node: string; topic: string; history: boolean; event: EventMessage }[] {
  return responses.flatMap(({ events: batch }) => {
    if (!batch) return [];
    const { node, topic, history } = batch;
    return batch.events.flatMap((event) =>
      event.app || event.alert || event.audit ? [{ node, topic, history, event }] : [],
    );
  });
}

/** What is on record, in one object each; who reads it here is not told. */
export async function auditEntries(harness: Harness, token?: string): Promise<Record<string, unknown>[]> {
  const reader = harness.subscribe({ topics: ['audit'], since: '1h', client: 'reader-of-the-audit' }, token);
  await reader.end();
  return documentsOf(reader).flatMap(({ event: { audit } }) => {
    const { details, ...entry } = audit!;
    const facts = (details && valueToJson(details)) as Record<string, unknown> | undefined;
    return facts?.client === 'reader-of-the-audit' ? [] : [{ ...facts, ...entry }];
  });
}

export const idsOf = (subscriber: Subscriber) => documentsOf(subscriber).map(({ event }) => event.app?.id ?? '');

export const bodiesOf = (subscriber: Subscriber) =>
  documentsOf(subscriber).map(({ event }) => event.app?.body && valueToJson(event.app.body));

export function openLog(dir: string, options: Partial<EmbeddedDocumentLogOptions> = {}): EmbeddedDocumentLog {
  return new EmbeddedDocumentLog({
    name: 'app',
    dir,
    bytesMax: 1 << 28,
    ageMsMax: 3_600_000,
    givesWay: true,
    ...options,
  });
}

/** A batch of events with these ids. */
export function batchOf(topic: string, ids: readonly string[], body: JsonValue = null, node = '@test'): NewBatch {
  const documents = ids.map((id) => {
    return { type: topic, id, key: '', part: encodePart({ app: { id, source: 'test', body } }) };
  });
  return { node, topic, documents, by: 'local' };
}

/** Everything that can be read; what cannot is told by its reason. */
export async function readLog(
  log: DocumentLog,
  from = 0,
  topics?: readonly string[],
): Promise<(DocumentBatch | 'expired' | 'damaged')[]> {
  const reader = log.reader(Math.min(from, log.deliverableOffset), topics);
  const read: (DocumentBatch | 'expired' | 'damaged')[] = [];
  try {
    for (;;) {
      const item = await reader.next(log.deliverableOffset);
      if (item === undefined) return read;
      read.push(item.kind === 'batch' ? item.batch : item.kind);
    }
  } finally {
    reader.close();
  }
}

export function idsIn(read: readonly (DocumentBatch | string)[]): string[] {
  return read.flatMap((each) => {
    if (typeof each === 'string') return [each];
    return each.documents.flatMap(({ id }, index) => (each.repeats(index) ? [] : [id]));
  });
}

/** What programs publish. Runs in browsers. */
import { BackplaneError } from '../../errors.js';
import { PUBLISH_WAITING_MAX } from '../../limits/client.js';
import { type JsonValue, type PublishResponse, publishResponseOf } from '../../wire/typed/messages.js';
import { checkOpen } from './closable.js';

/** The attributes of CloudEvents 1.0. */
export interface PublishAttributes {
  /**
   * Names the event among those of this publisher and topic: what comes again under the same id is stored once. Without
   * one it is a random one, so that an event is stored once however often the library has to send it.
   */
  readonly id?: string | undefined;
  /** What happened (`com.example.deployed`). Otherwise the topic. */
  readonly type?: string | undefined;
  /** Where it happened. Otherwise the publisher's identity. */
  readonly source?: string | undefined;
  /** What it happened to. */
  readonly subject?: string | undefined;
  /** When it happened. */
  readonly time?: Date | undefined;
  /** W3C Trace Context. */
  readonly traceparent?: string | undefined;
  /** Members of a group share events by it, and not by who published them. */
  readonly key?: string | undefined;
}

export interface Draft extends PublishAttributes {
  /** Any JSON: at most 32 KiB as text, 16 deep. */
  readonly body?: JsonValue | undefined;
}

/** What is on the broker's disk. */
export type Published = Pick<PublishResponse, 'offset' | 'duplicates'>;

/** Sends one batch as JSON has it, until it is acknowledged or refused; the answer is protojson. */
export type SendBatch = (topic: string, events: readonly object[], signal: AbortSignal) => Promise<unknown>;

/** Sends batches one after the other. */
export class Publishing {
  readonly #send: SendBatch;
  readonly #closing: AbortSignal;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(send: SendBatch, closing: AbortSignal) {
    this.#send = send;
    this.#closing = closing;
  }

  async publish(topic: string, drafts: readonly Draft[]): Promise<Published> {
    checkOpen(this.#closing);
    if (this.#waiting >= PUBLISH_WAITING_MAX) {
      const message = `at most ${PUBLISH_WAITING_MAX} batches wait to be published: wait for some, or publish many at once`;
      throw new BackplaneError('resource_exhausted', message);
    }
    // The ids stay the same however often the batch is sent.
    const events = drafts.map(({ id = newId(), ...rest }) => ({ id, ...rest }));
    this.#waiting += 1;
    const before = this.#last;
    const sent = before.then(() => this.#send(topic, events, this.#closing));
    this.#last = sent.catch(() => undefined);
    try {
      const { offset, duplicates } = publishResponseOf(await sent);
      return { offset, duplicates };
    } finally {
      this.#waiting -= 1;
    }
  }
}

/** Pages that did not come by TLS have no crypto.randomUUID. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

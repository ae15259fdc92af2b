/**
 * Appends batches to a stream of documents, one at a time of a publisher and topic. What counts is not the server's
 * acknowledgement, but that this broker has read the message back in the stream's order: only then is known which of its
 * documents are new. Where an answer is lost, the message is sent again until it is read back; of two all readers pass over
 * the later one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BackplaneError } from '../../../errors.js';
import { Lanes } from '../../../flow/one-at-a-time.js';
import { APPEND_MS_MAX, APPEND_RETRY_MS_MAX, APPEND_RETRY_MS_MIN, NATS_REQUEST_MS } from '../../../limits.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { failureOf } from '../../nats/publish-error.js';
import type { AppendBounds } from '../jetstream/appender.js';
import type { NewBatch } from './document-batch.js';
import type { TakenBatch } from './document-fold.js';
import { type DocumentMessage, documentMessage } from './document-message.js';

export interface DocumentAppenderOptions {
  readonly link: NatsLink;
  readonly stream: string;
  readonly bounds: AppendBounds;
  readonly subjectOf: (topic: string) => string;
  /** Why the stream is not read. */
  readonly trouble: () => string | undefined;
  readonly appendMs?: number | undefined;
}

interface Awaited {
  readonly taken: (batch: TakenBatch) => void;
  readonly failed: (cause: BackplaneError) => void;
}

/** Of a server that has not said what it takes: its default. */
const PAYLOAD_BYTES = 1 << 20;

export class DocumentAppender {
  readonly #options: DocumentAppenderOptions;
  readonly #lanes = new Lanes();
  /** Messages that were sent and not read back yet, by id. */
  readonly #awaited = new Map<string, Awaited>();
  #count = 0;
  /** What went wrong last. */
  #trouble: string | undefined;

  constructor(options: DocumentAppenderOptions) {
    this.#options = options;
  }

  get pending(): boolean {
    return this.#count > 0;
  }

  /** See DocumentLog.append. */
  async append(batch: NewBatch): Promise<TakenBatch> {
    const { bounds, appendMs = APPEND_MS_MAX } = this.#options;
    const bytes = batch.documents.reduce((sum, { part, id }) => sum + part.length + id.length, 0);
    const release = bounds.pending(bytes);
    const deadlineMs = performance.now() + appendMs;
    this.#count++;
    try {
      return await this.#lanes.run(`${batch.topic} ${batch.by} ${batch.node}`, () => this.#append(batch, deadlineMs));
    } finally {
      this.#count--;
      release();
    }
  }

  async settled(): Promise<void> {
    await this.#lanes.settled();
  }

  /** A message was read back. */
  taken(batch: TakenBatch): void {
    this.#awaited.get(batch.id)?.taken(batch);
  }

  /** Nothing that is under way can be promised. */
  fail(cause: BackplaneError): void {
    for (const { failed } of this.#awaited.values()) failed(cause);
  }

  async #append(batch: NewBatch, deadlineMs: number): Promise<TakenBatch> {
    const { publishing } = this.#options.link;
    const message = await documentMessage(batch, publishing.info?.max_payload ?? PAYLOAD_BYTES);
    let deadline: NodeJS.Timeout | undefined;
    const readBack = new Promise<TakenBatch>((resolve, reject) => {
      this.#awaited.set(message.id, { taken: resolve, failed: reject });
      deadline = setTimeout(() => reject(this.#undecided()), Math.max(0, deadlineMs - performance.now()));
    });
    const ending = new AbortController();
    const end = () => ending.abort();
    readBack.then(end, end);
    try {
      await this.#send(batch.topic, message, ending.signal);
      return await readBack;
    } finally {
      clearTimeout(deadline);
      this.#awaited.delete(message.id);
    }
  }

  /** Resolves when it is acknowledged, or when the signal says that nothing is waited for any more. */
  async #send(topic: string, message: DocumentMessage, signal: AbortSignal): Promise<void> {
    const over = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    let mayBeStored = false;
    for (
      let waitMs = 0;
      !signal.aborted;
      waitMs = Math.min(Math.max(APPEND_RETRY_MS_MIN, 2 * waitMs), APPEND_RETRY_MS_MAX)
    ) {
      try {
        await Promise.race([this.#publish(topic, message), over]);
        this.#trouble = undefined;
        return;
      } catch (cause) {
        const failure = failureOf(cause);
        this.#trouble = (cause as Error).message;
        if (failure === 'full' && !mayBeStored) {
          const untilMended = 'a server that ran out of disk takes nothing until it is restarted';
          throw new BackplaneError('resource_exhausted', `NATS has no room: ${this.#trouble}; ${untilMended}`);
        }
        if (failure !== 'look') throw this.#undecided();
        mayBeStored = true;
      }
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #publish(topic: string, { headers, payload }: DocumentMessage): Promise<void> {
    const { link, stream, subjectOf } = this.#options;
    // While there is no connection the client would keep every try, and send them all.
    if (!link.connected) throw new Error('there is no connection');
    const options = { headers, expect: { streamName: stream }, timeout: NATS_REQUEST_MS };
    await link.client.publish(subjectOf(topic), payload, options);
  }

  #undecided(): BackplaneError {
    const { stream, trouble } = this.#options;
    const why = this.#trouble ?? trouble() ?? 'it was not read back';
    return new BackplaneError(
      'unavailable',
      `the stream ${stream} did not confirm it, it may or may not be stored: ${why}`,
    );
  }
}

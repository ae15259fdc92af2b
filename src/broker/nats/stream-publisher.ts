/**
 * Messages into streams, many under way at once: one subscription takes all acknowledgements, and one timer ends those
 * that do not come. The client's own requests make a timer and two errors, with their stacks, for each message.
 */
import type { Msg, MsgHdrs, NatsConnection } from 'nats';
import { APPEND_WINDOW_BYTES_MAX, NATS_REQUEST_MS } from '../../limits.js';
import { createInbox } from './nats-library.js';

/** What the server answers instead of an acknowledgement. */
export class PublishRefused extends Error {
  /** JetStream's number of the error; undefined where no server answered. */
  readonly code: number | undefined;

  constructor(message: string, code?: number) {
    super(message);
    this.code = code;
  }
}

interface Acknowledgement {
  readonly stream?: string;
  readonly seq?: number;
  readonly error?: { readonly err_code?: number; readonly description?: string };
}

interface Sent {
  readonly stream: string;
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly stored: (sequence: number) => void;
  readonly failed: (cause: Error) => void;
}

export class StreamPublisher {
  readonly #connection: NatsConnection;
  readonly #inbox = createInbox();
  /** By the last token of their replies, in the order in which their times end. */
  readonly #sent = new Map<string, Sent>();
  #count = 0;
  /** Bytes whose acknowledgement did not come, and which may still be in this process. */
  #adrift = 0;
  #flushing = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
    connection.subscribe(`${this.#inbox}.*`, { callback: (_, message) => this.#take(message) });
  }

  /**
   * Resolves with the message's sequence in its stream. Rejects with PublishRefused for what the server says, with another
   * error where nothing is known within NATS_REQUEST_MS: the message may be stored then.
   */
  publish(stream: string, subject: string, body: Uint8Array, headers: MsgHdrs): Promise<number> {
    if (this.#adrift > APPEND_WINDOW_BYTES_MAX) {
      this.#flush();
      return Promise.reject(new Error('the server does not read what it is sent'));
    }
    return new Promise((stored, failed) => {
      const token = (this.#count++).toString(36);
      this.#connection.publish(subject, body, { headers, reply: `${this.#inbox}.${token}` });
      const deadlineMs = performance.now() + NATS_REQUEST_MS;
      this.#sent.set(token, { stream, bytes: body.length, deadlineMs, stored, failed });
      this.#timer ??= setTimeout(() => this.#expire(), NATS_REQUEST_MS);
    });
  }

  /** No acknowledgement comes any more: messages may be stored. */
  disconnected(): void {
    for (const [token, { bytes, failed }] of this.#sent) {
      this.#sent.delete(token);
      this.#adrift += bytes;
      failed(new Error('the connection was lost'));
    }
  }

  #take(message: Msg): void {
    const token = message.subject.slice(this.#inbox.length + 1);
    const sent = this.#sent.get(token);
    if (sent === undefined) return;
    this.#sent.delete(token);
    try {
      sent.stored(sequenceIn(message, sent.stream));
    } catch (cause) {
      sent.failed(cause as Error);
    }
  }

  /** What is answered to a ping has left this process before it, and where the connection is lost nothing is kept. */
  #flush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    const over = () => {
      this.#flushing = false;
      this.#adrift = 0;
    };
    this.#connection.flush().then(over, over);
  }

  /** Ends what was sent too long ago. */
  #expire(): void {
    this.#timer = undefined;
    for (const [token, { bytes, deadlineMs, failed }] of this.#sent) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs > 0) {
        this.#timer = setTimeout(() => this.#expire(), leftMs);
        return;
      }
      this.#sent.delete(token);
      this.#adrift += bytes;
      failed(new Error(`no acknowledgement within ${NATS_REQUEST_MS} ms`));
    }
  }
}

/** Throws PublishRefused. */
function sequenceIn(message: Msg, wanted: string): number {
  // Nobody takes the subject: there is no leader at the moment, or no stream.
  if (message.data.length === 0) throw new PublishRefused('no server answers for its stream');
  const { stream, seq, error }: Acknowledgement = JSON.parse(message.string());
  if (error !== undefined) throw new PublishRefused(error.description ?? 'refused', error.err_code);
  if (stream !== wanted || !Number.isSafeInteger(seq)) throw new Error(`${stream} took what is for ${wanted}`);
  return seq!;
}

/**
 * A pull consumer on a stream that is used in order and never mended: where anything about it is in doubt, it ends, and its
 * owner makes a new one from where it stands. The client's own ordered consumer mends itself out of sight, and has been
 * seen to stand still after a server was lost, without an error.
 *
 * Messages are asked for; what was asked for and has not come is all that can be under way.
 */
import type { ConsumerConfig } from '@nats-io/jetstream';
import type { Msg, MsgHdrs } from 'nats';
import { CONSUMER_TRIES, LOG_CONSUMER_IDLE_MS } from '../../limits.js';
import { type ReceivedHeaders, receivedHeaders } from './header-text.js';
import { createInbox, nuid } from './nats-library.js';
import type { NatsLink } from './nats-link.js';
import { NATS_NS_PER_MS } from './stream-form.js';
import { streamInfo } from './stream-leader.js';

export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  /** By the server's clock, since 1970. */
  readonly timeNs: bigint;
  /** A view of what the connection has read; empty where bodies are left out. */
  readonly data: Uint8Array;
  /** Size of the body, also where it is left out. */
  readonly bytes: number;
  readonly headers: ReceivedHeaders | undefined;
}

export interface PullOptions {
  readonly stream: string;
  /** The first sequence that is wanted. */
  readonly from: number;
  /** Subjects; all of the stream unless they are given. */
  readonly filters?: readonly string[];
  readonly headersOnly?: boolean;
}

export interface PullListener {
  /** What it throws ends the consumer. */
  message(message: StoredMessage): void;
  /**
   * No request is open any more.
   * @param nothing there was no more at that moment; otherwise all came that was asked for
   */
  ended(nothing: boolean): void;
  /** Called once, unless it was closed. */
  failed(cause: Error): void;
}

const [NOTHING, REQUEST_ENDED, CONFLICT, HEARTBEAT] = [404, 408, 409, 100];
/** Messages of a request that has ended, which do not come. */
const LEFT = 'Nats-Pending-Messages';
/** Of a body that is left out. */
const SIZE = 'Nats-Msg-Size';

export class StreamPull {
  readonly #link: NatsLink;
  readonly #stream: string;
  readonly #listener: PullListener;
  #name = nextName();
  /** Where it was made; undefined where there is but one. */
  #server: string | undefined;
  readonly #inbox = createInbox();
  #unsubscribe: () => void = () => undefined;
  #delivered = 0;
  #outstanding = 0;
  #over = false;

  /** Rejects where the consumer cannot be made. */
  static async open(link: NatsLink, options: PullOptions, listener: PullListener): Promise<StreamPull> {
    const pull = new StreamPull(link, options.stream, listener);
    try {
      await pull.#begin(options);
      return pull;
    } catch (cause) {
      pull.close();
      throw cause;
    }
  }

  private constructor(link: NatsLink, stream: string, listener: PullListener) {
    this.#link = link;
    this.#stream = stream;
    this.#listener = listener;
  }

  /** Messages that were asked for and have not come. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /**
   * Asks for so many messages more.
   * @param waitMs how long the server waits for messages that are not there yet; undefined: not at all
   */
  ask(batch: number, bytesMax: number, waitMs: number | undefined): void {
    if (this.#over) return;
    this.#outstanding += batch;
    const wait = waitMs === undefined ? { no_wait: true } : { expires: waitMs * NATS_NS_PER_MS };
    const request = JSON.stringify({ batch, max_bytes: bytesMax, ...wait });
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${this.#name}`;
    this.#link.reading.publish(subject, request, { reply: this.#inbox });
  }

  /**
   * Whether it is where the stream is led. Elsewhere it might give what nobody else has: a server that comes back after a
   * power cut with more than the others keeps its own messages at the same sequences, and counts as current. Rejects with
   * unavailable where NATS does not say, or nobody leads it for now.
   */
  async isLed(): Promise<boolean> {
    const leader = this.#server === undefined ? undefined : await this.#leader();
    return leader === undefined || leader === this.#server;
  }

  async #leader(): Promise<string | undefined> {
    const info = await streamInfo(this.#link.manager, this.#stream);
    return info?.cluster?.leader;
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#unsubscribe();
    // Where that does not reach the server, the consumer ends by itself.
    this.#link.manager.consumers.delete(this.#stream, this.#name).catch(() => undefined);
  }

  async #begin({ stream, from, filters, headersOnly = false }: PullOptions): Promise<void> {
    const subscription = this.#link.reading.subscribe(this.#inbox, { callback: (_, message) => this.#take(message) });
    this.#unsubscribe = () => subscription.unsubscribe();
    const config: Partial<ConsumerConfig> = {
      ack_policy: 'none',
      deliver_policy: 'by_start_sequence',
      opt_start_seq: from,
      replay_policy: 'instant',
      inactive_threshold: LOG_CONSUMER_IDLE_MS * NATS_NS_PER_MS,
      mem_storage: true,
      num_replicas: 1,
      headers_only: headersOnly,
      ...filterOf(filters),
    };
    const { manager } = this.#link;
    for (let tries = 1; ; tries++) {
      const { cluster } = await manager.consumers.add(stream, { ...config, name: this.#name });
      this.#server = cluster?.leader;
      if (this.#server === undefined || this.#server === (await this.#leader())) return;
      if (tries === CONSUMER_TRIES)
        throw new Error(`its consumer is on ${this.#server}, which does not lead ${stream}`);
      manager.consumers.delete(stream, this.#name).catch(() => undefined);
      this.#name = nextName();
    }
  }

  #take(message: Msg): void {
    if (this.#over) return;
    try {
      // What is from the stream has a subject of the stream, and a reply that says where it stood.
      if (message.reply) this.#takeStored(message);
      else this.#takeStatus(message.headers);
    } catch (cause) {
      this.close();
      this.#listener.failed(cause as Error);
    }
  }

  #takeStored(message: Msg): void {
    const { place, stored } = readMessage(message);
    if (place !== ++this.#delivered) throw new Error(`message ${place} came where ${this.#delivered} was due`);
    this.#outstanding--;
    this.#listener.message(stored);
    if (this.#outstanding === 0) this.#listener.ended(false);
  }

  #takeStatus(headers: MsgHdrs | undefined): void {
    const [status, description] = [headers?.code ?? 0, headers?.description ?? ''];
    if (status === HEARTBEAT) return;
    const isOver = /deleted|no longer|leadership|shutdown/i.test(description);
    if (status === NOTHING || status === REQUEST_ENDED || (status === CONFLICT && !isOver)) {
      // One request has ended: how many of its messages do not come is said, else none of all is expected.
      const left = Number(headers?.get(LEFT) || this.#outstanding);
      this.#outstanding = Math.max(0, this.#outstanding - left);
      if (this.#outstanding === 0) this.#listener.ended(status !== CONFLICT);
    } else throw new Error(`its consumer ended: ${status} ${description}`);
  }
}

function nextName(): string {
  return `bp_${nuid.next()}`;
}

/** A consumer of one subject has it in another field than one of several. */
function filterOf(filters: readonly string[] | undefined): Partial<ConsumerConfig> {
  if (filters === undefined) return {};
  return filters.length === 1 ? { filter_subject: filters[0]! } : { filter_subjects: [...filters] };
}

/**
 * The place in the consumer's order, and the message itself. The reply says where it stood:
 *
 *   $JS.ACK [ domain account ] stream consumer deliveries sequence place nanoseconds pending [ random ]
 */
function readMessage(message: Msg): { place: number; stored: StoredMessage } {
  const { subject, reply = '', data } = message;
  const headers = receivedHeaders(message);
  const tokens = reply.split('.');
  const at = tokens.length === 9 ? 5 : 7;
  const [sequence, place] = [Number(tokens[at]), Number(tokens[at + 1])];
  if (tokens[1] !== 'ACK' || !Number.isSafeInteger(sequence) || !Number.isSafeInteger(place)) {
    throw new Error(`a message that is from no stream: ${reply.slice(0, 100)}`);
  }
  const bytes = data.length > 0 ? data.length : Number(headers?.get(SIZE) || 0);
  return { place, stored: { subject, sequence, timeNs: BigInt(tokens[at + 2] ?? 0), data, bytes, headers } };
}

/**
 * Publishes batches over one stream, one after the other. A batch that was not acknowledged is sent again, to another
 * broker or the same one later: the ids of its events keep them from being stored twice.
 */
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { inTheClear } from '../access/secure-channel.js';
import { secureTrouble } from '../access/secure-trouble.js';
import type { CredentialFor } from '../access/token-lookup.js';
import { BackplaneError, type ErrorCode } from '../errors.js';
import { BrokerRing } from '../flow/reconnect.js';
import { CLIENT_ANSWER_MS } from '../limits.js';
import { type ChannelSecurity, createPublisherClient } from '../wire/grpc/rpc.js';
import type {
  PublishedEvent,
  PublisherClient,
  PublishRequest,
  PublishResponse__Output as PublishResponse,
} from '../wire/messages.js';
import type { ClientOptions } from './client.js';
import { clientError, noBrokerError } from './client-error.js';
import { PublishRetries } from './publish-retries.js';
import { pause } from './resuming-stream.js';

/** What says of a stream that was opened before only that another one is needed. */
const STALE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['unavailable', 'unauthenticated']);

type PublishStream = ClientDuplexStream<PublishRequest, PublishResponse>;

export class PublishClient {
  readonly #ring: BrokerRing;
  readonly #credentialFor: CredentialFor;
  readonly #connection: ClientOptions;
  readonly #retries: PublishRetries;
  /** Of the stream that is open, or was last. */
  #broker = '';
  #service: PublisherClient | undefined;
  #security: ChannelSecurity | undefined;
  #stream: PublishStream | undefined;

  /**
   * Brokers are given as `host:port` or `host:port@zone`: see BrokerRing; or as the ring of a Client, so that both know
   * which of them answer. Nothing is connected before the first call.
   */
  constructor(brokers: readonly string[] | BrokerRing, credentialFor: CredentialFor, connection: ClientOptions = {}) {
    this.#ring = brokers instanceof BrokerRing ? brokers : new BrokerRing(brokers, connection.zone);
    this.#credentialFor = credentialFor;
    this.#connection = connection;
    this.#retries = new PublishRetries(this.#ring, this.#ring.brokers.length);
  }

  /**
   * Resolves once the batch is on the broker's disk. Over its rates it waits for as long as the broker says, and for
   * some ten seconds for brokers that have answered and are away.
   * @throws BackplaneError what the broker refused; unavailable when no broker answers; cancelled by the signal.
   */
  async publish(topic: string, events: readonly PublishedEvent[], signal: AbortSignal): Promise<PublishResponse> {
    const delayMs = this.#retries.batch();
    while (!signal.aborted) {
      const wasOpen = this.#stream !== undefined;
      if (!wasOpen) this.#broker = this.#ring.next();
      try {
        const answer = await this.#send({ topic, events: [...events] }, signal);
        this.#ring.answered(this.#broker);
        this.#retries.answered();
        return answer;
      } catch (thrown) {
        this.#drop();
        const error = this.#failure(thrown);
        if (error.code === 'unavailable') this.#ring.failed(this.#broker);
        // The broker may have been started again, or the token renewed, since the stream was opened.
        const isStale = wasOpen && STALE.has(error.code);
        const waitMs = isStale ? this.#ring.waitMs(this.#ring.next()) : delayMs(error);
        if (waitMs === undefined) {
          throw error.code === 'unavailable'
            ? noBrokerError(this.#ring.brokers, error, this.#connection.advice)
            : error;
        }
        await pause(waitMs, signal);
      }
    }
    throw new BackplaneError('cancelled', 'interrupted');
  }

  /** Ends the stream; what was not acknowledged may be stored or not. */
  close(): void {
    this.#drop();
  }

  #send(batch: PublishRequest, signal: AbortSignal): Promise<PublishResponse> {
    const stream = this.#open();
    return new Promise((resolve, reject) => {
      const lost = () => reject(new BackplaneError('unavailable', `no answer within ${CLIENT_ANSWER_MS} ms`));
      const timer = setTimeout(lost, CLIENT_ANSWER_MS);
      const settle = () => {
        clearTimeout(timer);
        stream.off('data', answered).off('error', failed).off('end', ended);
        signal.removeEventListener('abort', aborted);
      };
      const answered = (response: PublishResponse) => {
        settle();
        resolve(response);
      };
      const failed = (cause: unknown) => {
        settle();
        reject(cause);
      };
      const ended = () => failed(new BackplaneError('unavailable', 'the broker ended the stream'));
      const aborted = () => failed(new BackplaneError('cancelled', 'interrupted'));
      stream.on('data', answered).on('error', failed).on('end', ended);
      signal.addEventListener('abort', aborted, { once: true });
      stream.write(batch);
    });
  }

  #failure(thrown: unknown): BackplaneError {
    const error = clientError(thrown);
    if (error.code !== 'unavailable') return error;
    const { details } = thrown as { details?: unknown };
    const said = typeof details === 'string' ? details : '';
    const isSecure = this.#security?.isSecure === true;
    return secureTrouble(this.#broker, said, isSecure, this.#connection.tlsNames) ?? error;
  }

  #open(): PublishStream {
    if (this.#stream !== undefined) return this.#stream;
    const broker = this.#broker;
    const { securityFor = inTheClear } = this.#connection;
    this.#security = securityFor(broker);
    const token = () => this.#credentialFor(broker)?.token;
    this.#service = createPublisherClient(broker, token, this.#security, this.#connection);
    const stream = this.#service.publish() as PublishStream;
    this.#stream = stream;
    // A stream that ended between batches takes none. Why it did is told to nobody.
    const drop = () => this.#stream === stream && this.#drop();
    stream.on('error', drop).on('end', drop);
    return stream;
  }

  #drop(): void {
    this.#stream?.cancel();
    this.#service?.close();
    this.#stream = undefined;
    this.#service = undefined;
  }
}

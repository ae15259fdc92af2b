/**
 * A client of the Backplane service: unary calls with deadlines, and
 * subscriptions that survive the loss of a broker. A lost stream is resumed by
 * its cursor, at each broker in turn, so that the items are those of one unbroken
 * stream; breaks show as `link` items.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceError } from '@grpc/grpc-js';
import { inTheClear, type SecurityFor } from '../access/secure-channel.js';
import { secureTrouble } from '../access/secure-trouble.js';
import type { CredentialFor } from '../access/token-lookup.js';
import { BackplaneError } from '../errors.js';
import { reconnectDelayMs } from '../flow/reconnect.js';
import { CLIENT_ANSWER_MS } from '../limits.js';
import { createBackplaneClient } from '../wire/grpc/rpc.js';
import type {
  BackplaneClient,
  ExplainResponse__Output as ExplainResponse,
  ForgetNodesResponse__Output as ForgetNodesResponse,
  GetStatusResponse__Output as GetStatusResponse,
  ListNodesResponse__Output as ListNodesResponse,
  ListSubscriptionsResponse__Output as ListSubscriptionsResponse,
  ListTopicsResponse__Output as ListTopicsResponse,
  SetBudgetRequest,
  SetBudgetResponse__Output as SetBudgetResponse,
  SubscribeRequest,
} from '../wire/messages.js';
import { clientError, noBrokerError } from './client-error.js';
import { HeldGaps } from './held-gaps.js';
import { Resumption } from './resumption.js';
import { type SubscribeItem, subscribeItem } from './subscribe-item.js';

type Callback<Response> = (error: ServiceError | null, response?: Response) => void;
type UnaryCall<Response> = (service: BackplaneClient, deadline: Date, callback: Callback<Response>) => unknown;

export class Client {
  readonly #brokers: readonly string[];
  readonly #credentialFor: CredentialFor;
  readonly #securityFor: SecurityFor;
  readonly #services = new Map<string, BackplaneClient>();
  /** Brokers to which the last connection was one of TLS. */
  readonly #secured = new Set<string>();
  /** Index of the broker that answered last, which is asked first. */
  #current = 0;

  /**
   * Brokers are given as host:port and asked in turn. Nothing is connected before the first call. `credentialFor`
   * returns the credential for a broker, and is called for each connection; without it no credential is sent.
   * `securityFor` likewise says how to connect; without it nothing is encrypted.
   */
  constructor(
    brokers: readonly string[],
    credentialFor: CredentialFor = () => undefined,
    securityFor: SecurityFor = inTheClear,
  ) {
    this.#brokers = brokers;
    this.#credentialFor = credentialFor;
    this.#securityFor = securityFor;
  }

  /** @throws BackplaneError invalid_argument for a refused request; unavailable when no broker answers. */
  explain(subscription: SubscribeRequest): Promise<ExplainResponse> {
    return this.#ask((service, deadline, done) => service.explain({ subscription }, { deadline }, done));
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  listNodes(): Promise<ListNodesResponse> {
    return this.#ask((service, deadline, done) => service.listNodes({}, { deadline }, done));
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  listTopics(): Promise<ListTopicsResponse> {
    return this.#ask((service, deadline, done) => service.listTopics({}, { deadline }, done));
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  listSubscriptions(): Promise<ListSubscriptionsResponse> {
    return this.#ask((service, deadline, done) => service.listSubscriptions({}, { deadline }, done));
  }

  /** @throws BackplaneError invalid_argument, not_found when no node matches; unavailable when no broker answers. */
  setBudget(request: SetBudgetRequest): Promise<SetBudgetResponse> {
    return this.#ask((service, deadline, done) => service.setBudget(request, { deadline }, done));
  }

  /**
   * Forgets nodes that are gone. `nodes` are names or globs.
   * @throws BackplaneError not_found when no known node matches, failed_precondition when all that do are connected;
   * unavailable when no broker answers.
   */
  forgetNodes(nodes: readonly string[]): Promise<ForgetNodesResponse> {
    return this.#ask((service, deadline, done) => service.forgetNodes({ nodes: [...nodes] }, { deadline }, done));
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  getStatus(): Promise<GetStatusResponse> {
    return this.#ask((service, deadline, done) => service.getStatus({}, { deadline }, done));
  }

  /**
   * Iterates a subscription until the broker ends it or the signal is aborted.
   * One item is read at a time, so that a consumer that stops reading stops the broker.
   * After a break `accepted` is yielded again, after the `link` item that ends the break.
   *
   * @throws BackplaneError what the broker refused; unavailable when at the start no broker answers. Once accepted,
   * lost brokers are tried again (0.1 to 0.5 s apart, later up to 2 s, with jitter) until the signal is aborted.
   */
  async *subscribe(request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<SubscribeItem, void, undefined> {
    const resumption = new Resumption(request);
    // Number of failed attempts since a broker last answered.
    let failures = 0;
    let broken = false;
    while (!signal.aborted) {
      const index = (this.#current + failures) % this.#brokers.length;
      const broker = this.#brokers[index] ?? '';
      let cause = new BackplaneError('unavailable', 'the broker ended the stream');
      const gaps = new HeldGaps();
      try {
        for await (const item of this.#stream(broker, resumption.request(), signal)) {
          if (item.kind === 'accepted') {
            if (broken) yield { kind: 'link', broker, cause: undefined };
            broken = false;
            this.#current = index;
            failures = 0;
          }
          // Counted before the yield, because a consumer that stops at this item has received it.
          resumption.saw(item);
          yield* gaps.pass(item);
        }
        if (!signal.aborted && resumption.finished) yield* gaps.take();
        if (signal.aborted || resumption.finished) return;
      } catch (thrown) {
        // A stream that breaks after its last event was complete, so there is nothing to resume.
        if (!signal.aborted && resumption.complete) yield* gaps.take();
        if (signal.aborted || resumption.complete) return;
        cause = this.#failure(broker, thrown);
        if (cause.code !== 'unavailable') throw cause;
      }
      this.#forget(broker);
      failures++;
      if (resumption.accepted) {
        // Yielded once per break, because further attempts usually fail for the same reason.
        if (!broken) yield { kind: 'link', broker, cause };
        broken = true;
        await sleep(reconnectDelayMs(failures), undefined, { signal }).catch(() => {});
      } else if (failures >= this.#brokers.length) {
        throw noBrokerError(this.#brokers, cause);
      }
    }
  }

  /** Ends all running calls. */
  close(): void {
    for (const service of this.#services.values()) service.close();
    this.#services.clear();
  }

  /** One stream at one broker, until it ends or fails. */
  async *#stream(broker: string, request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<SubscribeItem> {
    const call = this.#service(broker).subscribe(request);
    // A cancelled stream still emits an error, which would be unhandled after the loop has ended.
    call.on('error', () => {});
    const cancel = () => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    let silent = false;
    const timer = setTimeout(() => {
      silent = true;
      call.cancel();
    }, CLIENT_ANSWER_MS);
    try {
      for await (const response of call) {
        clearTimeout(timer);
        const item = subscribeItem(response);
        if (item !== undefined) yield item;
      }
    } catch (thrown) {
      if (silent) throw new BackplaneError('unavailable', `no answer within ${CLIENT_ANSWER_MS} ms`);
      throw thrown;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
      call.cancel();
    }
  }

  async #ask<Response>(call: UnaryCall<Response>): Promise<Response> {
    let cause: BackplaneError | undefined;
    for (let failures = 0; failures < this.#brokers.length; failures++) {
      const index = (this.#current + failures) % this.#brokers.length;
      const broker = this.#brokers[index] ?? '';
      try {
        const answer = await this.#askOne(broker, call);
        this.#current = index;
        return answer;
      } catch (thrown) {
        cause = this.#failure(broker, thrown);
        if (cause.code !== 'unavailable') throw cause;
        this.#forget(broker);
      }
    }
    throw noBrokerError(this.#brokers, cause);
  }

  #askOne<Response>(broker: string, call: UnaryCall<Response>): Promise<Response> {
    return new Promise((resolve, reject) => {
      call(this.#service(broker), new Date(Date.now() + CLIENT_ANSWER_MS), (error, response) => {
        if (error !== null || response === undefined) reject(error);
        else resolve(response);
      });
    });
  }

  /** Converts an error; for a refused token the message also says where the token came from. */
  #failure(broker: string, thrown: unknown): BackplaneError {
    const error = clientError(thrown);
    if (error.code === 'unavailable') {
      const { details = '' } = thrown as { details?: unknown };
      return secureTrouble(broker, String(details), this.#secured.has(broker)) ?? error;
    }
    const from = error.code === 'unauthenticated' ? this.#credentialFor(broker)?.from : undefined;
    return from === undefined
      ? error
      : new BackplaneError(error.code, `${error.message} (${from} was sent)`, error.details);
  }

  #service(broker: string): BackplaneClient {
    const known = this.#services.get(broker);
    if (known !== undefined) return known;
    const security = this.#securityFor(broker);
    if (security.isSecure) this.#secured.add(broker);
    const service = createBackplaneClient(broker, this.#credentialFor(broker)?.token, security);
    this.#services.set(broker, service);
    return service;
  }

  /** Drops a failed channel: it would back off for up to minutes, but subscribe() sets its own delays. */
  #forget(broker: string): void {
    this.#services.get(broker)?.close();
    this.#services.delete(broker);
  }
}

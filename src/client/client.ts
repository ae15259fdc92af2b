/**
 * A client of the Backplane service over gRPC: unary calls with deadlines, and subscriptions that survive the loss of a
 * broker. The command line and the client library stand on it.
 */
import { type CallOptions, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { inTheClear, type SecurityFor } from '../access/secure-channel.js';
import { secureTrouble, type TlsNames } from '../access/secure-trouble.js';
import type { CredentialFor } from '../access/token-lookup.js';
import { BackplaneError } from '../errors.js';
import { BrokerRing } from '../flow/reconnect.js';
import { CLIENT_ANSWER_MS } from '../limits/client.js';
import {
  type ChannelSecurity,
  type ConnectionOptions,
  createBackplaneClient,
  createGroupsClient,
} from '../wire/grpc/rpc.js';
import type {
  BackplaneClient,
  CommitRequest,
  ExplainResponse__Output as ExplainResponse,
  ForgetNodesResponse__Output as ForgetNodesResponse,
  GetGroupResponse__Output as GetGroupResponse,
  GetStatusResponse__Output as GetStatusResponse,
  GroupsClient,
  ListGroupsResponse__Output as ListGroupsResponse,
  ListNodesResponse__Output as ListNodesResponse,
  ListSubscriptionsResponse__Output as ListSubscriptionsResponse,
  ListTopicsResponse__Output as ListTopicsResponse,
  ResetGroupResponse__Output as ResetGroupResponse,
  RetireResponse__Output as RetireResponse,
  SetBudgetRequest,
  SetBudgetResponse__Output as SetBudgetResponse,
  SetGroupFilterRequest,
  SetGroupFilterResponse__Output as SetGroupFilterResponse,
  SubscribeRequest,
} from '../wire/messages.js';
import { allPages } from './all-pages.js';
import { clientError, noBrokerError } from './client-error.js';
import { askInTurn, resumingStream, type StreamSource } from './resuming-stream.js';
import { itemFacts, type SubscribeItem, subscribeItem } from './subscribe-item.js';

type Callback<Response> = (error: ServiceError | null, response?: Response) => void;
type UnaryCall<Response> = (service: BackplaneClient, options: CallOptions, callback: Callback<Response>) => unknown;
type GroupCall<Response> = (service: GroupsClient, options: CallOptions, callback: Callback<Response>) => unknown;

export interface ClientOptions extends ConnectionOptions {
  /** This client's zone: brokers of it are asked before others. */
  readonly zone?: string | undefined;
  /** How to connect to a broker, called for each connection; without it nothing is encrypted. */
  readonly securityFor?: SecurityFor | undefined;
  /** Of every call; they take precedence. */
  readonly callOptions?: CallOptions | undefined;
  /** What to do where no broker answers: the end of a sentence. */
  readonly advice?: string | undefined;
  /** What errors of TLS call the CA and the certificate; without it the flags of the command line. */
  readonly tlsNames?: TlsNames | undefined;
}

/** Any answer will do: what a broker says of itself needs no credential. */
const HEALTH = '/grpc.health.v1.Health/Check';
const EMPTY = Buffer.alloc(0);
const nothing = () => EMPTY;
/** Statuses by which nobody answered. */
const AWAY: ReadonlySet<status> = new Set([status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED]);

export class Client {
  /** Which brokers answer. */
  readonly ring: BrokerRing;
  readonly #credentialFor: CredentialFor;
  readonly #connection: ClientOptions;
  readonly #services = new Map<string, BackplaneClient>();
  #closed = false;
  /** Of the last connection to each broker. */
  readonly #security = new Map<string, ChannelSecurity>();
  readonly #source: StreamSource<SubscribeRequest, SubscribeItem> = {
    open: (broker, request, signal) => this.#stream(broker, request, signal),
    facts: itemFacts,
    failure: (broker, thrown) => this.#failure(broker, thrown),
    lost: (broker) => this.#forget(broker),
    link: (broker, cause) => ({ kind: 'link', broker, cause }),
    nobody: (brokers, cause) => noBrokerError(brokers, cause, this.#connection.advice),
  };

  /**
   * Brokers are given as `host:port` or `host:port@zone`: see BrokerRing. Nothing is connected before the first call. `credentialFor`
   * returns the credential for a broker, and is called for each call; without it no credential is sent.
   */
  constructor(
    brokers: readonly string[],
    credentialFor: CredentialFor = () => undefined,
    connection: ClientOptions = {},
  ) {
    this.ring = new BrokerRing(brokers, connection.zone);
    this.#credentialFor = credentialFor;
    this.#connection = connection;
  }

  /** Resolves when a broker has answered at all. @throws BackplaneError unavailable when none does. */
  connected(): Promise<void> {
    const answered = this.#ask<true>((service, options, done) =>
      service.makeUnaryRequest(HEALTH, nothing, nothing, EMPTY, new Metadata(), options, (error) => {
        if (error !== null && AWAY.has(error.code)) done(error);
        else done(null, true);
      }),
    );
    return answered.then(() => undefined);
  }

  /** @throws BackplaneError invalid_argument for a refused request; unavailable when no broker answers. */
  explain(subscription: SubscribeRequest): Promise<ExplainResponse> {
    return this.#ask((service, options, done) => service.explain({ subscription }, options, done));
  }

  /** All of them, page by page. @throws BackplaneError unavailable when no broker answers. */
  async listNodes(): Promise<ListNodesResponse> {
    const nodes = await allPages(async (pageToken) => {
      const page = await this.#ask<ListNodesResponse>((service, options, done) =>
        service.listNodes({ pageToken }, options, done),
      );
      return { items: page.nodes, nextPageToken: page.nextPageToken };
    });
    return { nodes, nextPageToken: '' };
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  listTopics(): Promise<ListTopicsResponse> {
    return this.#ask((service, options, done) => service.listTopics({}, options, done));
  }

  /** All of them, page by page. @throws BackplaneError unavailable when no broker answers. */
  async listSubscriptions(): Promise<ListSubscriptionsResponse> {
    const subscriptions = await allPages(async (pageToken) => {
      const page = await this.#ask<ListSubscriptionsResponse>((service, options, done) =>
        service.listSubscriptions({ pageToken }, options, done),
      );
      return { items: page.subscriptions, nextPageToken: page.nextPageToken };
    });
    return { subscriptions, nextPageToken: '' };
  }

  /** @throws BackplaneError invalid_argument, not_found when no node matches; unavailable when no broker answers. */
  setBudget(request: SetBudgetRequest): Promise<SetBudgetResponse> {
    return this.#ask((service, options, done) => service.setBudget(request, options, done));
  }

  /**
   * Forgets nodes that are gone. `nodes` are names or globs.
   * @throws BackplaneError not_found when no known node matches, failed_precondition when all that do are connected;
   * unavailable when no broker answers.
   */
  forgetNodes(nodes: readonly string[]): Promise<ForgetNodesResponse> {
    return this.#ask((service, options, done) => service.forgetNodes({ nodes: [...nodes] }, options, done));
  }

  /**
   * The broker sends its agents and subscribers to others, some at a time. Of several brokers the first that answers is asked.
   * @throws BackplaneError failed_precondition where there is nowhere to go, unless forced; unavailable when no broker answers.
   */
  retire(force: boolean): Promise<RetireResponse> {
    return this.#ask((service, options, done) => service.retire({ force }, options, done));
  }

  /** @throws BackplaneError unavailable when no broker answers. */
  getStatus(): Promise<GetStatusResponse> {
    return this.#ask((service, options, done) => service.getStatus({}, options, done));
  }

  /** Iterates a subscription until the broker ends it or the signal is aborted: see resumingStream. */
  subscribe(request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<SubscribeItem, void, undefined> {
    return resumingStream(this.#source, this.ring, request, signal);
  }

  /** All of them, page by page. @throws BackplaneError unavailable when no broker answers. */
  async listGroups(): Promise<ListGroupsResponse> {
    const groups = await allPages(async (pageToken) => {
      const page = await this.#askGroups<ListGroupsResponse>((service, options, done) =>
        service.listGroups({ pageToken }, options, done),
      );
      return { items: page.groups, nextPageToken: page.nextPageToken };
    });
    return { groups, nextPageToken: '' };
  }

  /** @throws BackplaneError not_found; unavailable when no broker answers. */
  getGroup(group: string): Promise<GetGroupResponse> {
    return this.#askGroups((service, options, done) => service.getGroup({ group }, options, done));
  }

  /** @throws BackplaneError not_found, failed_precondition when it has members; unavailable when no broker answers. */
  async deleteGroup(group: string): Promise<void> {
    await this.#askGroups<object>((service, options, done) => service.deleteGroup({ group }, options, done));
  }

  /**
   * `to` is "oldest", "now", a duration back from now or RFC 3339.
   * @throws BackplaneError not_found, failed_precondition when it has members; unavailable when no broker answers.
   */
  resetGroup(group: string, to: string): Promise<ResetGroupResponse> {
    return this.#askGroups((service, options, done) => service.resetGroup({ group, to }, options, done));
  }

  /** @throws BackplaneError not_found, filter_invalid; unavailable when no broker answers. */
  setGroupFilter(request: SetGroupFilterRequest): Promise<SetGroupFilterResponse> {
    return this.#askGroups((service, options, done) => service.setGroupFilter(request, options, done));
  }

  /**
   * Resolves when all of it is durable.
   * @throws BackplaneError fenced when a slice has another epoch by now, and then nothing is committed; invalid_argument
   * for a cursor that the epoch was not given; not_found; unavailable when no broker answers.
   */
  async commit(request: CommitRequest): Promise<void> {
    await this.#askGroups<object>((service, options, done) => service.commit(request, options, done));
  }

  /** Ends all running calls; there can be none afterwards. */
  close(): void {
    this.#closed = true;
    for (const service of this.#services.values()) service.close();
    this.#services.clear();
  }

  /** One stream at one broker, until it ends or fails. */
  async *#stream(broker: string, request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<SubscribeItem> {
    const call = this.#service(broker).subscribe(request, { ...this.#connection.callOptions });
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

  #ask<Response>(call: UnaryCall<Response>): Promise<Response> {
    return askInTurn(this.#source, this.ring, (broker) => this.#askOne(broker, call));
  }

  #askGroups<Response>(call: GroupCall<Response>): Promise<Response> {
    return askInTurn(this.#source, this.ring, (broker) =>
      answerTo((done) => call(this.#groups(broker), this.#unaryOptions(), done)),
    );
  }

  #askOne<Response>(broker: string, call: UnaryCall<Response>): Promise<Response> {
    return answerTo((done) => call(this.#service(broker), this.#unaryOptions(), done));
  }

  #unaryOptions(): CallOptions {
    return { deadline: Date.now() + CLIENT_ANSWER_MS, ...this.#connection.callOptions };
  }

  /** Converts an error; for a refused token the message also says where the token came from. */
  #failure(broker: string, thrown: unknown): BackplaneError {
    const error = clientError(thrown);
    if (error.code === 'unavailable') {
      const { details = '' } = thrown as { details?: unknown };
      const isSecure = this.#security.get(broker)?.isSecure === true;
      return secureTrouble(broker, String(details), isSecure, this.#connection.tlsNames) ?? error;
    }
    const from = error.code === 'unauthenticated' ? this.#credentialFor(broker)?.from : undefined;
    return from === undefined
      ? error
      : new BackplaneError(error.code, `${error.message} (${from} was sent)`, error.details);
  }

  #service(broker: string): BackplaneClient {
    // A call that fails as this is closed would be tried again, over a connection that nobody closes.
    if (this.#closed) throw new BackplaneError('failed_precondition', 'the connection was closed');
    const known = this.#services.get(broker);
    if (known !== undefined) return known;
    const { securityFor = inTheClear } = this.#connection;
    const security = securityFor(broker);
    this.#security.set(broker, security);
    const service = createBackplaneClient(broker, this.#tokenFor(broker), security, this.#connection);
    this.#services.set(broker, service);
    return service;
  }

  /** On the same connection. */
  #groups(broker: string): GroupsClient {
    const options = { ...this.#connection, channel: this.#service(broker).getChannel() };
    return createGroupsClient(broker, this.#tokenFor(broker), this.#security.get(broker), options);
  }

  #tokenFor(broker: string): () => string | undefined {
    return () => this.#credentialFor(broker)?.token;
  }

  /** Drops a failed channel: it would back off for up to minutes, but subscribe() sets its own delays. */
  #forget(broker: string): void {
    this.#services.get(broker)?.close();
    this.#services.delete(broker);
  }
}

function answerTo<Response>(call: (done: Callback<Response>) => unknown): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => {
      if (error !== null || response === undefined) reject(error);
      else resolve(response);
    });
  });
}

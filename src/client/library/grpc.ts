/**
 * `backplane/client`: a bus over gRPC, for programs in Node.
 *
 *   const bus = await connect({ brokers: ['broker:8484'], token });
 *   for await (const item of bus.subscribe({ topics: ['process'], follow: true })) …
 */
import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import type { CallOptions, ChannelCredentials, ChannelOptions, Interceptor } from '@grpc/grpc-js';
import { inTheClear, type SecurityFor, type Shown, securedWith } from '../../access/secure-channel.js';
import { invalid } from '../../errors.js';
import { checkBrokers, isBroker } from '../../text/broker-address.js';
import { jsonToValue } from '../../wire/event/event-json.js';
import { checkJsonValue } from '../../wire/json-value.js';
import { messageToJson } from '../../wire/message-json.js';
import { explainRequestCodec, nsToTimestamp, type PublishedEvent, subscribeRequestCodec } from '../../wire/messages.js';
import { publishBatchOf } from '../../wire/publish-request.js';
import { withWideTexts } from '../../wire/typed/json-values.js';
import type { SubscribeRequest } from '../../wire/typed/messages.js';
import { Client, type ClientOptions } from '../client.js';
import { PublishClient } from '../publish-client.js';
import { type Bus, CarriedBus, type Carrier, type Question } from './bus.js';
import { CarriedClusters, type Clusters, checkedClusters, someConnected } from './clusters.js';
import type { SliceCommit } from './group.js';
import type { BatchItem } from './items.js';
import type { SendBatch } from './publishing.js';
import { typedItem } from './typed-item.js';

export * from './exports.js';

/** PEM. `ca` alone verifies the broker; `cert` and `key` show who calls. `{}`: the authorities that Node knows. */
export interface TlsOptions {
  readonly ca?: string | Uint8Array | undefined;
  readonly cert?: string | Uint8Array | undefined;
  readonly key?: string | Uint8Array | undefined;
}

export interface ConnectOptions {
  /** `host:port` or `host:port@zone` of each: those of this zone are asked first, equal ones in any order. */
  readonly brokers: readonly string[];
  /** Where this program runs. */
  readonly zone?: string | undefined;
  /** Sent with every call, unless `tls` shows a certificate; a function is asked anew for each. */
  readonly token?: string | (() => string | undefined) | undefined;
  /** A function is asked anew for each connection, as certificates are renewed. */
  readonly tls?: TlsOptions | (() => TlsOptions) | undefined;
  /** In place of `tls`. */
  readonly credentials?: ChannelCredentials | undefined;
  /** Of grpc-js; they take precedence. */
  readonly channelOptions?: ChannelOptions | undefined;
  readonly interceptors?: readonly Interceptor[] | undefined;
  /** Of every call. */
  readonly callOptions?: CallOptions | undefined;
}

/** @throws BackplaneError invalid_argument; unavailable when no broker takes a connection */
export async function connect(options: ConnectOptions): Promise<Bus> {
  check(options);
  const carrier = new GrpcCarrier(options);
  try {
    await carrier.connected();
  } catch (cause) {
    carrier.close();
    throw cause;
  }
  return new CarriedBus(carrier);
}

/**
 * Several clusters, by name, to be read as one.
 * @throws BackplaneError invalid_argument; unavailable when no broker of any of them takes a connection
 */
export async function connectClusters(clusters: Readonly<Record<string, ConnectOptions>>): Promise<Clusters> {
  const checked = checkedClusters(clusters, check);
  const carriers = new Map(checked.map(([name, options]) => [name, new GrpcCarrier(options)]));
  try {
    await someConnected(new Map(Array.from(carriers, ([name, carrier]) => [name, carrier.connected()])));
  } catch (cause) {
    for (const carrier of carriers.values()) carrier.close();
    throw cause;
  }
  return new CarriedClusters(carriers);
}

function check({ brokers, zone }: ConnectOptions, within = ''): void {
  checkBrokers(brokers, zone, isBroker, 'host:port', within);
}

/** What errors name: programs have options where commands have flags. */
const TLS_NAMES = { ca: 'the option tls.ca', cert: 'the option tls.cert' };

class GrpcCarrier implements Carrier {
  readonly #client: Client;
  readonly #publisher: PublishClient;

  constructor({ brokers, token, tls, credentials: given, callOptions, ...rest }: ConnectOptions) {
    const sent = typeof token === 'function' ? token : () => token;
    const securityFor = securityOf(given, tls);
    const connection: ClientOptions = { typed: true, ...rest, callOptions, securityFor, tlsNames: TLS_NAMES };
    const credentialFor = () => {
      const current = sent();
      return current === undefined ? undefined : { token: current, from: 'the option token' };
    };
    this.#client = new Client(brokers, credentialFor, connection);
    this.#publisher = new PublishClient(this.#client.ring, credentialFor, connection);
  }

  readonly publish: SendBatch = async (topic, events, signal) => {
    return messageToJson(await this.#publisher.publish(topic, checkedEvents(topic, events), signal));
  };

  connected(): Promise<void> {
    return this.#client.connected();
  }

  async *stream(request: SubscribeRequest, signal: AbortSignal): AsyncGenerator<BatchItem, void, undefined> {
    const checked = subscribeRequestCodec.fromJson(plain(request));
    for await (const item of this.#client.subscribe(checked, signal)) yield typedItem(item);
  }

  async ask(question: Question, body?: object): Promise<unknown> {
    return messageToJson(await this.#answer(question, body));
  }

  async commit(group: string, slices: readonly SliceCommit[]): Promise<void> {
    await this.#client.commit({ group, slices: slices.map((each) => ({ ...each, epoch: String(each.epoch) })) });
  }

  #answer(question: Question, body?: object): Promise<object> {
    if (question !== 'explain') return this.#client[question]();
    const { subscription } = explainRequestCodec.fromJson(plain(body));
    return this.#client.explain(subscription ?? {});
  }

  close(): void {
    this.#publisher.close();
    this.#client.close();
  }
}

/** Throws invalid_argument for what cannot be used. */
function securityOf(given: ChannelCredentials | undefined, tls: ConnectOptions['tls']): SecurityFor {
  if (given !== undefined) {
    return () => ({ isSecure: given._isSecure(), showsCertificate: false, credentials: given, options: {} });
  }
  if (tls === undefined) return inTheClear;
  if (typeof tls === 'function') return (broker) => securedWith(broker, shownBy(tls()));
  const shown = shownBy(tls);
  return (broker) => securedWith(broker, shown);
}

function shownBy({ ca, cert, key }: TlsOptions): Shown {
  if ((cert === undefined) !== (key === undefined)) throw invalid('tls', 'must have cert and key together');
  const own = cert === undefined || key === undefined ? {} : { cert: Buffer.from(cert), key: Buffer.from(key) };
  for (const [field, pem] of [
    ['tls.ca', ca],
    ['tls.cert', cert],
  ] as const)
    checkCertificate(field, pem);
  return { ca: ca === undefined ? [...rootCertificates] : Buffer.from(ca), ...own };
}

/** What is no certificate would be passed over. */
function checkCertificate(field: string, pem: string | Uint8Array | undefined): void {
  try {
    if (pem !== undefined) new X509Certificate(pem);
  } catch {
    throw invalid(field, 'must be a certificate, PEM');
  }
}

/** As the message has them. Throws invalid_argument that names the field. */
function checkedEvents(topic: string, events: readonly object[]): PublishedEvent[] {
  return publishBatchOf(plain({ events }), topic, 0).events.map(({ body = null, timeNs, ...attributes }, index) => {
    checkJsonValue(body, `events[${index}].body`);
    return { ...attributes, body: jsonToValue(body), ...(timeNs === undefined ? {} : { time: nsToTimestamp(timeNs) }) };
  });
}

/** As JSON has it: what is undefined is not given. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, withWideTexts));
}

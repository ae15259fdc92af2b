/**
 * `backplane/client/http`: a bus over HTTP, for browsers and for Node, without a dependency.
 *
 *   const bus = await connect({ brokers: ['http://broker:8485'], token });
 *   for await (const item of bus.subscribe({ topics: ['process'], follow: true })) …
 */
import { checkBrokers, isHttpBroker } from '../../text/broker-address.js';
import { type Bus, CarriedBus } from './bus.js';
import { CarriedClusters, type Clusters, checkedClusters } from './clusters.js';
import { HttpCarrier } from './http-carrier.js';

export * from './exports.js';

export interface ConnectOptions {
  /**
   * `http://broker:8485`, or host:port, of each, with its zone where `@zone` follows: those of this zone are asked first,
   * equal ones in any order. In a page '' is the page's own origin, and other origins serve it only where their
   * `http.origins` names it.
   */
  readonly brokers: readonly string[];
  /** Where this program runs. */
  readonly zone?: string | undefined;
  /** Sent with every request; a function is asked anew for each. */
  readonly token?: string | (() => string | undefined) | undefined;
  /** Of every request; they take precedence. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Of every request: `credentials`, in Node `dispatcher`. */
  readonly requestOptions?: Omit<RequestInit, 'method' | 'headers' | 'body' | 'signal'> | undefined;
  /** In place of the global one. */
  readonly fetch?: typeof fetch | undefined;
}

/**
 * Nothing is connected before the first request.
 * @throws BackplaneError invalid_argument
 */
export async function connect(options: ConnectOptions): Promise<Bus> {
  check(options);
  return new CarriedBus(new HttpCarrier(options));
}

/**
 * Several clusters, by name, to be read as one. Nothing is connected before the first request.
 * @throws BackplaneError invalid_argument
 */
export async function connectClusters(clusters: Readonly<Record<string, ConnectOptions>>): Promise<Clusters> {
  const carriers = checkedClusters(clusters, check).map(([name, options]) => [name, new HttpCarrier(options)] as const);
  return new CarriedClusters(new Map(carriers));
}

function check({ brokers, zone }: ConnectOptions, within = ''): void {
  checkBrokers(brokers, zone, isHttpBroker, 'http://host:port', within);
}

/**
 * `backplane/client/http`: a bus over HTTP, for browsers and for Node, without a dependency.
 *
 *   const bus = await connect({ brokers: ['http://broker:8485'], token });
 *   for await (const item of bus.subscribe({ topics: ['process'], follow: true })) …
 */
import { BackplaneError } from '../../errors.js';
import { BROKERS_MAX } from '../../limits/client.js';
import { type Bus, CarriedBus } from './bus.js';
import { HttpCarrier } from './http-carrier.js';

export * from './exports.js';

export interface ConnectOptions {
  /**
   * `http://broker:8485`, or host:port, of each; asked in turn. In a page '' is the page's own origin, and other
   * origins serve it only where their `http.origins` names it.
   */
  readonly brokers: readonly string[];
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
  const { brokers } = options;
  if (!Array.isArray(brokers) || brokers.length === 0 || brokers.length > BROKERS_MAX) {
    const message = `brokers must be a list of 1 to ${BROKERS_MAX} addresses (http://host:port)`;
    throw new BackplaneError('invalid_argument', message, { field: 'brokers' });
  }
  return new CarriedBus(new HttpCarrier(options));
}

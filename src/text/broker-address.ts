/**
 * A broker of a list, as people write it. Runs in browsers.
 *
 *   broker  := address ["@" zone]
 *   address := host ":" port, over HTTP also a URL
 *   zone    := (letter | digit) (letter | digit | "." | "_" | "-")*, at most 63 characters, as labels of Kubernetes are
 */
import { invalid } from '../errors.js';
import { BROKERS_MAX } from '../limits/client.js';

export interface BrokerAddress {
  readonly address: string;
  /** '' where the list does not say. */
  readonly zone: string;
}

const ZONE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const HOST_AND_PORT = /^(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):(\d{1,5})$/;

export const ZONE_FORM = 'must be at most 63 letters, digits, ".", "_" or "-", and begin with a letter or digit';

/** What follows the last "@" is the zone: no URL that can be asked has one. */
export function brokerAddress(text: string): BrokerAddress {
  const at = text.lastIndexOf('@');
  return at < 0 ? { address: text, zone: '' } : { address: text.slice(0, at), zone: text.slice(at + 1) };
}

export function isZone(text: string): boolean {
  return ZONE.test(text);
}

/** Port 0 is one: it is what a listener is given. */
export function isHostAndPort(text: string): boolean {
  return Number(HOST_AND_PORT.exec(text)?.[2] ?? 65_536) < 65_536;
}

/** Whether a client can be told to connect there. */
export function isBroker(text: string): boolean {
  const { address, zone } = brokerAddress(text);
  return isHostAndPort(address) && !address.endsWith(':0') && (!text.includes('@') || isZone(zone));
}

/** As isBroker, for HTTP: also a URL, and '' for the page's own origin. */
export function isHttpBroker(text: string): boolean {
  const { address, zone } = brokerAddress(text);
  if (text.includes('@') && !isZone(zone)) return false;
  return address === '' || (/^https?:\/\/./.test(address) && URL.canParse(address)) || isBroker(address);
}

/**
 * The list that a program gives, and its zone, as they are. `within`: the option that they are in, with a dot.
 * @throws BackplaneError invalid_argument, naming the option, the bound and the value
 */
export function checkBrokers(
  brokers: unknown,
  zone: unknown,
  isOne: (text: string) => boolean,
  form: string,
  within = '',
): void {
  const refuse = (problem: string) => invalid(`${within}brokers`, problem);
  if (!Array.isArray(brokers)) throw refuse(`must be a list of 1 to ${BROKERS_MAX} addresses (${form})`);
  if (brokers.length === 0 || brokers.length > BROKERS_MAX)
    throw refuse(`must be 1 to ${BROKERS_MAX} addresses (${form}), got ${brokers.length}`);
  for (const broker of brokers) {
    if (typeof broker !== 'string' || !isOne(broker)) throw refuse(`must hold ${form}, got ${JSON.stringify(broker)}`);
  }
  const twice = twiceIn(brokers);
  if (twice !== undefined) throw refuse(`must name each broker once, got ${JSON.stringify(twice)} twice`);
  if (zone !== undefined && zone !== '' && (typeof zone !== 'string' || !isZone(zone)))
    throw invalid(`${within}zone`, `${ZONE_FORM}, got ${JSON.stringify(zone)}`);
}

/** An address that the list has twice. */
export function twiceIn(brokers: readonly string[]): string | undefined {
  const addresses = brokers.map((text) => brokerAddress(text).address);
  return addresses.find((address, index) => addresses.indexOf(address) !== index);
}

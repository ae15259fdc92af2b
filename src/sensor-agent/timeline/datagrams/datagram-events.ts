/**
 * What UDP sockets do, from the entries that tell it: of the agent's own probes (source/datagrams/datagram-points.ts),
 * or, where the kernel has none, of the routes that it looks up.
 */
import type { DnsContext, NetworkContext } from '../../../wire/event/event.js';
import type { RecordedQuery } from '../../recorder/recording.js';
import type { FieldValues } from '../../source/pages/decoder.js';
import { ipv4Text, ipv6Text, isV4Mapped } from '../addresses.js';
import { DatagramRoutes, type DatagramThreadState, type Route } from './datagram-routes.js';
import { type DatagramPeerState, DatagramTable } from './datagram-table.js';

/** The trace events that have to do with datagrams, by name. All are followed wherever they are recorded. */
export const DATAGRAM_EVENTS = [
  ...['udp_connect', 'udp_connect6', 'udp_send', 'udp_send6', 'udp_end', 'udp_end6', 'udp_query', 'udp_query6'],
  ...['sys_enter_connect', 'sys_exit_connect', 'fib_table_lookup', 'fib6_table_lookup', 'sock_send_length'],
] as const;

/** Of those: a datagram to the port of DNS, whose question lies beside the pages. */
export const QUERY_EVENTS: ReadonlySet<string> = new Set(['udp_query', 'udp_query6']);

export interface DatagramEvent {
  readonly type: 'network.udp.connect' | 'network.udp.send' | 'network.dns.query';
  readonly network: NetworkContext;
  readonly dns?: DnsContext;
}

/** What stands with an entry. */
export interface DatagramEntry {
  readonly name: string;
  readonly values: FieldValues;
  /** The thread in whose context it was written; undefined in interrupts, which happen to any. */
  readonly threadId: number | undefined;
  /** Its process. */
  readonly pid: number | undefined;
  readonly timeNs: bigint;
  /** Of QUERY_EVENTS. */
  readonly query: RecordedQuery | undefined;
}

export interface DatagramState {
  readonly peers: readonly DatagramPeerState[];
  readonly threads: readonly DatagramThreadState[];
}

const IPPROTO_UDP = 17;
const AF_INET = 2;
const AF_INET6 = 10;
const DNS_PORT = 53;
/** Version 4 and a header of 20 bytes: behind it are the ports, but for options. */
const NO_OPTIONS = 0x45;

export class DatagramEvents {
  readonly #table = new DatagramTable();
  readonly #routes = new DatagramRoutes();
  /** Whether begin and end of connect() are recorded with the routes: otherwise none of them has a meaning. */
  tellsConnects = false;

  /** Follows one of DATAGRAM_EVENTS; returns what is told of it. */
  follow(entry: DatagramEntry): DatagramEvent | undefined {
    const { name, values, threadId } = entry;
    const isUdp = Number(values['protocol']) === IPPROTO_UDP;
    switch (name) {
      case 'udp_connect':
      case 'udp_connect6':
        return isUdp ? connectOf(values, name === 'udp_connect6') : undefined;
      case 'udp_send':
      case 'udp_send6':
        return isUdp
          ? this.#sent(entry, packetOf(values, name === 'udp_send6'), values['socket'] as bigint)
          : undefined;
      case 'udp_query':
      case 'udp_query6':
        return isUdp ? queryOf(entry) : undefined;
      case 'udp_end':
      case 'udp_end6':
        this.#table.ended(values['socket'] as bigint);
        return undefined;
      default:
        return threadId === undefined || !this.tellsConnects ? undefined : this.#route(entry, threadId);
    }
  }

  #route(entry: DatagramEntry, threadId: number): DatagramEvent | undefined {
    const { name, values, timeNs } = entry;
    switch (name) {
      case 'sys_enter_connect':
        this.#routes.connects(threadId);
        return undefined;
      case 'sys_exit_connect': {
        const route = this.#routes.connected(threadId);
        if (route === undefined) return undefined;
        const failed = Number(values['ret']) < 0;
        return { type: 'network.udp.connect', network: { ...networkOf(route), ...(failed ? { failed } : {}) } };
      }
      case 'sock_send_length': {
        const route = this.#routes.sent(threadId, timeNs);
        const isSent = Number(values['protocol']) === IPPROTO_UDP && Number(values['ret']) >= 0;
        return route && isSent ? this.#sent(entry, networkOf(route), values['sk'] as bigint) : undefined;
      }
      default: {
        const route = routeOf(values, name === 'fib6_table_lookup', timeNs);
        if (route) this.#routes.asked(threadId, route);
        return undefined;
      }
    }
  }

  #sent({ pid, timeNs }: DatagramEntry, network: NetworkContext, socket: bigint): DatagramEvent | undefined {
    const { local, peer } = network;
    const key = `${pid ?? ''} ${local.address} ${local.port} ${peer.address} ${peer.port}`;
    const datagrams = this.#table.sent(socket, key, timeNs);
    return datagrams === undefined ? undefined : { type: 'network.udp.send', network: { ...network, datagrams } };
  }

  /** The thread has ended, or runs another program. */
  forget(threadId: number): void {
    this.#routes.forget(threadId);
  }

  /** Events are missing from here on. */
  interrupt(): void {
    this.#routes.clear();
  }

  clear(): void {
    this.#routes.clear();
    this.#table.clear();
  }

  save(): DatagramState {
    return { peers: this.#table.save(), threads: this.#routes.save() };
  }

  load({ peers, threads }: DatagramState): void {
    this.#table.load(peers);
    this.#routes.load(threads);
  }
}

/** A connect() as the socket and the address that the program gave have it. */
function connectOf(values: FieldValues, ipv6: boolean): DatagramEvent | undefined {
  if (Number(values['family']) !== (ipv6 ? AF_INET6 : AF_INET)) return undefined;
  const peer = values['peer'] as readonly number[];
  // It goes on as one of the other family, which is told.
  if (ipv6 && isV4Mapped(peer)) return undefined;
  const route = {
    ipv6,
    localAddress: known(addressText(values['local'] as readonly number[], ipv6)),
    localPort: Number(values['local_port']),
    peerAddress: addressText(peer, ipv6),
    peerPort: fromNetworkOrder(values['peer_port']),
  };
  return { type: 'network.udp.connect', network: networkOf(route) };
}

/** A datagram as its own headers have it. */
function packetOf(values: FieldValues, ipv6: boolean): NetworkContext {
  const hasPorts = ipv6 || Number(values['header']) === NO_OPTIONS;
  return networkOf({
    ipv6,
    localAddress: addressText(values['local'] as readonly number[], ipv6),
    localPort: hasPorts ? fromNetworkOrder(values['local_port']) : 0,
    peerAddress: addressText(values['peer'] as readonly number[], ipv6),
    peerPort: hasPorts ? fromNetworkOrder(values['peer_port']) : 0,
  });
}

/** A datagram to the port of DNS, unless its copy says that it is none or no question. */
function queryOf({ name, values, query }: DatagramEntry): DatagramEvent | undefined {
  const network = packetOf(values, name === 'udp_query6');
  if (query === undefined && network.peer.port !== DNS_PORT) return undefined;
  if (query !== undefined && query.question === undefined) return undefined;
  const { local, peer } = network;
  const dns =
    query === undefined ? { questionMissed: true } : { question: query.question, redactions: query.redactions };
  // Behind options the ports were not found in the entry.
  const ports = query && peer.port === 0 ? { local: query.localPort, peer: DNS_PORT } : undefined;
  if (ports === undefined) return { type: 'network.dns.query', network, dns };
  const placed = { local: { ...local, port: ports.local }, peer: { ...peer, port: ports.peer } };
  return { type: 'network.dns.query', network: { ...network, ...placed }, dns };
}

function routeOf(values: FieldValues, ipv6: boolean, timeNs: bigint): Route | undefined {
  const [localPort, peerPort] = [Number(values['sport']), Number(values['dport'])];
  // Those of raw sockets have no ports.
  if (Number(values['proto']) !== IPPROTO_UDP || peerPort === 0) return undefined;
  const localAddress = known(addressText(values['src'] as readonly number[], ipv6));
  return {
    ipv6,
    localAddress,
    localPort,
    peerAddress: addressText(values['dst'] as readonly number[], ipv6),
    peerPort,
    timeNs,
  };
}

function networkOf(route: Omit<Route, 'timeNs'>): NetworkContext {
  return {
    type: route.ipv6 ? 'ipv6' : 'ipv4',
    transport: 'udp',
    local: { address: route.localAddress, port: route.localPort },
    peer: { address: route.peerAddress, port: route.peerPort },
  };
}

function addressText(bytes: readonly number[], ipv6: boolean): string {
  return ipv6 ? ipv6Text(bytes) : ipv4Text(bytes);
}

/** A socket that has no address yet has the unspecified one. */
function known(address: string): string {
  return address === '0.0.0.0' || address === '::' ? '' : address;
}

/** Ports stand in packets with the higher byte first. */
function fromNetworkOrder(value: FieldValues[string] | undefined): number {
  const port = Number(value);
  return ((port & 0xff) << 8) | (port >>> 8);
}

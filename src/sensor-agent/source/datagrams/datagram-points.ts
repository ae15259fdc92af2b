/**
 * Probes in the kernel that tell what UDP sockets do: where they are connected, where their packets leave with all
 * headers written, and where they end. Where the structures that they look into have their members, the kernel says
 * (probe/btf.ts); that they tell the truth, datagrams of our own over the loopback interface show.
 */
import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { OWN_ARCHITECTURE } from '../../../architecture/architecture.js';
import { kernelTypes } from '../probe/btf.js';
import {
  allDefinitions,
  type DefinedAs,
  define,
  queriesGroup,
  recordedGroup,
  trialGroup,
  undefineAll,
} from '../probe/definitions.js';
import { withProof } from '../probe/proof.js';
import { put } from '../tracefs/put.js';

/** A socket begins with its sock_common. */
const MEMBERS = [
  ...(['sk_buff.data', 'sk_buff.sk', 'sk_buff.len', 'sk_buff.data_len', 'sock.sk_protocol'] as const),
  ...(['sock_common.skc_num', 'sock_common.skc_rcv_saddr', 'sock_common.skc_v6_rcv_saddr'] as const),
];
/** Of a packet, from the header of IP: an array of 64-bit words. */
const COPY_WORDS = 64;
export const COPY_BYTES = COPY_WORDS * 8;

interface Point {
  readonly name: string;
  readonly place: string;
  readonly fetch: string;
  /** It copies what must not be recorded as it is. */
  readonly isSecret?: boolean;
}

export interface DatagramPoints {
  /** `group/event` of those that are recorded with all others. */
  readonly events: readonly string[];
  /** Of those that copy packets, which have an instance of their own. */
  readonly copies: readonly string[];
  /** Why there are none. */
  readonly problem?: string;
}

/**
 * Defines them, and keeps them if all told the truth. Those that an agent of this recorder left are believed, as it has
 * proved them.
 */
export async function defineDatagramPoints(tracefs: string, recorderId: string): Promise<DatagramPoints> {
  const registers = OWN_ARCHITECTURE?.registers;
  if (registers === undefined || !existsSync(join(tracefs, 'kprobe_events'))) return none('this kernel has no kprobes');
  const families = hasIpv6() ? [4, 6] : [4];
  const eventOf = (point: Point) => eventIn(recorderId, point);
  const offsets = kernelTypes()?.offsets(MEMBERS);
  if (offsets === undefined) return none('the kernel does not describe its structures (/sys/kernel/btf/vmlinux)');
  const points = families.flatMap((family) => pointsOf(family, registers, offsets));
  const found = {
    events: points.filter(({ isSecret }) => !isSecret).map(eventOf),
    copies: points.filter(({ isSecret }) => isSecret).map(eventOf),
  };
  // Where an agent was killed while it defined them, the last are not there: the order stays as it was proved.
  const wanted = points.filter((point) => !allDefinitions(tracefs)?.includes(eventOf(point)));
  if (wanted.length === 0) return found;
  const trialOf = ({ name }: Point) => `${trialGroup(recorderId)}/${name}`;
  try {
    await withProof(tracefs, recorderId, async (instance) => {
      for (const point of points) define(tracefs, trialOf(point), point.place, point.fetch);
      for (const family of families) await prove(instance, family, points.map(trialOf));
    });
    for (const point of wanted) define(tracefs, eventOf(point), point.place, point.fetch);
    return found;
  } catch (cause) {
    return none((cause as Error).message);
  }
}

/** As what they are defined, where they are. */
export function datagramsDefinedAs(recorderId: string): DefinedAs[] {
  const [registers, offsets] = [OWN_ARCHITECTURE?.registers, kernelTypes()?.offsets(MEMBERS)];
  if (registers === undefined || offsets === undefined) return [];
  const points = [4, 6].flatMap((family) => pointsOf(family, registers, offsets));
  return points.map((point) => [eventIn(recorderId, point), [`${point.place} ${point.fetch}`]]);
}

function eventIn(recorderId: string, { name, isSecret }: Point): string {
  return `${isSecret ? queriesGroup(recorderId) : recordedGroup(recorderId)}/${name}`;
}

/** Removes those that are not in use. */
export function undefineDatagramCopies(tracefs: string, recorderId: string): void {
  undefineAll(tracefs, queriesGroup(recorderId));
}

function none(problem: string): DatagramPoints {
  return { events: [], copies: [], problem };
}

/** Whether datagrams of version 6 can be sent here, also to prove probes. */
function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === '::1'));
}

/**
 * In the order in which they are to be defined: of two probes in one place the kernel runs the later first, and the copy
 * of a packet is to stand before its entry.
 */
function pointsOf(
  family: number,
  [first, second]: readonly [string, string, ...string[]],
  offsets: readonly number[],
): Point[] {
  const [data, owner, length, beyond, protocol, port, address4, address6] = offsets;
  const [suffix, bytes, address] = family === 4 ? ['', 4, address4] : ['6', 16, address6];
  // A packet's data begins with the header of IP, whose members stand there as RFC 791 and RFC 8200 have them.
  const packet = family === 4 ? second : first;
  const at = (offset: number) => `+${offset}(+${data}(${packet}))`;
  const headers =
    family === 4
      ? `header=${at(0)}:u8 protocol=${at(9)}:u8 local=${at(12)}:u8[4] peer=${at(16)}:u8[4] local_port=${at(20)}:u16 peer_port=${at(22)}:u16`
      : `protocol=${at(6)}:u8 local=${at(8)}:u8[16] peer=${at(24)}:u8[16] local_port=${at(40)}:u16 peer_port=${at(42)}:u16`;
  const identity = `packet=${packet}:x64 socket=+${owner}(${packet}):x64`;
  const send = family === 4 ? 'ip_send_skb' : 'ip6_send_skb';
  return [
    {
      name: `udp_connect${suffix}`,
      place: `__ip${family}_datagram_connect`,
      // The program's address of the peer, which the kernel has copied: struct sockaddr_in or sockaddr_in6.
      fetch:
        `socket=${first}:x64 protocol=+${protocol}(${first}):u16 local_port=+${port}(${first}):u16 ` +
        `local=+${address}(${first}):u8[${bytes}] family=+0(${second}):u16 peer_port=+2(${second}):u16 ` +
        `peer=+${family === 4 ? 4 : 8}(${second}):u8[${bytes}]`,
    },
    { name: `udp_send${suffix}`, place: send, fetch: `${identity} ${headers}` },
    { name: `udp_query${suffix}`, place: send, fetch: `${identity} ${headers}` },
    {
      name: `udp_end${suffix}`,
      place: family === 4 ? 'udp_destroy_sock' : 'udpv6_destroy_sock',
      fetch: `socket=${first}:x64`,
    },
    {
      name: `udp_copy${suffix}`,
      place: send,
      // Of the packet's length `beyond` is not in this piece of memory.
      fetch: `${identity} length=+${length}(${packet}):u32 beyond=+${beyond}(${packet}):u32 ${headers} bytes=${at(0)}:x64[${COPY_WORDS}]`,
      isSecret: true,
    },
  ];
}

/** What a probe said, by its fields. */
type Line = ReadonlyMap<string, string>;

/** Throws what a probe did not say of a datagram of our own, in an instance that sees this thread only. */
async function prove(instance: string, family: number, events: readonly string[]): Promise<void> {
  const at = (file: string) => join(instance, file);
  put(at('set_event_pid'), String(process.pid));
  for (const event of events) put(at(`events/${event}/enable`), '1');
  let used: Used;
  try {
    used = await useSockets(family);
  } finally {
    for (const event of events) put(at(`events/${event}/enable`), '0');
  }
  const lines = readFileSync(at('trace'), 'utf8').split('\n');
  const suffix = family === 4 ? '' : '6';
  const all = lines.flatMap((text) => {
    const [, name = '', fields = ''] = / (udp_\w+): \(\S+\) (.*)$/.exec(text) ?? [];
    return name === '' ? [] : [{ name, fields: fieldsOf(fields) }];
  });
  const find = (name: string, wanted: Readonly<Record<string, string>>) => {
    const found = all.findIndex(
      (line) =>
        line.name === `${name}${suffix}` && Object.entries(wanted).every(([key, is]) => line.fields.get(key) === is),
    );
    if (found < 0) throw new Error(`the probe ${name}${suffix} did not tell a datagram of our own`);
    return { index: found, fields: all[found]!.fields };
  };
  const address = family === 4 ? '{127,0,0,1}' : `{${'0,'.repeat(15)}1}`;
  const peer = { protocol: '17', peer: address, peer_port: networkOrder(used.peerPort) };
  const socket = find('udp_connect', { ...peer, family: family === 4 ? '2' : '10', local_port: `${used.localPort}` });
  const ofSocket = { socket: socket.fields.get('socket')! };
  const packet = { ...peer, ...ofSocket, local: address, local_port: networkOrder(used.localPort) };
  const header: Readonly<Record<string, string>> = family === 4 ? { header: '69' } : {};
  find('udp_send', { ...packet, ...header });
  const entry = find('udp_query', { ...packet, ...header });
  const copy = find('udp_copy', { ...packet, packet: entry.fields.get('packet')! });
  if (copy.index > entry.index) throw new Error('the copy of a packet stands behind its entry');
  if (!copiedBytes(copy.fields).includes(used.mark)) throw new Error('the copy of a packet is not of its bytes');
  find('udp_end', ofSocket);
}

interface Used {
  readonly localPort: number;
  readonly peerPort: number;
  readonly mark: string;
}

/** Connects a socket to one of our own, sends by it, and closes it, in this thread. */
async function useSockets(family: number): Promise<Used> {
  const [type, address] = family === 4 ? (['udp4', '127.0.0.1'] as const) : (['udp6', '::1'] as const);
  const peer = dgram.createSocket(type);
  const socket = dgram.createSocket(type);
  try {
    peer.bind(0, address);
    await once(peer, 'listening');
    const { port: peerPort } = peer.address() as AddressInfo;
    socket.connect(peerPort, address);
    await once(socket, 'connect');
    const { port: localPort } = socket.address() as AddressInfo;
    const mark = randomBytes(12).toString('hex');
    await new Promise<void>((done, failed) => socket.send(mark, (error) => (error ? failed(error) : done())));
    return { localPort, peerPort, mark };
  } finally {
    const closed = [peer, socket].map((each) => new Promise<void>((done) => each.close(() => done())));
    await Promise.all(closed);
  }
}

/** `name=value …`, where arrays are `{value,…}`. */
function fieldsOf(text: string): Line {
  return new Map([...text.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!]));
}

function copiedBytes(fields: Line): Buffer {
  const words = (fields.get('bytes') ?? '').replace(/[{}]/g, '').split(',');
  const bytes = Buffer.alloc(words.length * 8);
  for (const [index, word] of words.entries())
    if (/^0x[0-9a-f]+$/.test(word)) bytes.writeBigUInt64LE(BigInt(word), index * 8);
  return bytes;
}

/** A port as it is read from where it stands with the higher byte first. */
function networkOrder(port: number): string {
  return String(((port & 0xff) << 8) | (port >>> 8));
}

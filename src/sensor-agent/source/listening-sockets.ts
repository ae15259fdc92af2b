/**
 * Who listens for TCP connections, in every network namespace that a process is in: what /proc shows when an agent
 * starts, as the kernel tells later ones only.
 */
import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { SOCKETS_MAX } from '../../limits.js';
import { ipv4Text, ipv6Text } from '../timeline/addresses.js';
import { pids } from './process-reader.js';

/** include/net/tcp_states.h, as /proc/net/tcp writes it. */
const LISTEN = '0A';
/** As much of /proc/net/tcp as is read at once; the kernel may give less. */
const CHUNK_BYTES = 65_536;
/** Descriptors that are looked at: a host with more is not searched to its end. */
const DESCRIPTORS_MAX = 200_000;

/** `address:port` without brackets, and the process that has the socket: of several the one with the lowest pid. */
export function listeningSockets(): [string, number][] {
  const endpoints = new Map<string, string>();
  const namespaces = new Set<string>();
  const processes = pids('/proc').sort((a, b) => a - b);
  for (const pid of processes) {
    const namespace = attempt(() => readlinkSync(`/proc/${pid}/ns/net`));
    if (namespace === undefined || namespaces.has(namespace)) continue;
    namespaces.add(namespace);
    for (const file of ['tcp', 'tcp6']) {
      const text = attempt(() => beginningOf(`/proc/${pid}/net/${file}`)) ?? '';
      for (const [inode, endpoint] of listeningIn(text)) endpoints.set(inode, endpoint);
    }
  }
  return owners(endpoints, processes);
}

/** Up to the last line of one that listens: these come first; connections, of which there may be many thousands, follow. */
function beginningOf(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let text = '';
    for (;;) {
      const length = readSync(fd, chunk);
      text += chunk.toString('latin1', 0, length);
      const [last, ...before] = text.split('\n').slice(0, -1).reverse();
      const isHeading = before.length === 0;
      if (length === 0 || !(isHeading || columns(last!).state === LISTEN)) return text;
    }
  } finally {
    closeSync(fd);
  }
}

/** Lines: `sl: LOCAL:PORT REMOTE:PORT STATE queues timer retransmits uid timeout INODE …`, addresses in hex. */
export function listeningIn(text: string): [string, string][] {
  const found: [string, string][] = [];
  for (const line of text.split('\n').slice(1)) {
    const { local, state, inode } = columns(line);
    const [address = '', port = ''] = local.split(':');
    if (state === LISTEN && (address.length === 8 || address.length === 32))
      found.push([inode, `${addressText(address)}:${Number.parseInt(port, 16)}`]);
  }
  return found;
}

function columns(line: string): { local: string; state: string | undefined; inode: string } {
  const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
  return { local, state, inode };
}

/** Words of 32 bits, each in the machine's order, which is little-endian on all that are supported. */
function addressText(hex: string): string {
  const bytes = Buffer.from(hex, 'hex').swap32();
  return bytes.length === 4 ? ipv4Text([...bytes]) : ipv6Text([...bytes]);
}

function owners(endpoints: ReadonlyMap<string, string>, processes: readonly number[]): [string, number][] {
  const found: [string, number][] = [];
  const left = new Map(endpoints);
  let looked = 0;
  for (const pid of processes) {
    if (left.size === 0 || looked > DESCRIPTORS_MAX || found.length >= SOCKETS_MAX) break;
    for (const fd of attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
      looked += 1;
      const inode = /^socket:\[(\d+)\]$/.exec(attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? '')?.[1];
      const endpoint = inode === undefined ? undefined : left.get(inode);
      if (endpoint === undefined) continue;
      found.push([endpoint, pid]);
      left.delete(inode!);
    }
  }
  return found;
}

/** Processes end while they are looked at. */
function attempt<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

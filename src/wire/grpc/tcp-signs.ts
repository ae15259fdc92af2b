/**
 * Which TCP connections of this machine have a peer that acknowledges nothing: a machine that is gone says nothing, and
 * the kernel goes on sending to it for a quarter of an hour.
 *
 *   /proc/self/net/tcp, tcp6 (Documentation/networking/proc_net_tcp.rst), numbers in hexadecimal:
 *   SLOT: LOCAL:PORT REMOTE:PORT STATE SENT:READ TIMER:WHEN RETRANSMITS USER PROBES ...
 *   RETRANSMITS: how often the same was sent again. PROBES: how often the peer was asked whether it takes more, as it is
 *   where nothing can be sent. Both begin at 0 with whatever the peer acknowledges, also where it is full.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { endianness } from 'node:os';

const TABLES = ['/proc/self/net/tcp', '/proc/self/net/tcp6'];
const ESTABLISHED = '01';
const LINE =
  /^ *\d+: [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) ([0-9A-F]{2}) \S+ \S+ ([0-9A-F]{8}) +\d+ +(\d+) /;
const IS_LITTLE = endianness() === 'LE';
/** Those who ask within it share an answer: the tables have all connections of the machine. */
const READ_MS = 250;

let readMs = Number.NEGATIVE_INFINITY;
let silent: ReadonlySet<string> = new Set();

/** Whether the peer acknowledges nothing of what was sent to it; false where that is not known. */
export function acknowledgesNothing({ localPort, remoteAddress = '', remotePort }: Socket): boolean {
  const nowMs = performance.now();
  if (nowMs - readMs >= READ_MS) {
    silent = silentConnections();
    readMs = nowMs;
  }
  return silent.has(keyOf(localPort ?? 0, remoteAddress.replace(/%.*$/, ''), remotePort ?? 0));
}

function silentConnections(): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const table of TABLES) {
    let text: string;
    try {
      text = readFileSync(table, 'latin1');
    } catch {
      // No Linux, or a kernel without IPv6.
      continue;
    }
    for (const line of text.split('\n')) {
      const [, local = '', remote = '', port = '', state, retransmits = '', probes = ''] = LINE.exec(line) ?? [];
      if (state !== ESTABLISHED || (Number.parseInt(retransmits, 16) === 0 && Number(probes) === 0)) continue;
      keys.add(keyOf(Number.parseInt(local, 16), addressText(remote), Number.parseInt(port, 16)));
    }
  }
  return keys;
}

function keyOf(localPort: number, remoteAddress: string, remotePort: number): string {
  return `${localPort} ${remoteAddress} ${remotePort}`;
}

/** As Node has it. The kernel prints words of 32 bits as this machine has them in memory. */
function addressText(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  if (IS_LITTLE) bytes.swap32();
  const ipv4 = bytes.subarray(-4).join('.');
  if (bytes.length === 4) return ipv4;
  if (bytes.readBigUInt64BE(0) === 0n && bytes.readUInt32BE(8) === 0xffff) return `::ffff:${ipv4}`;
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

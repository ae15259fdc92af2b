/** Text forms of addresses as trace events carry them: bytes in network order. */
import { isIPv4, isIPv6, SocketAddress } from 'node:net';

const V4_MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

export function ipv4Text(bytes: ArrayLike<number>, from = 0): string {
  return `${bytes[from]}.${bytes[from + 1]}.${bytes[from + 2]}.${bytes[from + 3]}`;
}

/** True for ::ffff:a.b.c.d: IPv4 over a socket of the other family. */
export function isV4Mapped(bytes: ArrayLike<number>): boolean {
  return V4_MAPPED.every((byte, at) => bytes[at] === byte);
}

/** RFC 5952: lower case, no leading zeros, the longest run of zero groups (two or more) as `::`. */
export function ipv6Text(bytes: ArrayLike<number>): string {
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[at * 2] ?? 0) << 8) | (bytes[at * 2 + 1] ?? 0));
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at += 1) {
    let length = 0;
    while (groups[at + length] === 0) length += 1;
    if (length > best.length) best = { at, length };
    at += length;
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.at < 0) return hex.join(':');
  return `${hex.slice(0, best.at).join(':')}::${hex.slice(best.at + best.length).join(':')}`;
}

/**
 * Converts a setting's `host:port` to the `address:port` of trace events; empty for a name that would have to be
 * resolved.
 */
export function tcpEndpoints(text: string): string[] {
  const [, bracketed, plain = '', port] = /^(?:\[(.*)\]|([^:]*)):(\d+)$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === 'localhost') return [`127.0.0.1:${port}`, `::1:${port}`];
  if (isIPv4(host)) return [`${host}:${port}`];
  return isIPv6(host) ? [`${new SocketAddress({ address: host, family: 'ipv6' }).address}:${port}`] : [];
}

/**
 * Address blocks. An IPv4 address within IPv6 (`::ffff:10.0.0.1`, as sockets
 * of both families show it) counts as the IPv4 address that it is.
 *
 *   block := address '/' prefix length
 */
import { isIPv4, isIPv6 } from 'node:net';

/** 32-bit words, most significant first: one for IPv4, four for IPv6. */
type Words = readonly number[];

export interface AddressBlock {
  /** Normal form: no bits beyond the prefix, IPv6 in eight groups. */
  readonly text: string;
  readonly words: Words;
  readonly masks: Words;
}

/** Longer text is no address. */
const ADDRESS_CHARACTERS_MAX = 45;

/** undefined for what is not an address block. */
export function parseBlock(text: string): AddressBlock | undefined {
  const parts = /^([0-9A-Fa-f:.]{2,45})\/([0-9]{1,3})$/.exec(text);
  if (!parts) return undefined;
  const address = parseAddress(parts[1]!);
  if (!address) return undefined;
  const bits = isIPv4(parts[1]!) || address.length === 4 ? Number(parts[2]) : Number(parts[2]) - 96;
  if (bits < 0 || bits > address.length * 32) return undefined;
  const masks = address.map((_, i) => maskOf(bits - i * 32));
  const words = address.map((word, i) => (word & masks[i]!) >>> 0);
  return { text: `${addressText(words)}/${bits}`, words, masks };
}

/** Whether the address lies in the block; undefined for what is not an address. */
export function blockContains(block: AddressBlock, address: string): boolean | undefined {
  const words = parseAddress(address);
  if (!words) return undefined;
  if (words.length !== block.words.length) return false;
  return words.every((word, i) => (word & block.masks[i]!) >>> 0 === block.words[i]);
}

function maskOf(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? 0xffff_ffff : (0xffff_ffff << (32 - bits)) >>> 0;
}

function parseAddress(text: string): Words | undefined {
  if (text.length > ADDRESS_CHARACTERS_MAX) return undefined;
  if (isIPv4(text)) return [ipv4Word(text)];
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const words = ipv6Words(text);
  return words[0] === 0 && words[1] === 0 && words[2] === 0xffff ? [words[3]!] : words;
}

function ipv4Word(text: string): number {
  let word = 0;
  for (const part of text.split('.')) word = word * 256 + Number(part);
  return word;
}

function ipv6Words(text: string): Words {
  let plain = text;
  const dotted = plain.lastIndexOf(':') + 1;
  if (plain.includes('.')) {
    const word = ipv4Word(plain.slice(dotted));
    plain = `${plain.slice(0, dotted)}${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`;
  }
  const [head = '', tail] = plain.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = [...front, ...Array<string>(8 - front.length - back.length).fill('0'), ...back];
  const numbers = groups.map((group) => Number.parseInt(group, 16));
  return [0, 2, 4, 6].map((i) => ((numbers[i]! << 16) | numbers[i + 1]!) >>> 0);
}

function addressText(words: Words): string {
  if (words.length === 1) return [24, 16, 8, 0].map((shift) => (words[0]! >>> shift) & 0xff).join('.');
  return words.flatMap((word) => [(word >>> 16).toString(16), (word & 0xffff).toString(16)]).join(':');
}

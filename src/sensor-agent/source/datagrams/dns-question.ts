/**
 * What an outgoing datagram asks of the domain name system (RFC 1035, section 4):
 *
 *   Packet   := IPv4 or IPv6 header | source port u16 | destination port u16 | length u16 | checksum u16 | Message
 *   Message  := id u16 | flags u16 (bit 15: response, 11–14: opcode) | questions u16 | 6 bytes | Question …
 *   Question := (length u8, at most 63 | label)* | 0 u8 | type u16 | class u16
 */

/** Anybody may have sent it: nothing outside of what it says it has is looked at. */
export interface OutgoingDatagram {
  readonly localPort: number;
  /** Absent: it is no question, or not to the port of DNS. */
  readonly question?: { readonly name: string; readonly type: string };
  /** It is to the port of DNS, and what there is of it ends before what it would ask. */
  readonly isCut?: boolean;
}

const PORT = 53;
const UDP = 17;
const IPV6_HEADER_BYTES = 40;
const UDP_HEADER_BYTES = 8;
const MESSAGE_HEADER_BYTES = 12;
const RESPONSE = 0x8000;
const OPCODE = 0x7800;
const LABEL_BYTES_MAX = 63;
const NAME_BYTES_MAX = 255;

/** By IANA's numbers (DNS parameters): those that are seen; others are written as RFC 3597 has it. */
const TYPES: Readonly<Record<number, string>> = {
  ...{ 1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 10: 'NULL', 12: 'PTR', 13: 'HINFO', 15: 'MX', 16: 'TXT', 28: 'AAAA' },
  ...{ 29: 'LOC', 33: 'SRV', 35: 'NAPTR', 39: 'DNAME', 41: 'OPT', 43: 'DS', 44: 'SSHFP', 46: 'RRSIG', 47: 'NSEC' },
  ...{ 48: 'DNSKEY', 50: 'NSEC3', 51: 'NSEC3PARAM', 52: 'TLSA', 53: 'SMIMEA', 59: 'CDS', 60: 'CDNSKEY' },
  ...{ 61: 'OPENPGPKEY', 62: 'CSYNC', 63: 'ZONEMD', 64: 'SVCB', 65: 'HTTPS', 99: 'SPF', 108: 'EUI48', 109: 'EUI64' },
  ...{ 249: 'TKEY', 250: 'TSIG', 251: 'IXFR', 252: 'AXFR', 255: 'ANY', 256: 'URI', 257: 'CAA' },
};

/**
 * `packet` begins with the header of IP; of its `packetBytes` it may lack the end. Undefined where it is no UDP over IP.
 */
export function readDatagram(packet: Buffer, packetBytes = packet.length): OutgoingDatagram | undefined {
  const at = udpAt(packet);
  if (at === undefined || at + UDP_HEADER_BYTES > packet.length) return undefined;
  const localPort = packet.readUInt16BE(at);
  if (packet.readUInt16BE(at + 2) !== PORT) return { localPort };
  // The length in the header of UDP may be that of somebody who writes his own.
  const end = Math.min(at + packet.readUInt16BE(at + 4), packetBytes);
  const message = packet.subarray(at + UDP_HEADER_BYTES, end);
  if (message.length >= MESSAGE_HEADER_BYTES && !asks(message)) return { localPort };
  const question = readQuestion(message);
  if (question !== undefined) return { localPort, question };
  return end > packet.length ? { localPort, isCut: true } : { localPort };
}

function udpAt(packet: Buffer): number | undefined {
  const version = packet.length < IPV6_HEADER_BYTES ? 0 : packet[0]! >>> 4;
  if (version === 4 && packet[9] === UDP) return (packet[0]! & 0xf) * 4;
  return version === 6 && packet[6] === UDP ? IPV6_HEADER_BYTES : undefined;
}

function asks(message: Buffer): boolean {
  return message.readUInt16BE(4) > 0 && (message.readUInt16BE(2) & (RESPONSE | OPCODE)) === 0;
}

function readQuestion(message: Buffer): OutgoingDatagram['question'] {
  if (message.length < MESSAGE_HEADER_BYTES) return undefined;
  const labels: string[] = [];
  let at = MESSAGE_HEADER_BYTES;
  for (;;) {
    const length = message[at];
    // Longer ones are references to names before it, which a question has none of.
    if (length === undefined || length > LABEL_BYTES_MAX) return undefined;
    at += 1;
    if (length === 0) break;
    if (at + length > message.length || at + length - MESSAGE_HEADER_BYTES > NAME_BYTES_MAX) return undefined;
    labels.push(labelText(message.subarray(at, at + length)));
    at += length;
  }
  if (at + 4 > message.length) return undefined;
  const number = message.readUInt16BE(at);
  return { name: labels.length === 0 ? '.' : labels.join('.'), type: TYPES[number] ?? `TYPE${number}` };
}

/** As RFC 4343, section 2.1 has it: letters keep their case. */
function labelText(label: Buffer): string {
  let text = '';
  for (const byte of label) {
    const character = String.fromCharCode(byte);
    if (byte < 0x21 || byte > 0x7e) text += `\\${String(byte).padStart(3, '0')}`;
    else text += character === '.' || character === '\\' ? `\\${character}` : character;
  }
  return text;
}

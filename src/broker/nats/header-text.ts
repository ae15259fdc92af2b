/**
 * Headers of messages as the text that they are on the connection. The client's own are a map of lists, for which each name
 * is checked, copied and sought several times: of what a small frame took that was a tenth, each way.
 *
 *   NATS/1.0 CR LF (NAME ":" VALUE CR LF)* CR LF
 */
import type { Msg, MsgHdrs } from 'nats';
import { headers } from './nats-library.js';

/** Of a message that came; the client's own are some, too. */
export type ReceivedHeaders = Pick<MsgHdrs, 'get' | 'has'>;

const [FIRST, END] = ['NATS/1.0\r\n', '\r\n'];

export class HeaderText implements ReceivedHeaders {
  readonly #text: string;

  /** @param bytes are not kept: they belong to many messages */
  constructor(bytes: Uint8Array) {
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  }

  /** The first value; empty where there is none. */
  get(name: string): string {
    const line = `${END}${name}:`;
    const at = this.#text.indexOf(line);
    if (at < 0) return '';
    const from = at + line.length;
    return this.#text.slice(from, this.#text.indexOf(END, from)).trim();
  }

  has(name: string): boolean {
    return this.get(name) !== '';
  }
}

/** How the client keeps what it has received: the headers come first. */
interface Received {
  readonly _msg?: { readonly hdr?: number };
  readonly _rdata?: Uint8Array;
}

/** Undefined where the message has none. */
export function receivedHeaders(message: Msg): ReceivedHeaders | undefined {
  const { _msg: head, _rdata: bytes } = message as Msg & Received;
  if (head?.hdr === undefined || bytes === undefined) return message.headers;
  return head.hdr > 0 ? new HeaderText(bytes.subarray(0, head.hdr)) : undefined;
}

/** @param fields names and values, which must have neither CR nor LF */
export function headerText(fields: readonly (readonly [name: string, value: string | number])[]): string {
  let text = FIRST;
  for (const [name, value] of fields) text += `${name}: ${value}${END}`;
  return text + END;
}

/** To be sent with a message: nothing but their bytes is asked of them then. */
export function sentHeaders(text: string): MsgHdrs {
  return Object.assign(headers(), { encode: () => Buffer.from(text) });
}

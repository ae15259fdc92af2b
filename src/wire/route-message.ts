/**
 * What brokers say to each other of nodes. What asks goes to the subject of a node's session, with the subject at which
 * an answer is read; answers come in numbered parts, so that a part that was lost on the way is noticed.
 *
 *   Request := version u8 | kind u8 | body
 *     1 query     client length u16 | client | ControlResponse with history_query
 *     2 credit    bytes u64: so many may be sent beyond the first window, in all. Said again it says that the asker is still
 *                 there, and what an earlier one said that was lost
 *     3 cancel
 *     4 tell      ControlResponse with lease or linger
 *     5 takeover  the session is to end, as the node connects to the asker
 *   Part    := version u8 | number u32, from 0 | more u8 | bytes
 *
 * The bytes of parts up to one without `more` are a HistoryRequest of uplink.proto. None: the query was sent to the node.
 * Credit that says nothing new is answered by a part with `more` and without bytes: by its number the asker sees whether the
 * parts before it were lost. Where there is no such answer (any more) the number is NO_ANSWER.
 */
import { BackplaneError } from '../errors.js';
import { MESSAGE_BYTES_MAX, NAME_BYTES_MAX, ROUTE_CHUNK_BYTES } from '../limits.js';
import { type ControlResponse, type ControlResponse__Output, controlResponseCodec } from './messages.js';

export type RouteRequest =
  | { readonly kind: 'query'; readonly client: string; readonly message: ControlResponse }
  | { readonly kind: 'credit'; readonly bytes: number }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'tell'; readonly message: ControlResponse }
  | { readonly kind: 'takeover' };

export type ReceivedRouteRequest =
  | Exclude<RouteRequest, { readonly message: ControlResponse }>
  | { readonly kind: 'query'; readonly client: string; readonly message: ControlResponse__Output }
  | { readonly kind: 'tell'; readonly message: ControlResponse__Output };

export interface RoutePart {
  readonly number: number;
  readonly more: boolean;
  readonly bytes: Buffer;
}

/** Number of the part that says that its sender gives no such answer: the query or the end was lost. */
export const NO_ANSWER = 0xffff_ffff;

const VERSION = 2;
const KINDS = ['query', 'credit', 'cancel', 'tell', 'takeover'] as const;
const REQUEST_HEAD_BYTES = 2;
const CREDIT_BYTES = 8;
const PART_HEAD_BYTES = 6;

export function encodeRouteRequest(request: RouteRequest): Buffer {
  const head = Buffer.of(VERSION, KINDS.indexOf(request.kind) + 1);
  if (request.kind === 'query') {
    const client = Buffer.from(request.client).subarray(0, NAME_BYTES_MAX);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(client.length);
    return Buffer.concat([head, length, client, controlResponseCodec.encode(request.message)]);
  }
  if (request.kind === 'tell') return Buffer.concat([head, controlResponseCodec.encode(request.message)]);
  if (request.kind !== 'credit') return head;
  const bytes = Buffer.alloc(CREDIT_BYTES);
  bytes.writeBigUInt64BE(BigInt(request.bytes));
  return Buffer.concat([head, bytes]);
}

/** Throws invalid_argument for what no broker sends, and for another version. */
export function decodeRouteRequest(message: Buffer): ReceivedRouteRequest {
  checkVersion(message, REQUEST_HEAD_BYTES);
  const kind = KINDS[message[1]! - 1];
  const body = message.subarray(REQUEST_HEAD_BYTES);
  switch (kind) {
    case 'query': {
      const length = body.length < 2 ? 0 : body.readUInt16BE();
      if (body.length < 2 + length || length > NAME_BYTES_MAX) throw broken('a query is cut short');
      const client = body.subarray(2, 2 + length).toString('utf8');
      return { kind, client, message: controlResponseCodec.decode(body.subarray(2 + length), MESSAGE_BYTES_MAX) };
    }
    case 'tell':
      return { kind, message: controlResponseCodec.decode(body, MESSAGE_BYTES_MAX) };
    case 'credit':
      if (body.length !== CREDIT_BYTES) throw broken(`credit has ${CREDIT_BYTES} bytes, got ${body.length}`);
      return { kind, bytes: Number(body.readBigUInt64BE()) };
    case 'cancel':
    case 'takeover':
      return { kind };
    default:
      throw broken(`it has the unknown kind ${message[1]}`);
  }
}

/** The parts of one message, of which the first has this number. */
export function* encodeRouteParts(bytes: Buffer, first: number): Generator<Buffer> {
  for (let at = 0, number = first; at === 0 || at < bytes.length; at += ROUTE_CHUNK_BYTES, number++) {
    const more = at + ROUTE_CHUNK_BYTES < bytes.length;
    yield encodePart(number, more, bytes.subarray(at, at + ROUTE_CHUNK_BYTES));
  }
}

/** A part that has nothing but its number. */
export function encodeRouteSign(number: number): Buffer {
  return encodePart(number, true, Buffer.alloc(0));
}

function encodePart(number: number, more: boolean, bytes: Buffer): Buffer {
  const part = Buffer.allocUnsafe(PART_HEAD_BYTES + bytes.length);
  part[0] = VERSION;
  part.writeUInt32BE(number, 1);
  part[5] = more ? 1 : 0;
  part.set(bytes, PART_HEAD_BYTES);
  return part;
}

/** `bytes` of the result is a view. Throws invalid_argument for what no broker sends, and for another version. */
export function decodeRoutePart(message: Buffer): RoutePart {
  checkVersion(message, PART_HEAD_BYTES);
  const bytes = message.subarray(PART_HEAD_BYTES);
  if (bytes.length > ROUTE_CHUNK_BYTES)
    throw broken(`a part has at most ${ROUTE_CHUNK_BYTES} bytes, got ${bytes.length}`);
  return { number: message.readUInt32BE(1), more: message[5] !== 0, bytes };
}

function checkVersion(message: Buffer, headBytes: number): void {
  if (message.length < headBytes) throw broken(`it has at least ${headBytes} bytes, got ${message.length}`);
  if (message[0] !== VERSION) throw broken(`it is of version ${message[0]}, this broker knows ${VERSION}`);
}

function broken(problem: string): BackplaneError {
  return new BackplaneError('invalid_argument', `a message between brokers: ${problem}`);
}

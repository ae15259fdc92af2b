/**
 * What programs can use of an error over gRPC: google.rpc.Status in the trailer `grpc-status-details-bin`.
 *
 *   Status       := code 1 varint | message 2 | details 3 Any*
 *   Any          := type_url 1 | value 2
 *   ErrorInfo    := reason 1 | domain 2 | metadata 3 (key 1 | value 2)*
 *   BadRequest   := field_violations 1 (field 1 | description 2)*
 *   RetryInfo    := retry_delay 1 (seconds 1 varint | nanos 2 varint)
 */
import { Metadata } from '@grpc/grpc-js';
import { BackplaneError, type ErrorCode, type ErrorDetails, isErrorCode } from '../../errors.js';
import { publicMessage } from '../../text/public-text.js';
import { ProtoReader, ProtoWriter } from '../protobuf.js';

export const DETAILS_KEY = 'grpc-status-details-bin';
const DOMAIN = 'backplane';
const TYPE_PREFIX = 'type.googleapis.com/google.rpc.';
/** A tag and a length or number. */
const FIELD_HEAD_BYTES_MAX = 16;

/** As handlers of gRPC calls answer with it. */
export interface CallFailure {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

export function callFailure(error: BackplaneError): CallFailure {
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, statusDetails(error));
  return { code: error.grpcStatus, details: publicMessage(error), metadata };
}

/** An encoded google.rpc.Status. */
export function statusDetails(error: BackplaneError): Buffer {
  const { code, grpcStatus, details } = error;
  const message = publicMessage(error);
  const { field, retryAfterMs } = details;
  const parts = [packed('ErrorInfo', errorInfo(code, details))];
  if (field !== undefined)
    parts.push(packed('BadRequest', chunk(1, Buffer.concat([text(1, field), text(2, message)]))));
  if (retryAfterMs !== undefined) parts.push(packed('RetryInfo', chunk(1, duration(retryAfterMs))));
  return Buffer.concat([number(1, grpcStatus), text(2, message), ...parts]);
}

/** The broker's own code of an encoded google.rpc.Status; undefined where it has none. */
export function codeOfStatus(bytes: Buffer): ErrorCode | undefined {
  try {
    for (const value of chunksOf(bytes, 3)) {
      if (textOf(value, 1) !== `${TYPE_PREFIX}ErrorInfo`) continue;
      const [info = Buffer.alloc(0)] = chunksOf(value, 2);
      const reason = textOf(info, 1);
      if (textOf(info, 2) === DOMAIN && isErrorCode(reason)) return reason;
    }
  } catch (cause) {
    // What a proxy on the way made of it.
    if (!(cause instanceof BackplaneError)) throw cause;
  }
  return undefined;
}

/** What else an encoded google.rpc.Status says for programs. */
export function detailsOfStatus(bytes: Buffer): ErrorDetails {
  const said = new Map<string, string>();
  try {
    for (const value of chunksOf(bytes, 3)) {
      const [content = Buffer.alloc(0)] = chunksOf(value, 2);
      const type = textOf(value, 1);
      if (type === `${TYPE_PREFIX}ErrorInfo`)
        for (const entry of chunksOf(content, 3)) said.set(textOf(entry, 1), textOf(entry, 2));
      if (type !== `${TYPE_PREFIX}BadRequest`) continue;
      for (const violation of chunksOf(content, 1)) said.set('field', textOf(violation, 1));
    }
  } catch (cause) {
    if (!(cause instanceof BackplaneError)) throw cause;
  }
  const numberOf = (name: string) => (said.has(name) ? Number(said.get(name)) : undefined);
  return {
    field: said.get('field'),
    line: numberOf('line'),
    column: numberOf('column'),
    length: numberOf('length'),
    suggestion: said.get('suggestion'),
    oldest: said.get('oldest'),
    retryAfterMs: retryOfStatus(bytes),
  };
}

/** The time of an encoded google.rpc.Status after which to come again, in milliseconds; undefined where it has none. */
export function retryOfStatus(bytes: Buffer): number | undefined {
  try {
    for (const value of chunksOf(bytes, 3)) {
      if (textOf(value, 1) !== `${TYPE_PREFIX}RetryInfo`) continue;
      const [delay = Buffer.alloc(0)] = chunksOf(chunksOf(value, 2)[0] ?? Buffer.alloc(0), 1);
      return numberOf(delay, 1) * 1000 + numberOf(delay, 2) / 1_000_000;
    }
  } catch (cause) {
    if (!(cause instanceof BackplaneError)) throw cause;
  }
  return undefined;
}

function numberOf(bytes: Buffer, field: number): number {
  const reader = new ProtoReader(bytes, 'duration');
  while (reader.nextTag()) {
    if (reader.field === field) return reader.uint();
    reader.skip();
  }
  return 0;
}

/** Known details as text, beside the code. */
function errorInfo(code: ErrorCode, details: BackplaneError['details']): Buffer {
  const { line, column, length, suggestion, oldest } = details;
  const entries = Object.entries({ line, column, length, suggestion, oldest }).flatMap(([name, value]) =>
    value === undefined ? [] : [chunk(3, Buffer.concat([text(1, name), text(2, String(value))]))],
  );
  return Buffer.concat([text(1, code), text(2, DOMAIN), ...entries]);
}

function packed(type: string, value: Buffer): Buffer {
  return chunk(3, Buffer.concat([text(1, `${TYPE_PREFIX}${type}`), chunk(2, value)]));
}

function duration(ms: number): Buffer {
  return Buffer.concat([number(1, Math.floor(ms / 1000)), number(2, (ms % 1000) * 1_000_000)]);
}

function text(field: number, value: string): Buffer {
  return chunk(field, Buffer.from(value));
}

function chunk(field: number, value: Buffer): Buffer {
  const writer = new ProtoWriter(value.length + FIELD_HEAD_BYTES_MAX);
  writer.bytesField(field, value);
  return writer.finish();
}

function number(field: number, value: number): Buffer {
  const writer = new ProtoWriter(FIELD_HEAD_BYTES_MAX);
  writer.uintField(field, value);
  return writer.finish();
}

function chunksOf(bytes: Buffer, field: number): Buffer[] {
  const reader = new ProtoReader(bytes, 'status');
  const found: Buffer[] = [];
  while (reader.nextTag()) {
    if (reader.field === field) found.push(reader.chunk());
    else reader.skip();
  }
  return found;
}

function textOf(bytes: Buffer, field: number): string {
  return chunksOf(bytes, field)[0]?.toString() ?? '';
}

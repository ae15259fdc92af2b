/** A subscriber over HTTP as a sink: one JSON object per line, {"result": ...} or, at the end, {"error": ...}. */
import type { ServerResponse } from 'node:http';
import type { BackplaneError } from '../../errors.js';
import { StreamWriter } from '../../flow/stream-writer.js';
import { MESSAGE_BYTES_MAX, SUBSCRIBER_QUEUE_BYTES_MAX } from '../../limits.js';
import { soundParts } from '../../wire/event/sound-parts.js';
import { encodeEventBatch } from '../../wire/frame/splice.js';
import { responseToJson } from '../../wire/message-json.js';
import { subscribeResponseCodec } from '../../wire/messages.js';
import { clientOf } from '../access/peer-address.js';
import type { Delivery, Sink } from '../delivery/outlet.js';

export class NdjsonSink implements Sink {
  readonly closed: AbortSignal;
  readonly client: string;
  readonly #writer: StreamWriter<string>;

  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
    this.#writer = new StreamWriter(response, {
      bytesMax: SUBSCRIBER_QUEUE_BYTES_MAX,
      sizeOf: (text) => Buffer.byteLength(text),
    });
    this.closed = this.#writer.closed;
    const { remoteAddress = '', remotePort } = response.socket ?? {};
    this.client = clientOf(`${remoteAddress}:${remotePort}`);
  }

  /** Whether the headers were sent, which happens with the first line. Until then an error can still set the status. */
  get started(): boolean {
    return this.#response.headersSent;
  }

  write(delivery: Delivery): Promise<void> {
    const lines = linesOf(delivery);
    if (!this.started) this.#response.writeHead(200, { 'content-type': 'application/x-ndjson; charset=utf-8' });
    return this.#writer.write(lines);
  }

  fail(error: BackplaneError): void {
    if (this.closed.aborted) return;
    void this.#writer.write(`${JSON.stringify({ error: errorToJson(error) })}\n`).catch(() => undefined);
    this.#writer.end();
  }

  end(): void {
    if (!this.started) this.#response.writeHead(200, { 'content-type': 'application/x-ndjson; charset=utf-8' });
    this.#writer.end();
  }
}

/** Events that cannot be decoded are told as a gap, so that the rest of the batch and the stream continue. */
function linesOf(delivery: Delivery): string {
  if (delivery.kind === 'message') return jsonLines(subscribeResponseCodec.encode(delivery.message));
  const { header, parts } = delivery;
  try {
    return jsonLines(encodeEventBatch(header, parts));
  } catch {
    const { sound, unsoundEvents } = soundParts(parts);
    const gap = { node: header.node, topic: header.topic, events: unsoundEvents, reason: 'refused' };
    const told = { gap: { ...gap, message: 'these are no events: nobody can decode them' } };
    // The batch comes last, because its cursor must follow the gap.
    return jsonLines(subscribeResponseCodec.encode(told)) + jsonLines(encodeEventBatch(header, sound));
  }
}

/** Decodes the gRPC message as a client would, so that JSON and gRPC have the same content. */
function jsonLines(bytes: Buffer): string {
  const response = subscribeResponseCodec.decode(bytes, 2 * MESSAGE_BYTES_MAX);
  return responseToJson(response)
    .map((result) => `${JSON.stringify({ result })}\n`)
    .join('');
}

export function errorToJson(error: BackplaneError): { code: string; message: string } {
  return { code: error.code, message: error.message };
}

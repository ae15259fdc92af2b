/** A subscriber over HTTP as a sink: items become text, which waits in memory only as far as the writer allows. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { BackplaneError } from '../../../errors.js';
import { StreamWriter } from '../../../flow/stream-writer.js';
import { MESSAGE_BYTES_MAX, SUBSCRIBER_QUEUE_BYTES_MAX } from '../../../limits.js';
import { eachEvent } from '../../../wire/event/elements.js';
import { eventToJson, type Json } from '../../../wire/event/event-json.js';
import { JsonBytes } from '../../../wire/event/event-json-bytes.js';
import { soundParts } from '../../../wire/event/sound-parts.js';
import { selectorsOf } from '../../../wire/frame/batch-matches.js';
import type { BatchHeader } from '../../../wire/frame/splice.js';
import { connectionOfSession } from '../../../wire/grpc/session-pings.js';
import { acknowledgesNothing } from '../../../wire/grpc/tcp-signs.js';
import { responseToJson } from '../../../wire/message-json.js';
import { eventCodec, subscribeResponseCodec } from '../../../wire/messages.js';
import { clientOf } from '../../access/peer-address.js';
import type { Delivery, Sink, WatchedConnection } from '../../delivery/outlet.js';
import type { Ending } from '../../delivery/subscriptions.js';

/** The message StreamResult of the protos. */
export type StreamItem = { readonly [name: string]: Json };

/** The text of a stream, without what it is about. */
export interface StreamFormat {
  readonly headers: OutgoingHttpHeaders;
  /** Written before the first item; undefined: nothing is. */
  readonly preamble: string | undefined;
  item(item: StreamItem): string;
  /** What stands before and behind the content of an item that is an event. */
  eventBefore(cursor: string): string;
  readonly eventAfter: string;
  end(end: { readonly reason: Ending; readonly cursor: string }): string;
  problem(error: BackplaneError): string;
  /** What is written in silence, and after how long. */
  readonly idle: { readonly text: string; readonly afterMs: number };
}

/** How often a connection is looked at whether it takes what is written, within the time that it has. */
const LOOKS = 10;

export class HttpSink implements Sink {
  readonly closed: AbortSignal;
  readonly client: string;
  readonly connection: WatchedConnection;
  readonly #writer: StreamWriter<string | Buffer>;
  readonly #response: ServerResponse;
  readonly #format: StreamFormat;
  #started = false;
  /** The last one that was written. */
  #cursor = '';
  #idle: NodeJS.Timeout | undefined;

  constructor(response: ServerResponse, format: StreamFormat) {
    this.#response = response;
    this.#format = format;
    this.#writer = new StreamWriter(response, {
      bytesMax: SUBSCRIBER_QUEUE_BYTES_MAX,
      sizeOf: (text) => (typeof text === 'string' ? Buffer.byteLength(text) : text.length),
    });
    this.closed = this.#writer.closed;
    const { remoteAddress = '', remotePort } = response.socket ?? {};
    this.client = clientOf(`${remoteAddress}:${remotePort}`);
    this.connection = this.#connectionOf(response);
  }

  /**
   * HTTP/2 has PING, which a reader that is slow answers. Over HTTP/1.1 signs of life are writes that the peer takes, those of
   * its machine that it acknowledges them, and an answer that ends ends its connection.
   */
  #connectionOf(response: ServerResponse): WatchedConnection {
    const { stream } = response as ServerResponse & { readonly stream?: ServerHttp2Stream };
    if (stream?.session) return connectionOfSession(stream.session as ServerHttp2Session);
    return { isOpen: false, watch: (timeoutMs, onSilent) => this.#watchWrites(timeoutMs, onSilent) };
  }

  /** Whether headers were sent. Until then an error can still set the status. */
  get started(): boolean {
    return this.#started;
  }

  /** Sends the headers, which otherwise come with the first item. */
  start(): void {
    if (this.#started || this.closed.aborted) return;
    this.#started = true;
    const { headers, preamble, idle } = this.#format;
    this.#response.writeHead(200, headers);
    if (preamble !== undefined) this.#writer.tryWrite(preamble);
    this.#idle = setInterval(() => this.#fillSilence(idle.text), idle.afterMs).unref();
    this.closed.addEventListener('abort', () => clearInterval(this.#idle), { once: true });
  }

  write(delivery: Delivery): Promise<void> {
    this.start();
    this.#idle?.refresh();
    if (delivery.kind === 'message')
      return this.#writer.write(this.#items(subscribeResponseCodec.encode(delivery.message)));
    const { header, parts } = delivery;
    return this.#writer.write(this.#batch(header, parts));
  }

  #batch(header: BatchHeader, parts: readonly Buffer[]): Buffer {
    try {
      return this.#events(header, parts, selectorsOf(header));
    } catch {
      return this.#soundEvents(header, parts);
    }
  }

  #items(bytes: Buffer): string {
    // Decoded as a client would, so that JSON and gRPC have the same content.
    const items = responseToJson(subscribeResponseCodec.decode(bytes, 2 * MESSAGE_BYTES_MAX));
    for (const item of items) this.#cursor = cursorOf(item) || this.#cursor;
    return items.map((item) => this.#format.item(item)).join('');
  }

  /** Throws when one of them cannot be decoded. */
  #events(header: BatchHeader, parts: readonly Buffer[], selectors: (event: number) => readonly string[]): Buffer {
    // Of a batch that could not be written there may be a part.
    json.clear();
    const { node, topic, cursor } = header;
    const ofSlice = header.slice === undefined ? '' : `,"slice":${header.slice}`;
    const beside = `,"history":${header.history}${header.refill === true ? ',"refill":true' : ''}${ofSlice}`;
    const events: Buffer[] = [];
    for (const part of parts) eachEvent(part, (event) => events.push(event));
    for (const [index, bytes] of events.entries()) {
      // The cursor resumes behind the whole batch: only its last event may carry it.
      const own = index === events.length - 1 ? cursor : '';
      json.text(this.#format.eventBefore(own));
      json.text('{"event":');
      if (json.openEvent(bytes, 0, bytes.length, node, topic)) json.text('}');
      else json.text(JSON.stringify(eventToJson(eventCodec.decode(bytes, bytes.length), node, topic)));
      const matched = header.matches === undefined ? '' : `,"selectors":${JSON.stringify(selectors(index))}`;
      json.text(`${beside}${matched}${own === '' ? '' : `,"cursor":${JSON.stringify(own)}`}}`);
      json.text(this.#format.eventAfter);
    }
    this.#cursor = cursor || this.#cursor;
    return json.takeBytes();
  }

  /** Events that cannot be decoded are told as a gap, so that the rest of the batch and the stream continue. */
  #soundEvents(header: BatchHeader, parts: readonly Buffer[]): Buffer {
    const { sound, places, unsoundEvents } = soundParts(parts);
    const selectors = selectorsOf(header);
    const gap = { node: header.node, topic: header.topic, events: unsoundEvents, reason: 'refused' };
    const told = { gap: { ...gap, message: 'these are no events: nobody can decode them' } };
    // The batch comes last, because its cursor must follow the gap.
    const items = Buffer.from(this.#items(subscribeResponseCodec.encode(told)));
    return Buffer.concat([items, this.#events(header, sound, (event) => selectors(places[event]!))]);
  }

  fail(error: BackplaneError): void {
    this.#finish(this.#format.problem(error));
  }

  end(reason: Ending): void {
    this.#finish(this.#format.end({ reason, cursor: this.#cursor }));
  }

  /** The time counts in steps, so that a pause of this process is not taken for the peer's. */
  #watchWrites(timeoutMs: number, onSilent: () => void): () => void {
    const writer = this.#writer;
    const stepMs = timeoutMs / LOOKS;
    const { socket } = this.#response;
    let { taken } = writer;
    let stalledSteps = 0;
    const timer = setInterval(() => {
      const isQuiet = writer.taken === taken;
      const isStalled = isQuiet && writer.inFlightBytes > 0;
      stalledSteps = isStalled || (socket !== null && acknowledgesNothing(socket)) ? stalledSteps + 1 : 0;
      taken = writer.taken;
      // Else there would be nothing that could be acknowledged.
      if (isQuiet && !isStalled && this.#started) this.#fillSilence(this.#format.idle.text);
      if (stalledSteps < LOOKS) return;
      clearInterval(timer);
      onSilent();
    }, stepMs).unref();
    return () => clearInterval(timer);
  }

  #finish(text: string): void {
    if (this.closed.aborted) return;
    this.start();
    clearInterval(this.#idle);
    void this.#writer.write(text).catch(() => undefined);
    this.#writer.end();
  }

  #fillSilence(text: string): void {
    try {
      // Where there is no room there is no silence.
      this.#writer.tryWrite(text);
    } catch (cause) {
      if (!(cause instanceof BackplaneError)) throw cause;
    }
  }
}

/** Resumes after the item; empty where it has none. */
export function cursorOf(item: StreamItem): string {
  const { cursor, watermark, coverage } = item as {
    cursor?: string;
    watermark?: { cursor: string };
    coverage?: { cursor: string };
  };
  return cursor ?? watermark?.cursor ?? coverage?.cursor ?? '';
}

/** Each stream writes all of its batch before another has its turn. */
const json = new JsonBytes();

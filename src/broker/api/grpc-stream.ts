/** A subscriber's gRPC stream as a sink: batches are spliced, never decoded. */
import type { ServerWritableStream } from '@grpc/grpc-js';
import type { StreamWriter } from '../../flow/stream-writer.js';
import { SUBSCRIBER_QUEUE_BYTES_MAX } from '../../limits.js';
import { encodeEventBatch } from '../../wire/frame/splice.js';
import { callWriter } from '../../wire/grpc/call-writer.js';
import { connectionOf } from '../../wire/grpc/session-pings.js';
import { subscribeResponseCodec } from '../../wire/messages.js';
import { clientOf } from '../access/peer-address.js';
import type { Delivery, Sink, WatchedConnection } from '../delivery/outlet.js';

export class GrpcSink implements Sink {
  readonly closed: AbortSignal;
  readonly client: string;
  readonly connection: WatchedConnection | undefined;
  readonly #writer: StreamWriter<Buffer>;

  constructor(call: ServerWritableStream<Buffer, Buffer>) {
    this.#writer = callWriter(call, SUBSCRIBER_QUEUE_BYTES_MAX);
    this.closed = this.#writer.closed;
    this.client = clientOf(call.getPeer());
    this.connection = connectionOf(call.metadata);
  }

  write(delivery: Delivery): Promise<void> {
    return this.#writer.write(
      delivery.kind === 'batch'
        ? encodeEventBatch(delivery.header, delivery.parts)
        : subscribeResponseCodec.encode(delivery.message),
    );
  }

  end(): void {
    this.#writer.end();
  }
}

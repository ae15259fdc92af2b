/** The gRPC service of publishers: batches in, acknowledgements out, in the same order. */
import type { ServerDuplexStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import { asBackplaneError } from '../../errors.js';
import { StreamWriter } from '../../flow/stream-writer.js';
import { PUBLISH_BATCHES_WAITING_MAX, SUBSCRIBER_QUEUE_BYTES_MAX } from '../../limits.js';
import { callFailure } from '../../wire/grpc/status-details.js';
import { identityOf } from '../../wire/grpc/stream-gate.js';
import { publishResponseCodec } from '../../wire/messages.js';
import { decodePublishRequest } from '../../wire/publish-request.js';
import type { Publisher } from './publisher.js';

type PublishCall = ServerDuplexStream<Buffer, Buffer>;

export class PublisherService {
  readonly #publisher: Publisher;

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
  }

  handlers(): UntypedServiceImplementation {
    return { Publish: (call: PublishCall) => void this.#publish(call) };
  }

  async #publish(call: PublishCall): Promise<void> {
    // Without a listener the error that a cancelled call emits would be unhandled.
    call.on('error', () => undefined);
    const writer = new StreamWriter(call, {
      bytesMax: SUBSCRIBER_QUEUE_BYTES_MAX,
      sizeOf: ({ length }: Buffer) => length,
    });
    const identity = identityOf(call.metadata);
    let acknowledged = Promise.resolve();
    let waiting = 0;
    try {
      // Ended by a refusal, the call still has its status to send.
      for await (const bytes of call.iterator({ destroyOnReturn: false })) {
        const accepted = this.#publisher.publish(identity, decodePublishRequest(bytes));
        acknowledged = acknowledged.then(async () => writer.write(publishResponseCodec.encode(await accepted)));
        acknowledged.catch(() => undefined);
        if (++waiting < PUBLISH_BATCHES_WAITING_MAX) continue;
        await acknowledged;
        waiting = 0;
      }
      await acknowledged;
      writer.end();
    } catch (cause) {
      // Those before the refused one are acknowledged first.
      await acknowledged.catch(() => undefined);
      call.resume();
      if (!writer.closed.aborted) call.emit('error', callFailure(asBackplaneError(cause)));
    }
  }
}

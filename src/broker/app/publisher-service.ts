/** The gRPC service of publishers: batches in, acknowledgements out, in the same order. */
import type { ServerDuplexStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import { asBackplaneError, BackplaneError } from '../../errors.js';
import { PUBLISH_BATCHES_WAITING_MAX, RETRY_AFTER_MS, SUBSCRIBER_QUEUE_BYTES_MAX } from '../../limits.js';
import { callWriter } from '../../wire/grpc/call-writer.js';
import { callFailure } from '../../wire/grpc/status-details.js';
import { publishResponseCodec } from '../../wire/messages.js';
import { decodePublishRequest } from '../../wire/publish-request.js';
import type { AccessControl } from '../access/access-control.js';
import { publishWish } from '../access/authorize.js';
import { callerOf } from '../access/caller.js';
import type { Publisher } from './publisher.js';

const DRAINING = callFailure(
  new BackplaneError('unavailable', 'the broker is shutting down: send again what it has not acknowledged', {
    retryAfterMs: RETRY_AFTER_MS,
  }),
);

type PublishCall = ServerDuplexStream<Buffer, Buffer>;

export class PublisherService {
  readonly #publisher: Publisher;
  readonly #access: AccessControl;
  readonly #drained = new AbortController();

  constructor(publisher: Publisher, access: AccessControl) {
    this.#publisher = publisher;
    this.#access = access;
  }

  handlers(): UntypedServiceImplementation {
    return { Publish: (call: PublishCall) => void this.#publish(call) };
  }

  /** Ends every stream once what it sent is acknowledged, and takes no more. */
  drain(): void {
    this.#drained.abort();
  }

  async #publish(call: PublishCall): Promise<void> {
    // Without a listener the error that a cancelled call emits would be unhandled.
    call.on('error', () => undefined);
    const writer = callWriter(call, SUBSCRIBER_QUEUE_BYTES_MAX);
    let acknowledged = Promise.resolve();
    let waiting = 0;
    let isCounted = false;
    let isOver = false;
    const { signal } = this.#drained;
    const refuse = async (failure: typeof DRAINING) => {
      if (isOver || writer.closed.aborted) return;
      isOver = true;
      call.resume();
      // The status would overtake acknowledgements that the transport has not taken.
      await writer.flushed();
      if (!writer.closed.aborted) call.emit('error', failure);
    };
    const drain = () => {
      void acknowledged.catch(() => undefined).then(() => refuse(DRAINING));
    };
    signal.addEventListener('abort', drain, { once: true });
    try {
      if (signal.aborted) throw new BackplaneError('unavailable', DRAINING.details);
      const caller = callerOf(call);
      // Ended by a refusal, the call still has its status to send.
      for await (const bytes of call.iterator({ destroyOnReturn: false })) {
        if (signal.aborted) break;
        const batch = decodePublishRequest(bytes);
        // A stream is one call, but what may be published can change meanwhile.
        if (isCounted) this.#access.authorize(caller, publishWish(batch.topic));
        else this.#access.enter(caller, publishWish(batch.topic));
        isCounted = true;
        const accepted = this.#publisher.publish(caller.identity, batch);
        // It may fail before those before it are acknowledged, or after one that failed, when nobody waits for it.
        accepted.catch(() => undefined);
        acknowledged = acknowledged.then(async () => writer.write(publishResponseCodec.encode(await accepted)));
        // Whoever waits for this one sends nothing, so that the loop has nothing to end with.
        acknowledged.catch((cause) => void refuse(callFailure(asBackplaneError(cause))));
        if (++waiting < PUBLISH_BATCHES_WAITING_MAX) continue;
        await acknowledged;
        waiting = 0;
      }
      await acknowledged;
      if (!signal.aborted) writer.end();
    } catch (cause) {
      // Those before the refused one are acknowledged first.
      await acknowledged.catch(() => undefined);
      void refuse(callFailure(asBackplaneError(cause)));
    } finally {
      signal.removeEventListener('abort', drain);
    }
  }
}

/** Reads a stretch of a stream once, to its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { BackplaneError } from '../../../errors.js';
import { LOG_CATCH_UP_BATCH, LOG_CATCH_UP_BYTES_MAX, NATS_REQUEST_MS } from '../../../limits.js';
import type { NatsLink } from '../../nats/nats-link.js';
import { type StoredMessage, StreamPull } from '../../nats/stream-pull.js';

export interface ScannedStretch {
  readonly stream: string;
  readonly from: number;
  /** Behind the last sequence. */
  readonly to: number;
  /** A subject. With one, a replica that lags behind may end the scan early. */
  readonly filter?: string;
  readonly headersOnly: boolean;
}

/** Tries without any progress. */
const TRIES = 5;

/** Rejects with unavailable where the stretch cannot be read to its end. What `take` throws ends it, too. */
export async function scanStream(
  link: NatsLink,
  { stream, from, to, filter, headersOnly }: ScannedStretch,
  take: (message: StoredMessage) => void,
): Promise<void> {
  let next = from;
  let why = 'nothing came';
  for (let tries = 0; next < to && tries < TRIES; tries++) {
    if (tries > 0) await sleep((tries * NATS_REQUEST_MS) / 10);
    try {
      const filters = filter === undefined ? {} : { filters: [filter] };
      const began = next;
      const onMessage = (message: StoredMessage) => {
        if (message.sequence < to) take(message);
        next = message.sequence + 1;
      };
      const isAll = await scanOnce(link, { stream, from: next, headersOnly, ...filters }, () => next < to, onMessage);
      if (filter !== undefined && isAll) return;
      if (next > began) tries = 0;
    } catch (cause) {
      if (cause instanceof BackplaneError && cause.code !== 'unavailable') throw cause;
      why = (cause as Error).message;
    }
  }
  if (next < to) throw new BackplaneError('unavailable', `${stream} cannot be read at ${next}: ${why}`);
}

/** Resolves with true where the consumer has nothing more, false where no more is wanted. */
function scanOnce(
  link: NatsLink,
  options: Parameters<typeof StreamPull.open>[1],
  wanted: () => boolean,
  take: (message: StoredMessage) => void,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let silent: NodeJS.Timeout | undefined;
    let pull: StreamPull | undefined;
    const end = (settle: () => void) => {
      clearTimeout(silent);
      pull?.close();
      settle();
    };
    const ask = () => {
      clearTimeout(silent);
      silent = setTimeout(() => end(() => reject(new Error('nothing came'))), 2 * NATS_REQUEST_MS);
      pull?.ask(LOG_CATCH_UP_BATCH, LOG_CATCH_UP_BYTES_MAX, undefined);
    };
    const listener = {
      message: take,
      ended: (nothing: boolean) => {
        if (nothing || !wanted()) end(() => resolve(nothing));
        else ask();
      },
      failed: (cause: Error) => end(() => reject(cause)),
    };
    StreamPull.open(link, options, listener).then((opened) => {
      pull = opened;
      ask();
    }, reject);
  });
}

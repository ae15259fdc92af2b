/** What each identity may publish: bytes and events per second, with a burst. A batch is admitted whole or not at all. */
import { LRUCache } from 'lru-cache';
import { BackplaneError } from '../../errors.js';
import { TokenBucket } from '../../flow/token-bucket.js';
import { PUBLISH_BYTES_MAX, PUBLISH_EVENTS_MAX, PUBLISHERS_MAX } from '../../limits.js';

export interface PublishRate {
  readonly bytesPerSecond: number;
  readonly eventsPerSecond: number;
  /** How much of either rate may come at once, as time. The largest batch may at any rate. */
  readonly burstMs: number;
}

interface Buckets {
  readonly bytes: TokenBucket;
  readonly events: TokenBucket;
}

export class PublishRates {
  readonly #buckets = new LRUCache<string, Buckets>({ max: PUBLISHERS_MAX });
  readonly #rate: PublishRate;
  readonly #nowMs: () => number;

  constructor(rate: PublishRate, nowMs: () => number = () => performance.now()) {
    this.#rate = rate;
    this.#nowMs = nowMs;
  }

  /** Throws resource_exhausted, with the time after which the batch would be admitted. */
  admit(identity: string, bytes: number, events: number): void {
    const buckets = this.#of(identity);
    const { bytesPerSecond, eventsPerSecond } = this.#rate;
    const waitMs = Math.max(
      missingMs(bytes, buckets.bytes.level, bytesPerSecond),
      missingMs(events, buckets.events.level, eventsPerSecond),
    );
    if (waitMs > 0) {
      const message = `${identity} may publish ${bytesPerSecond} bytes and ${eventsPerSecond} events per second: come again`;
      throw new BackplaneError('resource_exhausted', message, { retryAfterMs: waitMs });
    }
    buckets.bytes.take(bytes);
    buckets.events.take(events);
  }

  #of(identity: string): Buckets {
    let buckets = this.#buckets.get(identity);
    if (buckets === undefined) {
      const { bytesPerSecond, eventsPerSecond, burstMs } = this.#rate;
      const burst = (rate: number, least: number) => Math.max(least, (rate * burstMs) / 1000);
      buckets = {
        bytes: new TokenBucket(bytesPerSecond, burst(bytesPerSecond, PUBLISH_BYTES_MAX), this.#nowMs),
        events: new TokenBucket(eventsPerSecond, burst(eventsPerSecond, PUBLISH_EVENTS_MAX), this.#nowMs),
      };
      this.#buckets.set(identity, buckets);
    }
    return buckets;
  }
}

/** Time in which a bucket gets what it lacks of an amount. */
function missingMs(amount: number, level: number, ratePerSecond: number): number {
  return amount <= level ? 0 : Math.max(1, Math.ceil(((amount - level) / ratePerSecond) * 1000));
}

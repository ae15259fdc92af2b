/**
 * The request that resumes a broken subscription, so that no event is missed or
 * delivered twice: from the last cursor, with the window's ends as they were
 * first resolved, and with what is left of the limit. A replay without `until`
 * ends at the time of the latest request, not of the first.
 */

import { timestampText } from '../subscriptions/timestamp.js';
import type { SubscribeRequest } from '../wire/messages.js';
import type { SubscribeItem } from './subscribe-item.js';

export class Resumption {
  readonly #first: SubscribeRequest;
  /** Maximum number of events; 0n for no limit. */
  readonly #limit: bigint;
  #accepted = false;
  #covered = false;
  #delivered = 0n;
  #cursor: string;
  #since: string;
  #until: string;

  constructor(request: SubscribeRequest) {
    this.#first = request;
    this.#limit = BigInt(String(request.limit ?? 0));
    this.#cursor = request.cursor ?? '';
    this.#since = request.since ?? '';
    this.#until = request.until ?? '';
  }

  /** A broker has accepted the subscription. */
  get accepted(): boolean {
    return this.#accepted;
  }

  /** Whether all that was asked for has arrived. Then nothing is left to resume, even if the stream broke. */
  get complete(): boolean {
    if (this.#limit > 0n && this.#delivered >= this.#limit) return true;
    return this.#first.follow !== true && this.#covered;
  }

  /** Whether a stream that ended without an error reached the subscription's own end and was not cut off. */
  get finished(): boolean {
    return this.complete || (this.#first.follow === true && this.#until !== '');
  }

  /** The request for the next broker. */
  request(): SubscribeRequest {
    // A group keeps its members' places by itself.
    if (this.#first.group) return this.#first;
    const request: SubscribeRequest = { ...this.#first, until: this.#until, limit: String(this.#limitLeft()) };
    if (this.#cursor === '') return { ...request, since: this.#since };
    // The cursor replaces the window's start, and since or last would contradict it.
    return { ...request, cursor: this.#cursor, since: '', last: 0 };
  }

  saw(item: SubscribeItem): void {
    if (item.kind === 'accepted') {
      this.#accepted = true;
      const { since, until } = item.accepted;
      // A relative time such as "5m" would give another window at the next broker.
      if (since) this.#since = timestampText(since);
      if (until) this.#until = timestampText(until);
    } else if (item.kind === 'events') {
      this.#delivered += BigInt(item.batch.received.length);
      this.#cursor = item.batch.cursor || this.#cursor;
    } else if (item.kind === 'watermark') {
      this.#cursor = item.watermark.cursor || this.#cursor;
    } else if (item.kind === 'coverage') {
      this.#covered = true;
      this.#cursor = item.coverage.cursor || this.#cursor;
    }
  }

  #limitLeft(): bigint {
    // The rest never becomes 0, which would mean no limit: a used-up limit finishes the subscription before.
    return this.#limit === 0n ? 0n : this.#limit - this.#delivered;
  }
}

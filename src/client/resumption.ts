/**
 * How a broken subscription is asked for again, so that nothing is missed and
 * nothing comes twice: from the last cursor, with the window's ends as they
 * were resolved first, and with what is left of the limit. Only a replay without
 * an end of its own ends where it was last asked for, not where it was first.
 */

import { timestampText } from '../subscriptions/timestamp.js';
import type { SubscribeRequest } from '../wire/messages.js';
import type { SubscribeItem } from './subscribe-item.js';

export class Resumption {
  readonly #first: SubscribeRequest;
  /** 0n: no limit. */
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

  /** All that was asked for has come: nothing is left to resume, however the stream ends. */
  get complete(): boolean {
    if (this.#limit > 0n && this.#delivered >= this.#limit) return true;
    return this.#first.follow !== true && this.#covered;
  }

  /** A stream that ends without an error has come to the subscription's own end, and was not broken off. */
  get finished(): boolean {
    return this.complete || (this.#first.follow === true && this.#until !== '');
  }

  /** What to ask the next broker. */
  request(): SubscribeRequest {
    const request: SubscribeRequest = { ...this.#first, until: this.#until, limit: String(this.#limitLeft()) };
    if (this.#cursor === '') return { ...request, since: this.#since };
    // A cursor stands for the window's start: since and last would contradict it.
    return { ...request, cursor: this.#cursor, since: '', last: 0 };
  }

  saw(item: SubscribeItem): void {
    if (item.kind === 'accepted') {
      this.#accepted = true;
      const { since, until } = item.accepted;
      // "5m" back from now would be another window at the next broker.
      if (since) this.#since = timestampText(since);
      if (until) this.#until = timestampText(until);
    } else if (item.kind === 'events') {
      this.#delivered += BigInt(item.batch.events.length);
      this.#cursor = item.batch.cursor || this.#cursor;
    } else if (item.kind === 'watermark') {
      this.#cursor = item.watermark.cursor || this.#cursor;
    } else if (item.kind === 'coverage') {
      this.#covered = true;
      this.#cursor = item.coverage.cursor || this.#cursor;
    }
  }

  #limitLeft(): bigint {
    // 0 would be no limit; a limit that is used up has finished the subscription.
    return this.#limit === 0n ? 0n : this.#limit - this.#delivered;
  }
}

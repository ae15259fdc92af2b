/** Counts what a subscription matches, by time and topic: the same delivery, into a sink that counts. */
import type { ServerResponse } from 'node:http';
import { BackplaneError, invalid } from '../../../errors.js';
import { HISTOGRAM_BUCKETS_DEFAULT, HISTOGRAM_BUCKETS_MAX, HISTOGRAM_GAPS_MAX } from '../../../limits.js';
import type { CheckedSubscription, SubscriptionRequest } from '../../../subscriptions/request/subscription-request.js';
import { snakePath } from '../../../text/nearest.js';
import { eventWallNs } from '../../../wire/event/event-time.js';
import { soundParts } from '../../../wire/event/sound-parts.js';
import {
  type HistogramRequest__Output,
  type HistogramResponse,
  nsToTimestamp,
  type SubscribeResponse,
} from '../../../wire/messages.js';
import type { AccessControl } from '../../access/access-control.js';
import type { Caller } from '../../access/gate.js';
import { clientOf } from '../../access/peer-address.js';
import type { Delivery, Sink } from '../../delivery/outlet.js';
import type { Subscriptions } from '../../delivery/subscriptions.js';

/** Fields of a subscription that a histogram has no use for. */
const REFUSED = [
  'fields',
  'follow',
  'last',
  'limit',
  'cursor',
  'refill',
  'throttle',
  'throttleBy',
  'lagPolicy',
  'lagMax',
  'selectors',
] as const;

/**
 * Counts until the window's end; cancelled when the response's connection closes. Throws invalid_argument for a request
 * without a window or with more than a window, and what subscriptions are refused with.
 */
export async function histogram(
  request: HistogramRequest__Output,
  subscriptions: Subscriptions,
  access: AccessControl,
  caller: Caller,
  response: ServerResponse,
): Promise<HistogramResponse> {
  const { checked, sinceNs, untilNs, buckets } = checkHistogram(request, (asked) => access.subscription(asked, caller));
  const counts = new Counts(sinceNs, untilNs, buckets);
  const closing = new AbortController();
  const close = () => closing.abort();
  response.once('close', close);
  if (response.destroyed) close();
  try {
    await subscriptions.deliver(checked, new CountingSink(counts, closing.signal, clientOf(caller.peer)), caller);
  } finally {
    response.off('close', close);
  }
  return counts.answer();
}

function checkHistogram(
  { subscription, buckets }: HistogramRequest__Output,
  check: (request: SubscriptionRequest) => CheckedSubscription,
) {
  if (!subscription) throw invalid('subscription', 'is missing');
  for (const field of REFUSED) {
    const value = subscription[field];
    if (!value || value === '0' || (Array.isArray(value) && value.length === 0)) continue;
    throw invalid(`subscription.${snakePath(field)}`, 'is not for a histogram, which counts what is in a window');
  }
  if (subscription.since === '') throw invalid('subscription.since', 'must be given: a histogram needs a window');
  if (buckets > HISTOGRAM_BUCKETS_MAX) {
    throw invalid('buckets', `must be at most ${HISTOGRAM_BUCKETS_MAX}, got ${buckets}`);
  }
  // Nothing is counted by but the time, which every event has.
  const asked = { ...subscription, fields: ['type'], until: subscription.until || '0s' };
  const checked = check(asked);
  const { sinceNs = 0n, untilNs = 0n } = checked.window;
  return { checked, sinceNs, untilNs, buckets: buckets || HISTOGRAM_BUCKETS_DEFAULT };
}

/** Events by topic and bucket, and what is missing. */
class Counts {
  readonly #sinceNs: bigint;
  readonly #untilNs: bigint;
  readonly #bucketNs: bigint;
  readonly #size: number;
  readonly #byTopic = new Map<string, Uint32Array>();
  readonly #gaps: NonNullable<SubscribeResponse['gap']>[] = [];
  #gapsMore = 0;
  #coverage: NonNullable<SubscribeResponse['coverage']> | null = null;

  constructor(sinceNs: bigint, untilNs: bigint, buckets: number) {
    this.#sinceNs = sinceNs;
    this.#untilNs = untilNs;
    const spanNs = untilNs - sinceNs;
    this.#bucketNs = (spanNs + BigInt(buckets) - 1n) / BigInt(buckets);
    // Of a very short window there are fewer buckets than were asked for.
    this.#size = Number((spanNs + this.#bucketNs - 1n) / this.#bucketNs);
  }

  add(topic: string, wallNs: bigint): void {
    let counts = this.#byTopic.get(topic);
    if (counts === undefined) {
      counts = new Uint32Array(this.#size);
      this.#byTopic.set(topic, counts);
    }
    const index = Number((wallNs - this.#sinceNs) / this.#bucketNs);
    counts[Math.min(this.#size - 1, Math.max(0, index))]!++;
  }

  note({ gap, coverage }: SubscribeResponse): void {
    if (coverage) this.#coverage = coverage;
    if (!gap) return;
    if (this.#gaps.length < HISTOGRAM_GAPS_MAX) this.#gaps.push(gap);
    else this.#gapsMore++;
  }

  answer(): HistogramResponse {
    const topics = [...this.#byTopic].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      from: nsToTimestamp(this.#sinceNs),
      to: nsToTimestamp(this.#untilNs),
      bucketNs: this.#bucketNs.toString(),
      series: topics.map(([topic, counts]) => ({ topic, counts: [...counts] })),
      gaps: this.#gaps,
      gapsMore: this.#gapsMore,
      coverage: this.#coverage,
    };
  }
}

class CountingSink implements Sink {
  readonly #counts: Counts;

  constructor(
    counts: Counts,
    readonly closed: AbortSignal,
    readonly client: string,
  ) {
    this.#counts = counts;
  }

  async write(delivery: Delivery): Promise<void> {
    if (this.closed.aborted) throw new BackplaneError('cancelled', 'the caller went');
    if (delivery.kind === 'message') {
      this.#counts.note(delivery.message);
      return;
    }
    const { node, topic } = delivery.header;
    const { sound, unsoundEvents } = soundParts(delivery.parts);
    for (const element of sound) this.#counts.add(topic, eventWallNs(element));
    if (unsoundEvents === 0) return;
    this.#counts.note({ gap: { node, topic, events: unsoundEvents, reason: 'refused' } });
  }
}

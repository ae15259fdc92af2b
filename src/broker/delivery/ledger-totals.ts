/** The ledger of all subscriptions together, since the broker's start. */
import { documentLogOf } from '../../wire/event/document-topics.js';
import { type DeliveryTotals, newTotals } from './outlet.js';

export class LedgerTotals {
  /** As in each subscription's own ledger: what is refilled is no longer shed or skipped. */
  readonly sums = newTotals();
  /** By stage and topic: these only grow. Topics of applications are one, because anybody can name another. */
  readonly #counts = new Map<string, { readonly labels: readonly [stage: string, topic: string]; events: number }>();

  /** @param events below 0 for what was refilled since */
  add(stage: keyof DeliveryTotals, topic: string, events: number): void {
    this.sums[stage] += events;
    if (events <= 0) return;
    const of = documentLogOf(topic) ?? topic;
    const key = `${stage} ${of}`;
    const count = this.#counts.get(key);
    if (count !== undefined) count.events += events;
    else this.#counts.set(key, { labels: [stage === 'events' ? 'delivered' : stage, of], events });
  }

  /** [[stage, topic], events] of all that was counted. */
  *byTopic(): Iterable<readonly [labels: readonly [stage: string, topic: string], events: number]> {
    for (const { labels, events } of this.#counts.values()) yield [labels, events];
  }
}

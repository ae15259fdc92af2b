/**
 * Writes one subscription's items to its subscriber: counts them against the
 * limit, cuts off fields that were not asked for, and puts gaps before cursors.
 */
import { BackplaneError } from '../../errors.js';
import type { BatchHeader, BatchMatch, Selection } from '../../wire/frame/splice.js';
import type { SubscribeResponse } from '../../wire/messages.js';
import type { LedgerTotals } from './ledger-totals.js';
import { FieldCut } from './selectors/field-cut.js';
import type { SelectorSet } from './selectors/selector-set.js';
import type { Tally } from './selectors/tally.js';
import type { Throttle } from './throttle.js';

export type Delivery =
  | { readonly kind: 'batch'; readonly header: BatchHeader; readonly parts: readonly Buffer[] }
  | { readonly kind: 'message'; readonly message: SubscribeResponse };

/** The connection of a member of a group, which must give signs of life. */
export interface WatchedConnection {
  /** Whether it can carry more streams. */
  readonly isOpen: boolean;
  /** Calls `onSilent` once when there was no sign of life for so long; returns a function that ends the watch. */
  watch(timeoutMs: number, onSilent: () => void): () => void;
}

/** A stream to a subscriber. */
export interface Sink {
  /** Resolves when there is room again; throws cancelled when the subscriber went. */
  write(delivery: Delivery): Promise<void>;
  readonly closed: AbortSignal;
  /** The client at the other end, by which nodes limit their history queries per client. */
  readonly client: string;
  /** Undefined where nothing is known of it but that the stream has ended. */
  readonly connection?: WatchedConnection | undefined;
}

/** Totals of one subscription, or of all. Every match is counted as delivered, throttled, shed or skipped. */
export interface DeliveryTotals {
  /** Number of delivered events. */
  events: number;
  throttled: number;
  /** Not sent by nodes, because they were over their budgets, and not refilled yet. */
  shed: number;
  /** Skipped, because the subscriber was too far behind, and not refilled yet. */
  skipped: number;
  /** Events that had been shed or skipped; they are also counted as delivered or throttled. */
  refilled: number;
}

/** Gaps that were not told yet. */
export interface PendingGaps {
  readonly hasGaps: boolean;
  /** Returns them, and leaves none. */
  takeGaps(): readonly SubscribeResponse[];
}

export function newTotals(): DeliveryTotals {
  return { events: 0, throttled: 0, shed: 0, skipped: 0, refilled: 0 };
}

export class Outlet {
  readonly ledger = newTotals();
  /** The same of each selector, in the order of the request; empty for a subscription without selectors. */
  readonly ledgers: readonly DeliveryTotals[];
  bytes = 0;
  #gaps: PendingGaps | undefined;
  /** A gap was sent, and no cursor since: until one is, a subscriber that resumes gets the gap again. */
  gapsOpen = false;

  readonly #sink: Sink;
  /** Maximum number of events to deliver; 0 for no limit. */
  readonly #limit: number;
  readonly #selectors: SelectorSet;
  readonly #cut: FieldCut;
  /** Of all subscriptions, counted together with `ledger`. */
  readonly #totals: LedgerTotals;
  readonly #throttle: Throttle | undefined;

  constructor(sink: Sink, limit: number, selectors: SelectorSet, totals: LedgerTotals, throttle: Throttle | undefined) {
    this.#sink = sink;
    this.#limit = limit;
    this.#selectors = selectors;
    this.#cut = new FieldCut(selectors);
    this.ledgers = selectors.named ? selectors.ids.map(newTotals) : [];
    this.#totals = totals;
    this.#throttle = throttle;
  }

  /** The gaps precede any cursor; otherwise a subscriber could resume past a gap that it never saw. */
  precededBy(gaps: PendingGaps): void {
    this.#gaps = gaps;
  }

  /** Whether the next cursor is preceded by a gap: whoever has it without being written to would pass the gap. */
  get owesGaps(): boolean {
    return this.#gaps?.hasGaps ?? false;
  }

  get client(): string {
    return this.#sink.client;
  }

  /** Returns a predicate that says which events of the node and topic to deliver; undefined if all are. */
  admit(node: string, topic: string): ((element: Buffer) => boolean) | undefined {
    const throttle = this.#throttle;
    if (throttle === undefined) return undefined;
    return (element) => {
      try {
        return throttle.admits(node, topic, element);
      } catch (cause) {
        // Bytes that are not an event are delivered: the subscriber refuses them.
        if (cause instanceof BackplaneError) return true;
        throw cause;
      }
    };
  }

  /** Number of events that may still be delivered. */
  get left(): number {
    return this.#limit === 0 ? Number.MAX_SAFE_INTEGER : this.#limit - this.ledger.events;
  }

  count(kind: keyof DeliveryTotals, topic: string, { events, of }: Tally, sign: 1 | -1 = 1): void {
    this.ledger[kind] += sign * events;
    this.#totals.add(kind, topic, sign * events);
    for (const [index, own] of of.entries()) this.ledgers[index]![kind] += sign * own;
  }

  async batch(header: BatchHeader, selection: Selection): Promise<void> {
    this.count('events', header.topic, this.#selectors.taken(selection));
    const parts = this.#cut.parts(selection);
    for (const part of parts) this.bytes += part.length;
    const matches = this.#selectors.named ? this.#matches(selection) : undefined;
    await this.#write({ kind: 'batch', header: matches ? { ...header, matches } : header, parts });
  }

  #matches({ count, matched = [] }: Selection): BatchMatch[] {
    return matched.flatMap(({ indices }, index) => {
      if (indices.length === 0) return [];
      const all = indices.length === count;
      return [{ selector: this.#selectors.ids[index]!, all, indices: all ? [] : indices }];
    });
  }

  async message(message: SubscribeResponse): Promise<void> {
    await this.#write({ kind: 'message', message });
  }

  /** Writes the pending gaps when no other item is about to be written. */
  async gaps(): Promise<void> {
    await Promise.all(this.#writeAhead());
  }

  async #write(delivery: Delivery): Promise<void> {
    const ahead = this.#writeAhead();
    const { gap, watermark, coverage } = delivery.kind === 'message' ? delivery.message : {};
    if (gap) this.gapsOpen = true;
    else if (delivery.kind === 'batch' || watermark || coverage) this.gapsOpen = false;
    const written = this.#sink.write(delivery);
    if (ahead.length === 0) await written;
    else await Promise.all([...ahead, written]);
  }

  /** Writes the pending gaps without waiting, so that no cursor of a concurrent write gets in before them. */
  #writeAhead(): Promise<void>[] {
    const gaps = this.#gaps?.takeGaps() ?? [];
    if (gaps.length > 0) this.gapsOpen = true;
    return gaps.map((message) => this.#sink.write({ kind: 'message', message }));
  }
}

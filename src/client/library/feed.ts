/** One subscription as an async iterable. Runs in browsers. */
import { BackplaneError } from '../../errors.js';
import { checkOpen, closable } from './closable.js';
import { type BatchItem, cursorOf, type FeedItem } from './items.js';

/**
 * Items in order, without a seam: a lost broker is replaced by another, or by the same one later, and the feed goes on
 * exactly behind the last item. It is read by one loop. `break` ends it at the broker, too, and so does `return()` of the
 * iterator, also while a `next()` waits; an aborted signal ends the loop without an error.
 *
 * The loop throws BackplaneError: what the broker refused, `unavailable` when at the start no broker answers, or
 * `failed_precondition` when the bus was closed before it began.
 */
export interface Feed extends AsyncIterable<FeedItem> {
  /**
   * Resumes behind what the loop has been given, as `subscribe({ cursor })`: behind the last event of those that came
   * together, so that after a `break` amid them the ones before it come again. '' before there is one.
   */
  readonly cursor: string;
  /** The same with the events that came together as one item: the fast way. */
  batches(): AsyncIterable<BatchItem>;
}

/** Opens the stream of batches, which resumes by itself. */
type Open = (signal: AbortSignal) => AsyncGenerator<BatchItem, void, undefined>;

export class ResumingFeed implements Feed {
  readonly #open: Open;
  readonly #signal: AbortSignal | undefined;
  readonly #closing: AbortSignal;
  #cursor: string;
  #begun = false;

  constructor(open: Open, cursor: string, signal: AbortSignal | undefined, closing: AbortSignal) {
    this.#open = open;
    this.#cursor = cursor;
    this.#signal = signal;
    this.#closing = closing;
  }

  get cursor(): string {
    return this.#cursor;
  }

  batches(): AsyncGenerator<BatchItem, void, undefined> {
    return this.#read((items) => this.#batches(items));
  }

  [Symbol.asyncIterator](): AsyncGenerator<FeedItem, void, undefined> {
    return this.#read((items, signal) => this.#each(items, signal));
  }

  #read<Item>(
    form: (items: AsyncIterable<BatchItem>, signal: AbortSignal) => AsyncGenerator<Item, void, undefined>,
  ): AsyncGenerator<Item, void, undefined> {
    return closable((signal) => this.#begin(signal), form, this.#signal, this.#closing);
  }

  #begin(signal: AbortSignal): AsyncIterable<BatchItem> {
    checkOpen(this.#closing);
    if (this.#begun) {
      const message = 'a feed is read by one loop: subscribe again, with its cursor';
      throw new BackplaneError('failed_precondition', message);
    }
    this.#begun = true;
    return this.#open(signal);
  }

  async *#batches(items: AsyncIterable<BatchItem>): AsyncGenerator<BatchItem, void, undefined> {
    for await (const item of items) {
      this.#cursor = cursorOf(item) || this.#cursor;
      yield item;
    }
  }

  async *#each(items: AsyncIterable<BatchItem>, signal: AbortSignal): AsyncGenerator<FeedItem, void, undefined> {
    for await (const item of items) {
      const cursor = cursorOf(item);
      if (item.kind === 'events') {
        const { node, topic, history, refill, events, selectorsOf } = item;
        const last = events.length - 1;
        for (let at = 0; at <= last; at += 1) {
          if (at === last) this.#cursor = cursor || this.#cursor;
          const event = events[at]!;
          const own = { event, selectors: selectorsOf(at), cursor: at === last ? cursor : '' };
          yield { kind: 'event', node, topic, history, refill, ...own };
          if (signal.aborted) return;
        }
      } else {
        this.#cursor = cursor || this.#cursor;
        yield item;
      }
    }
  }
}

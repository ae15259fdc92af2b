/**
 * Holds back what is written to a subscriber until it is on record that they read. What they ask for is fetched meanwhile,
 * as the record waits for the disk.
 */
import type { Delivery, Sink, WatchedConnection } from './outlet.js';

export class RecordedSink implements Sink {
  /** Undefined once it is on record. */
  #recorded: Promise<void> | undefined;
  readonly #sink: Sink;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Call this before anything is written. If `recorded` rejects, all writes do. */
  heldUntil(recorded: Promise<void>): void {
    this.#recorded = recorded;
    recorded.then(
      () => {
        this.#recorded = undefined;
      },
      () => undefined,
    );
  }

  /** What is held back goes first, in order: it waited for `recorded` before anybody could know that it is resolved. */
  write(delivery: Delivery): Promise<void> {
    return this.#recorded === undefined
      ? this.#sink.write(delivery)
      : this.#recorded.then(() => this.#sink.write(delivery));
  }

  get closed(): AbortSignal {
    return this.#sink.closed;
  }

  get client(): string {
    return this.#sink.client;
  }

  get connection(): WatchedConnection | undefined {
    return this.#sink.connection;
  }
}

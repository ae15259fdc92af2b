/**
 * A stream to a subscriber that is told nothing before it is on record that they read. What has to be done for them
 * begins meanwhile, as a record waits for the disk.
 */
import type { Delivery, Sink, WatchedConnection } from './outlet.js';

export class RecordedSink implements Sink {
  /** Undefined once it is on record. */
  #recorded: Promise<void> | undefined;
  readonly #sink: Sink;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Call it before anything is written. Where it rejects all writes do so. */
  heldUntil(recorded: Promise<void>): void {
    this.#recorded = recorded;
    recorded.then(
      () => {
        this.#recorded = undefined;
      },
      () => undefined,
    );
  }

  /** What was held back comes first, in order: its turns were taken before anybody knows that it is on record. */
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

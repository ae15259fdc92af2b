/**
 * Writes to a gRPC stream or an HTTP response with a bound in bytes. Node's own high-water mark counts objects on gRPC
 * streams, and after a cancel the 'drain' event never comes. So bytes in flight are counted here, per write callback,
 * and every wait also ends with the stream.
 */
import type { Writable } from 'node:stream';
import { BackplaneError } from '../errors.js';

export interface StreamWriterOptions<T> {
  readonly bytesMax: number;
  readonly sizeOf: (item: T) => number;
}

export class StreamWriter<T> {
  /** Written, and not yet taken by the transport. */
  inFlightBytes = 0;
  /** Incremented whenever the transport has taken something. */
  taken = 0;
  /** Aborts when the stream has ended, for whatever reason. */
  readonly closed: AbortSignal;
  readonly #controller = new AbortController();
  #waiters: (() => void)[] = [];
  #ending = false;
  /** As `closed` says, which takes longer to ask than thousands of idle streams may cost. */
  #isClosed = false;

  readonly #stream: Writable;
  readonly #options: StreamWriterOptions<T>;

  constructor(stream: Writable, options: StreamWriterOptions<T>) {
    this.#stream = stream;
    this.#options = options;
    this.closed = this.#controller.signal;
    const close = () => this.#close();
    for (const event of ['cancelled', 'close', 'error', 'finish']) stream.on(event, close);
    if (stream.destroyed) this.#close();
  }

  /**
   * Resolves when there is room again. At most `bytesMax` and one item more are
   * in flight if every caller awaits. Throws cancelled once the stream ended.
   */
  async write(item: T): Promise<void> {
    this.#post(item);
    while (this.inFlightBytes > this.#options.bytesMax && !this.closed.aborted) {
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
    this.#throwIfClosed();
  }

  /**
   * Writes without waiting; false when there is no room, and nothing is written. Throws cancelled once the stream
   * ended.
   */
  tryWrite(item: T): boolean {
    if (this.inFlightBytes >= this.#options.bytesMax) {
      this.#throwIfClosed();
      return false;
    }
    this.#post(item);
    return true;
  }

  /** Resolves when the transport has taken all that was written, or the stream has ended. */
  async flushed(): Promise<void> {
    while (this.inFlightBytes > 0 && !this.closed.aborted) {
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** Lets the transport finish what is in flight, then ends the stream. */
  end(): void {
    if (this.#ending || this.closed.aborted) return;
    this.#ending = true;
    this.#stream.end();
  }

  #post(item: T): void {
    this.#throwIfClosed();
    const size = this.#options.sizeOf(item);
    this.inFlightBytes += size;
    this.#stream.write(item, () => {
      this.inFlightBytes -= size;
      this.taken++;
      if (this.inFlightBytes <= this.#options.bytesMax) this.#wake();
    });
  }

  #throwIfClosed(): void {
    if (this.#isClosed || this.#ending) throw new BackplaneError('cancelled', 'the stream has ended');
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#controller.abort();
    this.#wake();
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

/**
 * Group commit: callers of one turn of the loop share a flush. Callers that arrive during it share the next one, because
 * the running flush may have begun before their writes.
 */
import { setImmediate as turn } from 'node:timers/promises';

export class GroupCommit {
  /** The flush that waits for the end of this turn of the loop. */
  #waiting: Promise<void> | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  readonly #flush: () => Promise<void>;

  /** `flush` makes durable everything that was written before it is called. */
  constructor(flush: () => Promise<void>) {
    this.#flush = flush;
  }

  /** Resolves when everything written before the call is durable; rejects when the flush that covers it fails. */
  sync(): Promise<void> {
    if (this.#waiting !== undefined) return this.#waiting;
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = undefined;
    const running = this.#flushSoon().finally(() => {
      // The waiting flush starts in a later microtask than this one: until then `#running` must stay set.
      if (this.#next === undefined) this.#running = undefined;
    });
    this.#waiting = running;
    this.#running = running;
    return running;
  }

  async #flushSoon(): Promise<void> {
    await turn();
    this.#waiting = undefined;
    await this.#flush();
  }
}

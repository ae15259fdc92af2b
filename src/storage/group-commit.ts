/**
 * Group commit: callers that arrive during a flush share the next one, because the running flush may have begun before
 * their writes.
 */
export class GroupCommit {
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  readonly #flush: () => Promise<void>;

  /** `flush` makes durable everything that was written before it is called. */
  constructor(flush: () => Promise<void>) {
    this.#flush = flush;
  }

  /** Resolves when everything written before the call is durable; rejects when the flush that covers it fails. */
  sync(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = undefined;
    const running = this.#flush().finally(() => {
      // The waiting flush starts in a later microtask than this one: until then `#running` must stay set.
      if (this.#next === undefined) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}

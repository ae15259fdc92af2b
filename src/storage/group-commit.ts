/**
 * Group commit: callers that come while a flush is under way share the next
 * one, since the one under way may have begun before what they wrote.
 */
export class GroupCommit {
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** `flush` makes durable everything that was written before it is called. */
  constructor(private readonly flush: () => Promise<void>) {}

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
    const running = this.flush().finally(() => {
      // The one that waits starts in a later microtask than this: until then it must be found as running.
      if (this.#next === undefined) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}

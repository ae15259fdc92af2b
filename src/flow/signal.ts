/**
 * "Something may have changed": many callers notify, one loop waits. A notification between two waits is not lost, and
 * many of them cost one wake-up.
 */
export class Signal {
  #pending = false;
  #resolve: (() => void) | undefined;
  /** The signal that ends waits: mostly one for all of them. */
  #abort: AbortSignal | undefined;

  notify(): void {
    this.#pending = true;
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.();
  }

  /**
   * Resolves at the next notification, after `timeoutMs`, or when `abort` fires: with false after the time, else true.
   * One waiter at a time.
   */
  async wait(abort: AbortSignal, timeoutMs: number): Promise<boolean> {
    if (!this.#pending && !abort.aborted) {
      this.#endBy(abort);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.#resolve = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#resolve = undefined;
    }
    const notified = this.#pending;
    this.#pending = false;
    return notified;
  }

  /** Listens once, not at each wait: adding and removing listeners would be most of what a wait costs. */
  #endBy(abort: AbortSignal): void {
    if (this.#abort === abort) return;
    this.#abort?.removeEventListener('abort', this.#onAbort);
    this.#abort = abort;
    abort.addEventListener('abort', this.#onAbort, { once: true });
  }

  readonly #onAbort = () => this.notify();
}

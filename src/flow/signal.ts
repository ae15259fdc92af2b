/**
 * "Something may have changed": many callers notify, one loop waits. A notification between two waits is not lost, and
 * many of them cost one wake-up.
 */
export class Signal {
  #pending = false;
  #resolve: (() => void) | undefined;

  notify(): void {
    this.#pending = true;
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.();
  }

  /** Resolves at the next notification, after `timeoutMs`, or when `abort` fires. One waiter at a time. */
  async wait(abort: AbortSignal, timeoutMs: number): Promise<void> {
    if (!this.#pending && !abort.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, timeoutMs);
        abort.addEventListener('abort', done, { once: true });
        this.#resolve = done;
        function done(): void {
          clearTimeout(timer);
          abort.removeEventListener('abort', done);
          resolve();
        }
      });
      this.#resolve = undefined;
    }
    this.#pending = false;
  }
}

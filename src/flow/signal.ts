/** How loops wait: for something that may have changed, and for a time at most. */

/** Longer waits are rounded up to whole steps. */
const LONG_MS = 2_000;
const STEP_MS = 250;
/** The longest that a timer can be, in whole steps: one beyond 31 bits fires at once. */
const WAIT_MS_MAX = Math.floor((2 ** 31 - 1) / STEP_MS) * STEP_MS;

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
   * Resolves at the next notification, after `timeoutMs` (or up to STEP_MS later, if that is long; WAIT_MS_MAX at most), or
   * when `abort` fires: with false after the time, else true.
   * One waiter at a time.
   */
  async wait(abort: AbortSignal, timeoutMs: number): Promise<boolean> {
    if (!this.#pending && !abort.aborted) {
      this.#endBy(abort);
      await new Promise<void>((resolve) => {
        // Those of the same length share a list: of thousands of long waits each would have one of its own.
        const ms = timeoutMs > LONG_MS ? Math.min(Math.ceil(timeoutMs / STEP_MS) * STEP_MS, WAIT_MS_MAX) : timeoutMs;
        const timer = setTimeout(resolve, ms);
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

/**
 * Byte credit between a sender and a receiver: the receiver states a window, counts the bytes it has processed, and
 * grants more in one message once less than a quarter of the window is left. A window may grow: who reads on is then granted
 * twice as much.
 */

/** The receiver's side. */
export class CreditWindow {
  /** What the sender may still send. Negative by at most one frame: the sender stops at zero or below. */
  #left: number;
  /** Received and processed, but not yet granted again. */
  #owed = 0;

  #windowBytes: number;
  readonly #grant: (bytes: number) => void;
  readonly #grow: (bytes: number) => boolean;

  /**
   * @param grant is called with the bytes to grant. The first `windowBytes` count as granted
   * @param grow whether the window may grow by so many bytes; asked before each grant
   */
  constructor(windowBytes: number, grant: (bytes: number) => void, grow: (bytes: number) => boolean = () => false) {
    this.#windowBytes = windowBytes;
    this.#grant = grant;
    this.#grow = grow;
    this.#left = windowBytes;
  }

  /** False when the sender has sent more than it was granted: it breaks the protocol. */
  received(bytes: number): boolean {
    const allowed = this.#left > 0;
    this.#left -= bytes;
    return allowed;
  }

  /** Memory for `bytes` is free again. */
  consumed(bytes: number): void {
    this.#owed += bytes;
    if (this.#left >= this.#windowBytes / 4 || this.#owed === 0) return;
    const more = this.#grow(this.#windowBytes) ? this.#windowBytes : 0;
    this.#windowBytes += more;
    const granted = this.#owed + more;
    this.#owed = 0;
    this.#left += granted;
    this.#grant(granted);
  }
}

/** The sender's side: it may send while the balance is above zero. */
export class CreditBalance {
  readonly #waiters = new Set<() => void>();

  #balance: number;

  constructor(balance: number) {
    this.#balance = balance;
  }

  get available(): number {
    return this.#balance;
  }

  add(bytes: number): void {
    this.#balance += bytes;
    if (this.#balance <= 0) return;
    for (const wake of [...this.#waiters]) wake();
  }

  take(bytes: number): void {
    this.#balance -= bytes;
  }

  /** Resolves when there is credit, or at once when the signal aborts (the caller checks it). */
  async positive(signal: AbortSignal): Promise<void> {
    while (this.#balance <= 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const done = () => {
          this.#waiters.delete(done);
          signal.removeEventListener('abort', done);
          resolve();
        };
        signal.addEventListener('abort', done, { once: true });
        this.#waiters.add(done);
      });
    }
  }
}

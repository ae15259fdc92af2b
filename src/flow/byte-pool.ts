/** A bound in bytes that many users share: a request that does not fit waits its turn, first come, first served. */
export class BytePool {
  #free: number;
  #waiting: { readonly bytes: number; readonly go: () => void }[] = [];

  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#free = bytesMax;
  }

  /** True while a request waits. */
  get contended(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * Resolves with the release function, or with undefined when the signal aborts first. A request above the whole pool
   * counts as the whole pool.
   */
  async take(bytesWanted: number, signal: AbortSignal): Promise<(() => void) | undefined> {
    const bytes = Math.min(bytesWanted, this.#bytesMax);
    if (signal.aborted) return undefined;
    // Who needs none of it waits for nobody.
    if (bytes === 0) return this.#releaseOf(0);
    if (this.#waiting.length === 0 && this.#free >= bytes) {
      this.#free -= bytes;
      return this.#releaseOf(bytes);
    }
    return new Promise((resolve) => {
      const entry = {
        bytes,
        go: () => {
          signal.removeEventListener('abort', giveUp);
          resolve(this.#releaseOf(bytes));
        },
      };
      const giveUp = () => {
        this.#waiting = this.#waiting.filter((other) => other !== entry);
        resolve(undefined);
        this.#serve();
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.push(entry);
    });
  }

  /** The release function, where so much is free now and nobody waits for it; else undefined. */
  tryTake(bytes: number): (() => void) | undefined {
    if (this.#waiting.length > 0 || this.#free < bytes) return undefined;
    this.#free -= bytes;
    return this.#releaseOf(bytes);
  }

  #releaseOf(bytes: number): () => void {
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#free += bytes;
      this.#serve();
    };
  }

  #serve(): void {
    for (let first = this.#waiting[0]; first && first.bytes <= this.#free; first = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= first.bytes;
      first.go();
    }
  }
}

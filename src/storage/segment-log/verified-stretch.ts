/**
 * The bytes of one sealed segment whose records this process has summed and found good. They are not summed again as
 * long as the file's change time stays the same: whoever writes to the file, or cuts it, changes that.
 */
export class VerifiedStretch {
  #from = 0;
  #to = 0;
  #changedMs = Number.NaN;

  /** Whether [from, to) is known to be good in a file that was last changed at that time. */
  has(from: number, to: number, changedMs: number): boolean {
    return from >= this.#from && to <= this.#to && changedMs === this.#changedMs;
  }

  /** Adds a stretch. Of two that do not touch, the longer is kept. */
  add(from: number, to: number, changedMs: number): void {
    if (changedMs === this.#changedMs && from <= this.#to && to >= this.#from) {
      this.#from = Math.min(from, this.#from);
      this.#to = Math.max(to, this.#to);
    } else if (changedMs !== this.#changedMs || to - from > this.#to - this.#from) {
      this.#from = from;
      this.#to = to;
      this.#changedMs = changedMs;
    }
  }
}

/** When something that failed is tried again: soon at first, twice as late each time, up to a bound. */
export class Retries {
  readonly #minMs: number;
  readonly #maxMs: number;
  #waitMs: number;
  #dueMs = Number.NEGATIVE_INFINITY;
  /** Since when it has held. */
  #heldMs: number | undefined;

  /** `maxMs`: the longest wait; what has held for as long and fails is tried soon again. */
  constructor(minMs: number, maxMs: number) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
    this.#waitMs = minMs;
  }

  /** Times are monotonic. */
  isDue(nowMs: number): boolean {
    return nowMs >= this.#dueMs;
  }

  /** `maxMs`: the longest wait after a failure of this kind. */
  failed(nowMs: number, maxMs = this.#maxMs): void {
    if (this.#heldMs !== undefined && nowMs - this.#heldMs >= this.#maxMs) this.#waitMs = this.#minMs;
    this.#heldMs = undefined;
    this.#dueMs = nowMs + Math.min(this.#waitMs, maxMs);
    // Failures of another kind do not wait longer because of these.
    this.#waitMs = Math.max(this.#waitMs, Math.min(2 * this.#waitMs, maxMs));
  }

  held(nowMs: number): void {
    this.#heldMs = nowMs;
  }
}

/** Pieces of work that are done at once or not at all, as they must not take a core from others. */
import { Pacer } from '../../../flow/pacer.js';

export class ShortWork {
  readonly #pacer: Pacer;
  readonly #chargedMsMax: number;
  readonly #nowMs: () => number;
  #restUntilMs = Number.NEGATIVE_INFINITY;

  /**
   * `share` of one core and `burstMs`: see Pacer. `chargedMsMax`: more than a piece takes: time beyond that was taken by
   * other programs.
   */
  constructor(share: number, burstMs: number, chargedMsMax: number, nowMs: () => number = () => performance.now()) {
    this.#pacer = new Pacer(share, burstMs, nowMs);
    this.#chargedMsMax = chargedMsMax;
    this.#nowMs = nowMs;
  }

  /** Undefined where it was not done. */
  run<T>(work: () => T): { readonly result: T } | undefined {
    const beganMs = this.#nowMs();
    if (beganMs < this.#restUntilMs) return undefined;
    try {
      return { result: work() };
    } finally {
      const endedMs = this.#nowMs();
      const waitMs = this.#pacer.spend(Math.min(endedMs - beganMs, this.#chargedMsMax));
      if (waitMs > 0) this.#restUntilMs = endedMs + waitMs;
    }
  }
}

/** Work that never waits gives others a turn now and then; else one reader of a long log stops a whole process. */
import { setImmediate as turn } from 'node:timers/promises';
import { TURN_MS, TURN_MS_MAX, TURN_SHARE } from '../limits.js';

/** How many have given the others their turn, and wait for their own. */
let giving = 0;

/** How long a turn is that should be so long: not less than the usual one, and not so long that all else stands still. */
export function turnMs(shareMs: number): number {
  return Math.min(TURN_MS_MAX, Math.max(TURN_MS, shareMs));
}

export class Turns {
  readonly #now: () => number;
  #sinceMs: number;
  #turnMs = TURN_MS;

  /** @param now milliseconds of a clock that is never set */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#sinceMs = now();
  }

  /** Call after a wait, when others have had their turn. */
  waited(): void {
    this.#sinceMs = this.#now();
    this.#turnMs = TURN_MS;
  }

  /** Whether this work has had its turn: then await give(). */
  get over(): boolean {
    return this.#now() - this.#sinceMs >= this.#turnMs;
  }

  /**
   * Lets everything else that is ready run once. Where that took long, as in a process that is overloaded, the next turn is
   * a share of it: whatever reads would else hardly get on. All who give at the same time share that.
   */
  async give(): Promise<void> {
    const gaveMs = this.#now();
    giving += 1;
    const before = giving;
    await turn();
    const among = Math.max(before, giving);
    giving -= 1;
    this.waited();
    const shareMs = ((this.#sinceMs - gaveMs) * TURN_SHARE) / among;
    this.#turnMs = turnMs(shareMs);
  }
}

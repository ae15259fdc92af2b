/** Work that never waits gives others a turn now and then; else one reader of a long log stops a whole process. */
import { setImmediate as turn } from 'node:timers/promises';
import { TURN_MS_MAX } from '../limits.js';

export class Turns {
  #sinceMs = performance.now();

  /** Call after a wait, when others have had their turn. */
  waited(): void {
    this.#sinceMs = performance.now();
  }

  /** Whether this work has had its turn: then await give(). */
  get over(): boolean {
    return performance.now() - this.#sinceMs >= TURN_MS_MAX;
  }

  /** Lets everything else that is ready run once. */
  async give(): Promise<void> {
    await turn();
    this.waited();
  }
}

/**
 * Who may read behind the tails at a time, over all partitions: each holder has a consumer and what it has read ahead. A
 * holder that does not read, because its subscriber is slow, has to give way to one that does.
 */
import { LOG_CATCH_UPS_MAX } from '../../../limits.js';

export interface TurnHolder {
  /** True while it reads. */
  readonly busy: boolean;
  /** It has to drop what it holds. */
  giveUp(): void;
}

export class CatchUpTurns {
  /** The one that used its turn longest ago is first. */
  readonly #holders = new Set<TurnHolder>();
  readonly #waiting: (() => void)[] = [];

  /** Resolves when `holder` has a turn, which it may have already. */
  async take(holder: TurnHolder): Promise<void> {
    while (!this.#holders.delete(holder) && this.#holders.size >= LOG_CATCH_UPS_MAX) {
      const resting = [...this.#holders].find(({ busy }) => !busy);
      if (resting === undefined) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      else {
        this.#holders.delete(resting);
        resting.giveUp();
      }
    }
    this.#holders.add(holder);
  }

  /** A holder does not read at the moment. */
  rest(): void {
    this.#waiting.shift()?.();
  }

  release(holder: TurnHolder): void {
    if (this.#holders.delete(holder)) this.rest();
  }
}

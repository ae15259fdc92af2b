/**
 * What an agent before this one left unsaid: it could not record, or the end of
 * what it recorded is damaged. How much it was, nobody knows.
 */
import { comparePositions, type Position } from '../wire/position.js';

const MESSAGES = {
  disk_full: 'an agent before this one ended while the disk took nothing: what happened then is not recorded',
  damaged: 'the end of the recording is damaged: what an agent before this one recorded last cannot be read',
};

export class Unsaid {
  #reason: keyof typeof MESSAGES | undefined;
  /** From the recording's end to this agent's beginning. */
  #stretch: { readonly from: Position; readonly to: Position } | undefined;

  /** `hole`: it could not record. `endLost`: there was more than can be read. */
  constructor({ hole, endLost }: { readonly hole: boolean; readonly endLost: boolean }) {
    if (hole) this.#reason = 'disk_full';
    else if (endLost) this.#reason = 'damaged';
  }

  /** The recording ends at `from` and goes on at `to`. */
  begin(from: Position, to: Position): void {
    if (this.#reason !== undefined) this.#stretch ??= { from, to };
  }

  /** Whether some of (from, to] is not known. */
  in(from: Position, to: Position): boolean {
    const stretch = this.#stretch;
    return stretch !== undefined && comparePositions(from, stretch.to) < 0 && comparePositions(stretch.from, to) < 0;
  }

  /** What is to be said of it, once; undefined: nothing. */
  take(): { readonly reason: string; readonly message: string } | undefined {
    const reason = this.#reason;
    this.#reason = undefined;
    return reason && { reason, message: MESSAGES[reason] };
  }
}

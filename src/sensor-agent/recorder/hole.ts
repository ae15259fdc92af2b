/** A stretch of which the disk took nothing: from where, for which reason, and how much is missing of it by now. */
import type { BackplaneError } from '../../errors.js';
import type { StatedLoss } from '../../wire/frame/loss.js';
import type { Position } from '../../wire/position.js';
import type { RecordedHole } from './recording.js';

export type HoleReason = 'disk_full' | 'disk_failed';

export class Hole {
  readonly reason: HoleReason;
  /** What the disk said, and what would help. */
  readonly message: string;
  /** Entries, and what the kernel lost besides. */
  #lost = 0;
  #lostUnknown = false;

  /** `cause`: what the log refused with. */
  constructor(
    readonly from: Position,
    cause: BackplaneError,
  ) {
    this.reason = cause.code === 'resource_exhausted' ? 'disk_full' : 'disk_failed';
    this.message = `nothing is recorded: ${cause.message}`;
  }

  get lost(): number {
    return this.#lost;
  }

  add(entries: number, unknown: boolean): void {
    this.#lost += entries;
    this.#lostUnknown ||= unknown;
  }

  /** As it is recorded when there is room again. */
  endingAt(to: Position): RecordedHole {
    const { from, reason, message } = this;
    return { from, to, lost: this.#lost, lostUnknown: this.#lostUnknown, reason, message };
  }

  /** As it is told while it goes on. */
  get stated(): StatedLoss {
    const { from, reason, message } = this;
    return { reason, events: this.#lost, unknown: this.#lostUnknown, from, to: undefined, message };
  }
}

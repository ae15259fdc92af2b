/** A stretch that the disk refused to record: its start, its reason and how much of it is missing by now. */
import type { BackplaneError } from '../../errors.js';
import type { StatedLoss } from '../../wire/frame/loss.js';
import type { Position } from '../../wire/position.js';
import type { RecordedHole } from './recording.js';

export type HoleReason = 'disk_full' | 'disk_failed';

export class Hole {
  readonly reason: HoleReason;
  /** The log's error, with what would help. */
  readonly message: string;
  /** Entries that were not recorded, plus those that the kernel lost. */
  #lost = 0;
  #lostUnknown = false;

  /** `cause`: the error with which the log refused an append. */
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

  /** The record to write once there is room again. */
  endingAt(to: Position): RecordedHole {
    const { from, reason, message } = this;
    return { from, to, lost: this.#lost, lostUnknown: this.#lostUnknown, reason, message };
  }

  /** The loss to state while the hole goes on. */
  get stated(): StatedLoss {
    const { from, reason, message } = this;
    return { reason, events: this.#lost, unknown: this.#lostUnknown, from, to: undefined, message };
  }
}

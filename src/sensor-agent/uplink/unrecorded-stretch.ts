/**
 * What an agent before this one left unsaid: it could not record, or the end of
 * what it recorded is damaged. How much it was, nobody knows.
 */
import type { Position } from '../../wire/position.js';
import type { RecordedLoss } from '../recorder/recording.js';

const MESSAGES = {
  disk_full: 'an agent before this one ended while the disk took nothing: what happened then is not recorded',
  recording_damaged: 'the end of the recording is damaged: what an agent before this one recorded last cannot be read',
};

type Reason = keyof typeof MESSAGES;

export class UnrecordedStretch {
  #reason: Reason | undefined;
  #told: Reason | undefined;
  /** The recording's end. */
  #from: Position | undefined;

  /** `hole`: it could not record. `endLost`: there was more than can be read. */
  constructor({ hole, endLost }: { readonly hole: boolean; readonly endLost: boolean }) {
    if (hole) this.#reason = 'disk_full';
    else if (endLost) this.#reason = 'recording_damaged';
  }

  /** The recording ends here, and now goes on. */
  begin(from: Position): void {
    this.#from ??= from;
  }

  /** What is missing, until it is recorded that it is. */
  get loss(): Omit<RecordedLoss, 'timeNs'> | undefined {
    const reason = this.#reason;
    const from = this.#from;
    return reason && from && { reason, from, goesOn: false, message: MESSAGES[reason] };
  }

  /** It is recorded. */
  stated(): void {
    this.#told = this.#reason;
    this.#reason = undefined;
  }

  /** What was recorded, once, for an event that says so. */
  takeStated(): { readonly reason: string; readonly message: string } | undefined {
    const reason = this.#told;
    this.#told = undefined;
    return reason && { reason, message: MESSAGES[reason] };
  }
}

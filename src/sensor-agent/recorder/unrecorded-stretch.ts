/**
 * States a loss that an earlier agent could not state: it could not record, or
 * the end of its recording is damaged. The size of the loss is unknown.
 */
import type { Position } from '../../wire/position.js';
import type { RecordedLoss } from './recording.js';

const MESSAGES = {
  disk_full: 'an agent before this one ended while the disk took nothing: what happened then is not recorded',
  recording_damaged: 'the end of the recording is damaged: what an agent before this one recorded last cannot be read',
};

type Reason = keyof typeof MESSAGES;

export class UnrecordedStretch {
  #reason: Reason | undefined;
  #told: Reason | undefined;
  /** Where the earlier agent's recording ends. */
  #from: Position | undefined;

  /** `hole`: the earlier agent could not record. `endLost`: its recording went on beyond what can be read. */
  constructor({ hole, endLost }: { readonly hole: boolean; readonly endLost: boolean }) {
    if (hole) this.#reason = 'disk_full';
    else if (endLost) this.#reason = 'recording_damaged';
  }

  /** Sets where the earlier recording ends and the present one goes on; only the first call counts. */
  begin(from: Position): void {
    this.#from ??= from;
  }

  /** The loss that is still to be recorded; undefined when there is none. */
  get loss(): Omit<RecordedLoss, 'timeNs'> | undefined {
    const reason = this.#reason;
    const from = this.#from;
    return reason && from && { reason, from, goesOn: false, message: MESSAGES[reason] };
  }

  /** Marks the loss as recorded. */
  stated(): void {
    this.#told = this.#reason;
    this.#reason = undefined;
  }

  /** Returns the recorded loss once, for the event that tells of it. */
  takeStated(): { readonly reason: string; readonly message: string } | undefined {
    const reason = this.#told;
    this.#told = undefined;
    return reason && { reason, message: MESSAGES[reason] };
  }
}

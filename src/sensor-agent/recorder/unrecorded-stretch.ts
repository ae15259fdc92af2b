/**
 * States a loss that an earlier agent could not state: it could not record, it was killed before it had recorded what it
 * had taken from the kernel, or the end of its recording is damaged. Only of what was taken the number is known.
 */
import type { LogEnd } from '../../storage/segment-log/recovery.js';
import type { NoticeContext } from '../../wire/event/event.js';
import type { Position } from '../../wire/position.js';
import type { TimelineView } from '../timeline/timeline-view.js';
import type { Origin, RecordedLoss } from './recording.js';

const MESSAGES = {
  disk_full: 'an agent before this one ended while the disk took nothing: what happened then is not recorded',
  recording_damaged: 'the end of the recording is damaged: what an agent before this one recorded last cannot be read',
  agent_killed: 'an agent before this one was killed before it had recorded what it had taken from the kernel',
};

type Reason = keyof typeof MESSAGES;

export class UnrecordedStretch {
  #reason: Reason | undefined;
  #told: Reason | undefined;
  /** The earlier agent may have been killed as it wrote a record. */
  readonly #torn: boolean;
  /** Where the earlier agent's recording ends. */
  #from: Position | undefined;
  /**
   * Entries that it had taken and not recorded, and all that were taken. How many the kernel had overwritten before a page of
   * the former is said in that page, and nowhere else: then their number is undefined.
   */
  #taken: { readonly unrecorded: number | undefined; readonly all: number } | undefined;

  /** `hole`: the earlier agent could not record. `end`: of its recording. */
  constructor({ hole, end }: { readonly hole: boolean; readonly end: LogEnd }) {
    if (hole) this.#reason = 'disk_full';
    else if (end !== 'whole') this.#reason = 'recording_damaged';
    this.#torn = !hole && end === 'torn';
  }

  /**
   * Takes the earlier recording, as far as it was recorded, and with what the present one begins; only the first call
   * counts.
   */
  begin(
    { frontier, origin, taken: { count: recorded } }: Pick<TimelineView, 'frontier' | 'origin' | 'taken'>,
    { continued, epoch, entriesTaken, overwritten = false }: Origin,
  ): void {
    if (this.#from !== undefined) return;
    this.#from = frontier;
    // Else its buffers are others.
    const taken = continued && epoch === origin.epoch ? entriesTaken : undefined;
    if (recorded === undefined || taken === undefined) return;
    // What was in a record that was never wholly written is among these. Fewer are taken where somebody emptied buffers.
    if (this.#torn && taken >= recorded && !overwritten) this.#reason = undefined;
    if (taken <= recorded) return;
    this.#taken = { unrecorded: overwritten ? undefined : taken - recorded, all: taken };
    this.#reason ??= 'agent_killed';
  }

  /** The loss that is still to be recorded; undefined when there is none. */
  get loss(): Omit<RecordedLoss, 'timeNs'> | undefined {
    const reason = this.#reason;
    const from = this.#from;
    const events = this.#numberOf(reason);
    const stated = { reason, events, entriesTaken: this.#taken?.all, goesOn: false };
    return reason && from && { ...stated, reason, from, message: MESSAGES[reason] };
  }

  /** Undefined: not known. */
  #numberOf(reason: Reason | undefined): number | undefined {
    return reason === 'agent_killed' ? this.#taken?.unrecorded : undefined;
  }

  /** Marks the loss as recorded. */
  stated(): void {
    this.#told = this.#reason;
    this.#reason = undefined;
  }

  /** Returns the recorded loss once, for the event that tells of it. */
  takeStated(): Pick<NoticeContext, 'reason' | 'message' | 'lost' | 'lostUnknown'> | undefined {
    const reason = this.#told;
    this.#told = undefined;
    const lost = this.#numberOf(reason);
    return reason && { reason, message: MESSAGES[reason], lost: lost ?? 0, lostUnknown: lost === undefined };
  }
}

/**
 * Counts the entries that are recorded, or stated as lost, of those that agents took from the kernel's buffers. Where the
 * kernel says that more were taken, an agent was killed between taking them and recording them.
 */
import type { Origin, RecordedLoss } from './recording.js';

export class TakenEntries {
  /** Undefined: not known, or there are no such buffers. */
  count: number | undefined;

  /** Takes the origin of an agent that begins. */
  begin({ continued, entriesTaken: taken }: Origin): void {
    const known = continued ? this.count : undefined;
    // What is not recorded is stated as a loss. There are fewer where somebody emptied the buffers meanwhile.
    this.count = known === undefined || taken === undefined ? (known ?? taken) : Math.min(known, taken);
  }

  recorded(entries: number): void {
    if (this.count !== undefined) this.count += entries;
  }

  stated({ entriesTaken }: Pick<RecordedLoss, 'entriesTaken'>): void {
    this.count = entriesTaken ?? this.count;
  }
}

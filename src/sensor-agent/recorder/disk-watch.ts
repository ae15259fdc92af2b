/** Says at once that the disk takes nothing of the recording, and when that is over. */
import type { Logger } from 'pino';
import type { Hole } from './hole.js';

export class DiskWatch {
  #refuses = false;

  /** `tell`: to whoever listens now; what is missing is recorded when there is room again. */
  constructor(
    private readonly log: Logger,
    private readonly tell: (hole: Hole | undefined) => void,
  ) {}

  /** After every drain. */
  look(hole: Hole | undefined): void {
    if ((hole !== undefined) === this.#refuses) return;
    this.#refuses = hole !== undefined;
    if (hole) this.log.error({ reason: hole.reason }, hole.message);
    else this.log.info('the disk takes the recording again');
    this.tell(hole);
  }
}

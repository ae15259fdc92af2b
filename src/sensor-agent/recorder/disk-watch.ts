/** Reports at once when the disk begins to refuse the recording, and when it accepts it again. */
import type { Logger } from 'pino';
import type { Hole } from './hole.js';

export class DiskWatch {
  #refuses = false;

  readonly #log: Logger;
  readonly #tell: (hole: Hole | undefined) => void;

  /** `tell` informs live subscribers only; the loss itself is recorded once there is room again. */
  constructor(log: Logger, tell: (hole: Hole | undefined) => void) {
    this.#log = log;
    this.#tell = tell;
  }

  /** After every drain. */
  look(hole: Hole | undefined): void {
    if ((hole !== undefined) === this.#refuses) return;
    this.#refuses = hole !== undefined;
    if (hole) this.#log.error({ reason: hole.reason }, hole.message);
    else this.#log.info('the disk takes the recording again');
    this.#tell(hole);
  }
}

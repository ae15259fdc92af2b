/** Events that throw as they are processed, which is a defect: each is passed over and becomes a loss. */
import { asBackplaneError } from '../../../errors.js';
import { LOSS_MESSAGE_CHARACTERS_MAX } from '../../../limits.js';
import type { Position } from '../../../wire/position.js';
import type { Loss } from '../timeline-sink.js';

export class Failures {
  /** How often processing failed. */
  count = 0;
  /** What was thrown last. */
  last: unknown;

  /**
   * The loss of the event `name` at `from`, whose processing threw `cause`. It would throw again each time, and all behind it
   * would wait for ever. Called where it is caught: a function for each event would be a tenth of what an event leaves for
   * collection.
   */
  lossOf(name: string, from: Position, cause: unknown): Loss {
    this.count += 1;
    this.last = cause;
    const why = asBackplaneError(cause).message;
    const text = `an event ${name} is recorded and could not be processed, which is a defect: ${why}`;
    const message = text.slice(0, LOSS_MESSAGE_CHARACTERS_MAX);
    const stated = { reason: 'not_processed', from, timeNs: from.timeNs, goesOn: false, message } as const;
    return { count: 1, unknown: false, stated };
  }
}

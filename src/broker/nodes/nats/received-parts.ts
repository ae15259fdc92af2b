/** The numbered parts of one answer, put together again. */
import { BackplaneError } from '../../../errors.js';
import { MESSAGE_BYTES_MAX } from '../../../limits.js';
import { decodeHistoryMessage, type ReceivedHistoryMessage } from '../../../wire/grpc/rpc.js';
import { decodeRoutePart, NO_ANSWER } from '../../../wire/route-message.js';
import { checkHistoryEnd } from '../node-checks.js';

export class ReceivedParts {
  #next = 0;
  #parts: Buffer[] = [];
  #bytes = 0;

  /**
   * A message that this part ends, `begun` for one that says only that the query was sent to the node, undefined for a part
   * in the middle. Throws unavailable when something was lost on the way, invalid_argument for what no broker sends.
   */
  take(message: Buffer): ReceivedHistoryMessage | 'begun' | undefined {
    const { number, more, bytes } = decodeRoutePart(message);
    if (number === NO_ANSWER) {
      throw new BackplaneError(
        'unavailable',
        'its broker knows of no such query: what was said of it was lost on the way',
      );
    }
    if (number !== this.#next) {
      const lost = `part ${number} of its answer came where ${this.#next} was due: others were lost on the way`;
      throw new BackplaneError('unavailable', lost);
    }
    this.#next++;
    if (more && bytes.length === 0) return undefined;
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes > MESSAGE_BYTES_MAX) {
      throw new BackplaneError('invalid_argument', `a message of an answer must be at most ${MESSAGE_BYTES_MAX} bytes`);
    }
    if (more) return undefined;
    const whole = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    if (whole.length === 0) return 'begun';
    const received = decodeHistoryMessage(whole);
    if ('end' in received) checkHistoryEnd(received.end);
    return received;
  }
}

/**
 * The wall time of an encoded event, without decoding the rest: for the one frame that contains a live subscription's
 * end, for counting events by time, and for printing them in its order.
 *
 *   Event := ... | time Timestamp 2 | ...
 */
import { readTimestamp } from '../position-codec.js';
import { ProtoReader } from '../protobuf.js';

/**
 * `element` is `tag length Event`, as in frames. Wall nanoseconds, 0n when the event has no time. Throws
 * invalid_argument.
 */
export function eventWallNs(element: Buffer): bigint {
  const outer = new ProtoReader(element, 'event');
  outer.nextTag();
  return wallNsOf(outer.chunk());
}

/** As eventWallNs, of the Event alone. */
export function wallNsOf(bytes: Buffer): bigint {
  const event = new ProtoReader(bytes, 'event');
  while (event.nextTag()) {
    if (event.field === 2) return readTimestamp(event, 'time');
    event.skip();
  }
  return 0n;
}

/**
 * The wall time of an encoded event, without decoding the rest: needed for the one frame that contains a live
 * subscription's end.
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
  const event = new ProtoReader(outer.chunk(), 'event');
  while (event.nextTag()) {
    if (event.field === 2) return readTimestamp(event);
    event.skip();
  }
  return 0n;
}

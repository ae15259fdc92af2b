/**
 * Picks the decodable events of a batch, for readers that must go on though some are invalid. Frames are checked when
 * they arrive, but a log may hold frames from before that check existed.
 *
 *   part := (0x2a | length varint | Event)*        field 5 of EventBatch
 */

import { ProtoReader } from '../protobuf.js';
import { eventFault } from './event-check.js';

/** `parts` are whole elements, as splicing yields them; the returned valid ones are views. */
export function soundParts(parts: readonly Buffer[]): { readonly sound: Buffer[]; readonly unsoundEvents: number } {
  const sound: Buffer[] = [];
  let unsoundEvents = 0;
  for (const part of parts) {
    const reader = new ProtoReader(part, 'events');
    for (let start = 0; reader.nextTag(); start = reader.offset) {
      const event = reader.chunk();
      if (eventFault(event, 0, event.length) === undefined) sound.push(part.subarray(start, reader.offset));
      else unsoundEvents++;
    }
  }
  return { sound, unsoundEvents };
}

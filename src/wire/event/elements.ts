/**
 * Whole elements of `EventBatch.events`, as frames have them and splicing yields them.
 *
 *   part := (0x2a | length varint | Event)*        field 5 of EventBatch
 */
import { ProtoReader } from '../protobuf.js';

/** Calls `each` with every event, and with the place of its element in the part. */
export function eachEvent(part: Buffer, each: (event: Buffer, from: number, to: number) => void): void {
  const reader = new ProtoReader(part, 'events');
  for (let from = 0; reader.nextTag(); from = reader.offset) {
    const event = reader.chunk();
    each(event, from, reader.offset);
  }
}

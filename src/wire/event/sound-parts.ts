/**
 * Picks the decodable events of a batch, for readers that must go on though some are invalid. Frames are checked when
 * they arrive, but a log may hold frames from before that check existed.
 */
import { eachEvent } from './elements.js';
import { eventFault } from './event-check.js';

export interface SoundParts {
  /** One for each valid event; views. */
  readonly sound: Buffer[];
  /** By part of `sound`, its place among all events. */
  readonly places: number[];
  readonly unsoundEvents: number;
}

/** `parts` are whole elements, as splicing yields them. */
export function soundParts(parts: readonly Buffer[]): SoundParts {
  const sound: Buffer[] = [];
  const places: number[] = [];
  let unsoundEvents = 0;
  for (const part of parts) {
    eachEvent(part, (event, from, to) => {
      if (eventFault(event, 0, event.length) !== undefined) unsoundEvents++;
      else places[sound.push(part.subarray(from, to)) - 1] = sound.length + unsoundEvents - 1;
    });
  }
  return { sound, places, unsoundEvents };
}

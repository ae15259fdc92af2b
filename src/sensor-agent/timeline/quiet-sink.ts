/** Withholds a timeline's events from its sink while the end of a recording is read again. */
import type { TimelineSink } from './timeline-sink.js';

/** Events that are read again at start were told before; `open` lets later ones through. */
export function quiet(sink: TimelineSink): TimelineSink & { open(): void } {
  let reading = true;
  return {
    wants: (type) => !reading && sink.wants(type),
    // Entries that wait at the end of the recording are told once the agent goes on, so they must be noted already.
    entryTest: (format) => sink.entryTest(format),
    event: (event) => sink.event(event),
    loss: (loss, position, from) => reading || sink.loss(loss, position, from),
    late: (event, told) => reading || sink.late(event, told),
    open: () => {
      reading = false;
    },
  };
}

/** Keeps what a timeline tells from its sink while the end of a recording is read again. */
import type { TimelineSink } from './timeline-sink.js';

/** What is read again at start was told before; `open` lets through what follows. */
export function quiet(sink: TimelineSink): TimelineSink & { open(): void } {
  let reading = true;
  return {
    wants: (type) => !reading && sink.wants(type),
    // What waits at the end of the recording is told once the agent goes on.
    entryTest: (format) => sink.entryTest(format),
    event: (event) => sink.event(event),
    loss: (loss, position, from) => reading || sink.loss(loss, position, from),
    late: (event, told) => reading || sink.late(event, told),
    open: () => {
      reading = false;
    },
  };
}

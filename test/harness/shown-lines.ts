/** Event lines as `observe` shows them without a terminal, with times in UTC. */
import { type EventLine, eventLines, type OutputFormat } from '../../src/cli/render/event-lines.js';
import { parseFieldMask } from '../../src/cli/render/field-mask.js';
import { PLAIN } from '../../src/cli/render/palette.js';
import { type EventMessage, eventCodec } from '../../src/wire/messages.js';
import { ReceivedEvent } from '../../src/wire/received-batch.js';

export function lines(format: OutputFormat, mask?: string) {
  return eventLines(format, {
    palette: PLAIN,
    mask: mask === undefined ? undefined : parseFieldMask(mask),
    times: { format: 'clock', utc: true },
    terminal: false,
  });
}

export function show(line: EventLine, event: EventMessage): string {
  return line('node-a', event.type.split('.')[0] ?? '', received(event));
}

/** The event as it would come. */
export function received(event: EventMessage): ReceivedEvent {
  return new ReceivedEvent(eventCodec.encode(event));
}

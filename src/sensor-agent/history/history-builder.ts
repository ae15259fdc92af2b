/** Collects a query's matches into history frames: runs of one topic and epoch, in position order. */
import { HISTORY_FRAME_BYTES } from '../../limits.js';
import type { BusEvent } from '../../wire/event/event.js';
import { EventWriter } from '../../wire/event/event-writer.js';
import type { FieldMask } from '../../wire/event/field-mask.js';
import type { HistoryFrame } from '../../wire/frame/history-frame.js';

/** One match, encoded. */
export interface EncodedEvent {
  readonly topic: string;
  readonly epoch: number;
  readonly timeNs: bigint;
  readonly lane: number;
  readonly tie: number;
  readonly wallNs: bigint;
  readonly run: Buffer;
}

export class HistoryBuilder {
  #events: EncodedEvent[] = [];
  #bytes = 0;

  readonly #send: (frame: HistoryFrame) => void;

  constructor(send: (frame: HistoryFrame) => void) {
    this.#send = send;
  }

  add(event: EncodedEvent): void {
    const last = this.#events.at(-1);
    if (last && (last.topic !== event.topic || last.epoch !== event.epoch)) this.flush();
    this.#events.push(event);
    this.#bytes += event.run.length;
    if (this.#bytes >= HISTORY_FRAME_BYTES) this.flush();
  }

  flush(): void {
    const events = this.#events;
    if (events.length === 0) return;
    this.#events = [];
    this.#bytes = 0;
    this.#send({
      topic: events[0]!.topic,
      epoch: events[0]!.epoch,
      eventSizes: events.map((event) => event.run.length),
      wallNs: BigUint64Array.from(events, (event) => event.wallNs),
      timesNs: BigUint64Array.from(events, (event) => event.timeNs),
      lanes: events.map((event) => event.lane),
      ties: events.map((event) => event.tie),
      events: Buffer.concat(events.map((event) => event.run)),
    });
  }
}

const writer = new EventWriter();

export function encodeEvent(event: BusEvent, mask: FieldMask | undefined): EncodedEvent {
  const { epoch, timeNs, lane, tie } = event.position;
  writer.write(event, mask);
  return { topic: event.topic, epoch, timeNs, lane, tie, wallNs: event.wallNs, run: writer.take() };
}

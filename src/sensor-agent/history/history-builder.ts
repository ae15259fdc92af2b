/**
 * Collects a query's matches into history frames: runs of one topic and epoch, in position order. What is collected takes
 * little more memory than the frames will.
 */
import { HISTORY_FRAME_BYTES, HISTORY_MATCH_INDICES_MAX, LAST_BYTES_MAX, SELECTORS_MAX } from '../../limits.js';
import type { BusEvent } from '../../wire/event/event.js';
import { EventWriter } from '../../wire/event/event-writer.js';
import type { FieldMask } from '../../wire/event/field-mask.js';
import type { HistoryFrame } from '../../wire/frame/history-frame.js';
import type { Match } from '../../wire/frame/match.js';
import { sliceMatches } from '../../wire/frame/splice.js';
import type { Position } from '../../wire/position.js';

export class HistoryBuilder {
  readonly #writer = new EventWriter();
  #topic = '';
  #sizes: number[] = [];
  #positions: Position[] = [];
  #wallNs: bigint[] = [];
  #matches = new Map<bigint, number[]>();
  /** Number of event indices in all match lists together. */
  #indices = 0;
  /** Something is missing before the next event, and before one of those that are collected. */
  #lacks = false;
  #isIncomplete = false;

  readonly #send: (frame: HistoryFrame) => void;
  readonly #frameBytes: () => number;

  /** @param frameBytes how much is gathered into a frame, at most HISTORY_FRAME_BYTES */
  constructor(send: (frame: HistoryFrame) => void, frameBytes = () => HISTORY_FRAME_BYTES) {
    this.#send = send;
    this.#frameBytes = frameBytes;
  }

  /** Something is missing, or may be, between the last event and the next one, or the end. */
  missing(): void {
    this.#lacks = true;
  }

  /** Whether something is missing behind the last event. */
  get lacksEnd(): boolean {
    return this.#lacks;
  }

  /**
   * Returns the bytes that the event takes. `predicateIds`: those that it matches, of a query that has several; none where
   * there is one.
   */
  add(event: BusEvent, mask: FieldMask | undefined, predicateIds: readonly bigint[]): number {
    const last = this.#positions.at(-1);
    if (last && (this.#topic !== event.topic || last.epoch !== event.position.epoch)) this.flush();
    this.#isIncomplete ||= this.#lacks;
    this.#lacks = false;
    const bytes = this.#writer.write(event, mask);
    for (const id of predicateIds) {
      const indices = this.#matches.get(id);
      if (indices) indices.push(this.#sizes.length);
      else this.#matches.set(id, [this.#sizes.length]);
    }
    this.#indices += predicateIds.length;
    this.#topic = event.topic;
    this.#sizes.push(bytes);
    this.#positions.push(event.position);
    this.#wallNs.push(event.wallNs);
    const indicesFull = this.#indices > HISTORY_MATCH_INDICES_MAX - SELECTORS_MAX;
    if (indicesFull || this.#writer.length >= this.#frameBytes()) this.flush();
    return bytes;
  }

  flush(): void {
    const positions = this.#positions;
    const [first] = positions;
    if (first === undefined) return;
    const frame: HistoryFrame = {
      topic: this.#topic,
      epoch: first.epoch,
      eventSizes: this.#sizes,
      wallNs: BigUint64Array.from(this.#wallNs),
      timesNs: BigUint64Array.from(positions, ({ timeNs }) => timeNs),
      lanes: positions.map(({ lane }) => lane),
      ties: positions.map(({ tie }) => tie),
      matches: this.#takeMatches(),
      incomplete: this.#isIncomplete,
      events: this.#writer.take(),
    };
    this.#isIncomplete = false;
    this.#sizes = [];
    this.#positions = [];
    this.#wallNs = [];
    this.#send(frame);
  }

  #takeMatches(): Match[] {
    const matches = Array.from(this.#matches, ([predicateId, indices]): Match => {
      const all = indices.length === this.#sizes.length;
      return { predicateId, all, indices: all ? [] : indices };
    });
    this.#matches = new Map();
    this.#indices = 0;
    return matches;
  }
}

/**
 * The newest events of a stretch, as frames: no more of them than a frame before the last `wanted`, and than a frame
 * before what no broker takes. Brokers refuse what is more than LAST_BYTES_MAX, so what is left out then is never missing
 * in an answer.
 */
export class NewestFrames {
  readonly frames: HistoryFrame[] = [];
  /** Events in them, and their bytes. */
  count = 0;
  bytes = 0;
  readonly #wanted: number;

  constructor(wanted: number) {
    this.#wanted = wanted;
  }

  add(frame: HistoryFrame): void {
    this.frames.push(frame);
    this.count += frame.eventSizes.length;
    this.bytes += frame.events.length;
    while (this.#doesWithout(this.frames[0]!)) {
      const { eventSizes, events } = this.frames.shift()!;
      this.count -= eventSizes.length;
      this.bytes -= events.length;
    }
  }

  /** Whether there is enough without the oldest frame. */
  #doesWithout({ eventSizes, events }: HistoryFrame): boolean {
    return this.count - eventSizes.length >= this.#wanted || this.bytes - events.length > LAST_BYTES_MAX;
  }
}

/** The frame without its first events. */
export function withoutFirst(frame: HistoryFrame, events: number): HistoryFrame {
  if (events <= 0) return frame;
  const { eventSizes, wallNs, timesNs, lanes, ties, matches } = frame;
  let bytes = 0;
  for (let at = 0; at < events; at += 1) bytes += eventSizes[at]!;
  return {
    ...frame,
    eventSizes: eventSizes.slice(events),
    wallNs: wallNs.slice(events),
    timesNs: timesNs.slice(events),
    lanes: lanes.slice(events),
    ties: ties.slice(events),
    matches: sliceMatches(matches, events, eventSizes.length),
    events: frame.events.subarray(bytes),
  };
}

/** Collects one topic's matches into the next frame, each event encoded once. */
import { FRAME_EVENTS_MAX, FRAME_FLUSH_BYTES } from '../limits.js';
import type { BusEvent } from '../wire/event.js';
import { EventWriter } from '../wire/event-writer.js';
import type { Frame, Match } from '../wire/frame.js';
import type { Position } from '../wire/position.js';

export class FrameBuilder {
  #writer = new EventWriter();
  #sizes: number[] = [];
  #times: bigint[] = [];
  #lanes: number[] = [];
  #ties: number[] = [];
  #matches = new Map<bigint, number[]>();
  /** Of the last event that waits. */
  last: Position | undefined;
  #lost = 0;
  #lostUnknown = false;
  #late = 0;

  constructor(
    readonly topic: string,
    /** The last frame accounted for everything up to here. */
    public coveredTo: Position,
  ) {}

  get count(): number {
    return this.#sizes.length;
  }

  /** Something to tell besides that nothing happened. */
  get telling(): boolean {
    return this.count > 0 || this.#lost > 0 || this.#lostUnknown || this.#late > 0;
  }

  get full(): boolean {
    return this.#writer.length >= FRAME_FLUSH_BYTES || this.count >= FRAME_EVENTS_MAX;
  }

  add(event: BusEvent, predicateIds: readonly bigint[]): void {
    const index = this.count;
    this.last = event.position;
    this.#sizes.push(this.#writer.write(event));
    this.#times.push(event.position.timeNs);
    this.#lanes.push(event.position.lane);
    this.#ties.push(event.position.tie);
    for (const id of predicateIds) {
      const indices = this.#matches.get(id);
      if (indices) indices.push(index);
      else this.#matches.set(id, [index]);
    }
  }

  lose(count: number, unknown: boolean): void {
    this.#lost += count;
    this.#lostUnknown ||= unknown;
  }

  late(): void {
    this.#late += 1;
  }

  /** Drops what was collected: it will be read from the recorder again. */
  abandon(): void {
    this.#writer.take();
    this.#reset();
  }

  take(coveredTo: Position, watermarkNs: bigint): Frame {
    const frame: Frame = {
      topic: this.topic,
      coveredFrom: this.coveredTo,
      coveredTo,
      count: this.count,
      eventSizes: this.#sizes,
      matches: this.#takeMatches(),
      lost: this.#lost,
      lostUnknown: this.#lostUnknown,
      late: this.#late,
      watermarkNs,
      timesNs: BigUint64Array.from(this.#times),
      lanes: this.#lanes,
      ties: this.#ties,
      events: this.#writer.take(),
    };
    this.coveredTo = coveredTo;
    this.#reset();
    return frame;
  }

  #takeMatches(): Match[] {
    return Array.from(this.#matches, ([predicateId, indices]) => {
      const all = indices.length === this.count;
      return { predicateId, all, indices: all ? [] : indices };
    });
  }

  #reset(): void {
    this.last = undefined;
    this.#sizes = [];
    this.#times = [];
    this.#lanes = [];
    this.#ties = [];
    this.#matches = new Map();
    this.#lost = 0;
    this.#lostUnknown = false;
    this.#late = 0;
  }
}

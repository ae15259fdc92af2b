/** Collects one topic's matches into the next frame, each event encoded once, or counts the matches that are shed. */
import {
  FRAME_EVENTS_MAX,
  FRAME_FLUSH_BYTES,
  FRAME_MATCH_INDICES_MAX,
  FRAME_SHED_IDS_MAX,
  PREDICATES_MAX,
} from '../../limits.js';
import type { BusEvent } from '../../wire/event/event.js';
import { EventWriter } from '../../wire/event/event-writer.js';
import { type FieldMask, namesMore } from '../../wire/event/field-mask.js';
import type { Frame, Match, Shed, StatedLoss } from '../../wire/frame/frame.js';
import { mergeLoss } from '../../wire/frame/loss.js';
import type { Position } from '../../wire/position.js';
import { CoveragePace } from './coverage-pace.js';

export class FrameBuilder {
  readonly coverage = new CoveragePace();
  #writer = new EventWriter();
  #sizes: number[] = [];
  #times: bigint[] = [];
  #lanes: number[] = [];
  #ties: number[] = [];
  #matches = new Map<bigint, number[]>();
  /** Number of event indices in all match lists together. */
  #indices = 0;
  /** By the ids of the predicates that an event matches: each of its sets once. */
  #shed = new Map<string, { readonly predicateIds: readonly bigint[]; events: number }>();
  /** Number of ids in all sets together. */
  #shedIds = 0;
  /** Events that were shed, each once. */
  shedCount = 0;
  #charged = 0;
  /** Position of the last event that was added or shed since the last frame. */
  last: Position | undefined;
  #lost = 0;
  #lostUnknown = false;
  #late = 0;
  #losses: readonly StatedLoss[] = [];
  #namedFields = false;

  /** Whether a frame ended exactly at `coveredTo`. */
  #continues: boolean;

  constructor(
    readonly topic: string,
    /** The last frame accounted for everything up to here. */
    public coveredTo: Position,
    continues: boolean,
  ) {
    this.#continues = continues;
  }

  get count(): number {
    return this.#sizes.length;
  }

  /**
   * Whether a frame should go out soon. Shed counts alone wait for the next coverage frame, so that stating them costs
   * next to nothing.
   */
  get telling(): boolean {
    return this.count > 0 || this.#lost > 0 || this.#lostUnknown || this.#late > 0 || this.#losses.length > 0;
  }

  /**
   * Whether shed matches are counted. A frame has either events or shed counts, so the other kind begins another frame.
   */
  get sheds(): boolean {
    return this.shedCount > 0;
  }

  /** Bytes that the budget was charged for the events that wait. */
  get charged(): number {
    return this.#charged;
  }

  /** Whether an event that every predicate matches might no longer fit. */
  get full(): boolean {
    const indicesFull = this.#indices > FRAME_MATCH_INDICES_MAX - PREDICATES_MAX;
    if (this.#shedIds > FRAME_SHED_IDS_MAX - PREDICATES_MAX) return true;
    return this.#writer.length >= FRAME_FLUSH_BYTES || this.count >= FRAME_EVENTS_MAX || indicesFull;
  }

  /**
   * `charge` gets the encoded event's bytes and how many predicates match; it returns what the budget took. Without a mask the event has its usual
   * fields.
   */
  add(
    event: BusEvent,
    predicateIds: readonly bigint[],
    charge: (eventBytes: number, predicates: number) => number,
    mask?: FieldMask,
  ): void {
    const index = this.count;
    // Before anything is changed here: an event that cannot be written leaves nothing behind.
    const bytes = this.#writer.write(event, mask);
    this.last = event.position;
    this.#namedFields ||= mask !== undefined && namesMore(mask);
    this.#charged += charge(bytes, predicateIds.length);
    this.#sizes.push(bytes);
    this.#times.push(event.position.timeNs);
    this.#lanes.push(event.position.lane);
    this.#ties.push(event.position.tie);
    this.#indices += predicateIds.length;
    for (const id of predicateIds) {
      const indices = this.#matches.get(id);
      if (indices) indices.push(index);
      else this.#matches.set(id, [index]);
    }
  }

  /** Counts an event that is not sent. */
  shed(position: Position, predicateIds: readonly bigint[]): void {
    this.last = position;
    this.shedCount += 1;
    const key = predicateIds.join();
    const known = this.#shed.get(key);
    if (known) known.events += 1;
    else {
      this.#shed.set(key, { predicateIds, events: 1 });
      this.#shedIds += predicateIds.length;
    }
  }

  lose(count: number, unknown: boolean): void {
    this.#lost += count;
    this.#lostUnknown ||= unknown;
  }

  /** Adds a loss whose cause is not an overrun of the kernel's buffer. */
  state(loss: StatedLoss): void {
    this.#losses = mergeLoss(this.#losses, loss);
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
      shed: [...this.#shed.values()] satisfies Shed[],
      lost: this.#lost,
      lostUnknown: this.#lostUnknown,
      late: this.#late,
      watermarkNs,
      refused: false,
      losses: this.#losses,
      continues: this.#continues,
      namedFields: this.#namedFields,
      timesNs: BigUint64Array.from(this.#times),
      lanes: this.#lanes,
      ties: this.#ties,
      events: this.#writer.take(),
    };
    this.coveredTo = coveredTo;
    this.#continues = true;
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
    this.#indices = 0;
    this.#shed = new Map();
    this.#shedIds = 0;
    this.shedCount = 0;
    this.#charged = 0;
    this.#lost = 0;
    this.#lostUnknown = false;
    this.#late = 0;
    this.#losses = [];
    this.#namedFields = false;
  }
}

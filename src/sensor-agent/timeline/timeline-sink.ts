/** What goes into and comes out of a timeline besides records: what is asked of it, and whom it tells. */
import type { BusEvent } from '../../wire/event/event.js';
import type { Position } from '../../wire/position.js';
import type { RecordedLoss } from '../recorder/recording.js';
import type { EventFormat } from '../source/pages/format.js';
import type { EntryTest } from '../source/pages/page.js';

/** Says which events somebody asks for: handed down by Timeline.ask, so that a timeline need not know who asks. */
export interface TimelineInterest {
  /** Which types are worth building; context is followed for all. */
  wants(type: string): boolean;
  /**
   * Which entries of a trace event are worth decoding: true, all; false, none. Must pass every entry that will be
   * wanted when the pages read now are told. Asked only about events that no context follows from.
   */
  entryTest(format: EventFormat): EntryTest | boolean;
  /** Set where somebody names fields that are found only then. */
  readonly named?: NamedContext | undefined;
  /** Whether an exec that has these arguments is worth building; undefined: each is. */
  readonly wantsExec?: ((args: readonly string[] | undefined) => boolean) | undefined;
}

/** What the fields that must be named are found by. */
export interface NamedContext {
  /** As this node has it now. */
  userName(uid: number): string | undefined;
}

export const NOTHING_ASKED: TimelineInterest = { wants: () => false, entryTest: () => false };

/** Receives what a timeline tells. Calls come in position order. */
export interface TimelineSink {
  event(event: BusEvent): void;
  /**
   * Events are missing about `position`, or anywhere after `from`. For a loss that comes late, both are the frontier.
   */
  loss(loss: Loss, position: Position, from?: Position): void;
  /** A wanted event came when everything up to `told` had been told: it is recorded, but has missed its turn. */
  late(event: BusEvent, told: Position): void;
}

export interface Loss {
  readonly count: number;
  /** More than `count` events are missing; how many is unknown. */
  readonly unknown: boolean;
  /** Set when the cause is not an overrun of the kernel's buffer. */
  readonly stated?: RecordedLoss | undefined;
}

/** Whom a timeline tells what happened. */
import type { BusEvent } from '../../wire/event/event.js';
import type { Position } from '../../wire/position.js';
import type { RecordedLoss } from '../recorder/recording.js';
import type { EventFormat } from '../source/pages/format.js';
import type { EntryTest } from '../source/pages/page.js';

/** What a timeline tells. Calls come in position order. */
export interface TimelineSink {
  /** Which types are worth building; context is followed for all. */
  wants(type: string): boolean;
  /**
   * Which entries of a trace event are worth decoding: true, all; false, none. Passes all that will be wanted once the
   * pages read now are told; asked of events without context. See Timeline.renew.
   */
  entryTest(format: EventFormat): EntryTest | boolean;
  event(event: BusEvent): void;
  /** Events are missing about here, or anywhere after `from`. Told behind its turn: both are the frontier. */
  loss(loss: Loss, position: Position, from?: Position): void;
  /** A wanted event came when everything up to `told` had been told: it is recorded, but has missed its turn. */
  late(event: BusEvent, told: Position): void;
}

export interface Loss {
  readonly count: number;
  /** More than count, and the kernel does not say how many. */
  readonly unknown: boolean;
  /** For another reason than that the kernel's buffer ran over. */
  readonly stated?: RecordedLoss | undefined;
}

/** What of the recording is asked for, and what it had of that. */
import type { StatedLoss } from '../../wire/frame/loss.js';
import type { Position } from '../../wire/position.js';

export interface HistoryWindow {
  /** Wall nanoseconds, inclusive. */
  readonly sinceNs: bigint | undefined;
  /** Wall nanoseconds, exclusive. */
  readonly untilNs: bigint | undefined;
  /** Exclusive. */
  readonly after: Position | undefined;
  /** Inclusive. */
  readonly upTo: Position;
  /** Only the last N matches; 0: all. */
  readonly last: number;
  /** Only events in (from, to] of one of these stretches, which ascend; undefined: no such bound. */
  readonly within?: readonly HistoryStretch[] | undefined;
}

export interface HistoryStretch {
  readonly from: Position;
  readonly to: Position;
}

export interface HistoryResult {
  readonly coveredFromNs: bigint;
  readonly coveredToNs: bigint;
  readonly evicted: boolean;
  /** The window has a start, but recording began only after it. */
  readonly beginsLater: boolean;
  readonly lost: number;
  readonly lostUnknown: boolean;
  /** Losses whose cause is not an overrun of the kernel's buffer. */
  readonly losses: readonly StatedLoss[];
  readonly late: number;
  readonly damagedBytes: number;
  readonly entriesScanned: number;
  /** Something is missing, or may be, behind the last frame. */
  readonly incomplete: boolean;
  /** What else is missing, in a sentence; empty for nothing. */
  readonly message: string;
  /** Up to where the recording was looked through. */
  readonly reached: Position;
}

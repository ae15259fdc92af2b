/** The options of a segment log. */
import type { FileOps } from '../file-ops.js';
import type { NewRecord } from './new-record.js';

export interface LogOptions {
  /** Created when it is missing; belongs to this log alone. */
  readonly dir: string;
  /** A segment is closed before it grows over this. Default SEGMENT_BYTES, and at most a quarter of bytesMax. */
  readonly segmentBytesMax?: number;
  /**
   * Bound on all segment files; the oldest are deleted first. Default: no bound, for an owner that bounds several logs
   * together.
   */
  readonly bytesMax?: number;
  /** Maximum age, by the records' own times. */
  readonly ageMsMax: number;
  readonly files?: FileOps;
  /**
   * Where syncs are relied on, a segment is synced on the caller's thread before the next one begins, so that a power
   * cut never leaves later records behind a hole.
   */
  readonly ordered?: boolean;
  /** Makes room when the disk is full; false when it cannot. Default: this log's oldest segment is deleted. */
  readonly onFull?: () => boolean;
  /** Returns the records that a new segment begins with; called when one is begun. Must not append. */
  readonly head?: () => readonly NewRecord[];
  /** Wall clock, nanoseconds since 1970, for ageing. */
  readonly now?: () => bigint;
}

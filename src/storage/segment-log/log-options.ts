/** What a segment log is opened with. */
import type { FileOps } from '../file-ops.js';
import type { NewRecord } from './new-record.js';

export interface LogOptions {
  /** Made when it is missing; belongs to this log alone. */
  readonly dir: string;
  /** A segment is closed before it grows over this. Default SEGMENT_BYTES, and at most a quarter of bytesMax. */
  readonly segmentBytesMax?: number;
  /** Of all segment files; the oldest go first. Default: no bound, for an owner that bounds several logs together. */
  readonly bytesMax?: number;
  /** By the records' own times. */
  readonly ageMsMax: number;
  readonly files?: FileOps;
  /**
   * A segment is synced before the next begins, on the caller's thread, where syncs are relied on: a power cut then
   * leaves nothing behind what it took.
   */
  readonly ordered?: boolean;
  /** Makes room when the disk is full; false when it cannot. Default: this log's oldest segment goes. */
  readonly onFull?: () => boolean;
  /** The records that a new segment begins with; called when one is begun. Must not append. */
  readonly head?: () => readonly NewRecord[];
  /** Wall clock, nanoseconds since 1970, for ageing. */
  readonly now?: () => bigint;
}

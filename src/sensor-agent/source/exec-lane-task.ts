/** What the exec lane and its workers tell each other. */
import type { ExecRecord } from './source.js';
import type { Field } from './tracefs/field.js';

/** A worker's orders (its workerData). */
export interface ExecLaneTask {
  /** trace_pipe_raw of each CPU; just one when `blocking`. */
  readonly lanes: readonly { readonly lane: number; readonly path: string }[];
  readonly blocking: boolean;
  readonly pageBytes: number;
  readonly eventId: number;
  readonly fields: readonly Field[];
  /**
   * Int32. [STOP] is 1 when the lane stops, [QUEUED] counts bytes posted and
   * not yet taken by the main thread. From [DESCRIPTORS + lane] on: the open
   * file of each lane, -1 for none. Whoever exchanges one for -1 closes it.
   */
  readonly state: SharedArrayBuffer;
}

export const STOP = 0;
export const QUEUED = 1;
export const DESCRIPTORS = 2;

/** A worker's report: every exec of one page. */
export interface ExecBatch {
  readonly records: readonly ExecRecord[];
  /** By their strings; to be taken off [QUEUED]. */
  readonly bytes: number;
  readonly lost: number;
  readonly lostUnknown: boolean;
}

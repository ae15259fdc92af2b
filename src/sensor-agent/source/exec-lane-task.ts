/** What the exec lane and its workers tell each other. */
import type { ExecRecord } from './source.js';
import type { Field } from './tracefs/format.js';

/** A worker's orders (its workerData). */
export interface ExecLaneTask {
  /** Descriptors of trace_pipe_raw, opened by the main thread; blocking when `blocking`, then just one. */
  readonly lanes: readonly { readonly lane: number; readonly fd: number }[];
  readonly blocking: boolean;
  readonly pageBytes: number;
  readonly eventId: number;
  readonly fields: readonly Field[];
  /** Int32: [STOP] is 1 when the lane stops, [QUEUED] counts bytes posted and not yet taken by the main thread. */
  readonly state: SharedArrayBuffer;
}

export const STOP = 0;
export const QUEUED = 1;
export const STATE_BYTES = 8;

/** A worker's report: every exec of one page. */
export interface ExecBatch {
  readonly records: readonly ExecRecord[];
  /** By their strings; to be taken off [QUEUED]. */
  readonly bytes: number;
  readonly lost: number;
  readonly lostUnknown: boolean;
}

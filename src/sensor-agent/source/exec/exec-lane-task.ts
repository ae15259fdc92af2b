/** The orders that the exec lane gives its threads, and the memory that they share. */
import type { TraceField } from '../pages/field.js';

/** A thread's orders (its workerData). */
export interface ExecLaneTask {
  /** trace_pipe_raw of each CPU; just one when `blocking`. */
  readonly lanes: readonly { readonly lane: number; readonly path: string }[];
  /** A list of CPUs, as taskset takes it, that are not the lane's own; empty for all. */
  readonly cpuList: string;
  readonly blocking: boolean;
  readonly pageBytes: number;
  readonly eventId: number;
  readonly fields: readonly TraceField[];
  /**
   * Int32. [STOP] is 1 when the lane stops. [READ]: entries that all threads have
   * read, modulo 2^32. From [DESCRIPTORS + lane] on: the
   * open file of each lane, -1 for none. Whoever exchanges one for -1 closes it.
   */
  readonly state: SharedArrayBuffer;
  /** The thread's own, of ExecRing. */
  readonly ring: SharedArrayBuffer;
}

export const STOP = 0;
export const READ = 1;
export const DESCRIPTORS = 2;

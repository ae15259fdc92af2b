/**
 * The orders of a thread that reads command lines, and the memory that it shares with who asks. One request is open at a
 * time:
 *
 *   Memory := requests i32 | answers i32 | pid i32 | length i32 (GONE: not to be read) | bytes
 *   Both count modulo 2^32; a request is answered when `answers` has its number.
 */
import { ARGUMENTS_BYTES_MAX } from '../../../limits.js';

/** Its workerData. */
export interface CommandLineTask {
  readonly memory: SharedArrayBuffer;
  /** `/proc`, but in tests. */
  readonly folder: string;
}

export const REQUESTS = 0;
export const ANSWERS = 1;
export const PID = 2;
export const LENGTH = 3;
export const GONE = -1;
const HEAD_WORDS = 4;
const HEAD_BYTES = HEAD_WORDS * 4;
export const MEMORY_BYTES = HEAD_BYTES + ARGUMENTS_BYTES_MAX;

export function headOf(memory: SharedArrayBuffer): Int32Array<SharedArrayBuffer> {
  return new Int32Array(memory, 0, HEAD_WORDS);
}

export function bytesOf(memory: SharedArrayBuffer): Buffer<SharedArrayBuffer> {
  return Buffer.from(memory, HEAD_BYTES);
}

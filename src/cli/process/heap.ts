/** Bounds of the heap for a whole process, which is small for agents and brokers. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Called before the program's code is loaded. */
export function boundHeap(): void {
  // Otherwise the young generation may grow to 48 MiB, a third of the memory that a whole agent may use.
  setFlagsFromString('--semi-space-growth-factor=1');
  // Otherwise the old generation grows to four times its live data before it is collected.
  setFlagsFromString('--heap-growing-percent=30');
  // For collectGarbage(): contexts that are made from here on have it.
  setFlagsFromString('--expose-gc');
}

/** Takes some 50 ms. A process that has become quiet would otherwise keep the garbage of what it did before. */
export function collectGarbage(): void {
  runInNewContext('globalThis.gc?.()');
}

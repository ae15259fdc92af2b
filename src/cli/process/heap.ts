/** Bounds of the heap for a whole process, which is small for agents and brokers. */
import { setFlagsFromString } from 'node:v8';

/** Called before the program's code is loaded: V8 takes compiled functions only with the flags that it made them with. */
export function boundHeap(): void {
  // Otherwise the young generation may grow to 48 MiB, a third of the memory that a whole agent may use.
  setFlagsFromString('--semi-space-growth-factor=1');
  // Otherwise the old generation grows to four times its live data before it is collected.
  setFlagsFromString('--heap-growing-percent=30');
}

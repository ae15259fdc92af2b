/** How V8 works for a whole process: bounds of its heap, which are small for agents and brokers, and when it compiles. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** For a process that runs for long, beside the work of others. Called before its code is loaded. */
export function setUpServer(): void {
  boundYoungGeneration();
  // V8 of Node 20 takes that back with the heap of each further thread.
  process.on('worker', (worker) => worker.once('online', boundYoungGeneration));
  // Otherwise the old generation grows to four times its live data before it is collected.
  setFlagsFromString('--heap-growing-percent=30');
  // So little is left of so small a generation that waking other threads for it takes longer than copying it.
  setFlagsFromString('--no-parallel-scavenge');
  // For collectGarbage(): contexts that are made from here on have it.
  setFlagsFromString('--expose-gc');
  compileSooner();
}

let growthFactor = 1;

/** Otherwise it may grow to 48 MiB, a third of the memory that a whole agent may use. */
function boundYoungGeneration(): void {
  setFlagsFromString(`--semi-space-growth-factor=${growthFactor}`);
}

/**
 * Agents and subscribers of so many connections leave so much that is in use when the small generation is full, many times a
 * second, that copying it is a third of a broker's work. Then it may grow, by some 35 MiB.
 */
const CONNECTIONS_OF_A_CROWD = 100;

/** @param connections of a broker */
export function fitYoungGeneration(connections: number): void {
  const factor = connections < CONNECTIONS_OF_A_CROWD ? 1 : 2;
  if (factor === growthFactor) return;
  growthFactor = factor;
  boundYoungGeneration();
}

/**
 * For a process that runs for long: most of what it does it does some ten times a second, which V8 of Node 20 would
 * interpret for minutes. Later ones compile such code by themselves, and do not know this flag.
 */
export function compileSooner(): void {
  if (process.versions.v8.startsWith('11.')) setFlagsFromString('--interrupt-budget=20000');
}

/** Takes some 50 ms. A process that has become quiet would otherwise keep the garbage of what it did before. */
export function collectGarbage(): void {
  runInNewContext('globalThis.gc?.()');
}

/** What the fault tests share: the seed of this run, and what a failure tells. */
import assert from 'node:assert/strict';
import type { Outcome } from './run.js';

/** BACKPLANE_FAULT_SEED repeats a run. */
export const SEED = Number(process.env.BACKPLANE_FAULT_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`# BACKPLANE_FAULT_SEED=${SEED}`);

export function holds({ violations, history }: Outcome): void {
  const told = `BACKPLANE_FAULT_SEED=${SEED}\n${violations.join('\n')}\n\nwhat was done:\n${history.join('\n')}`;
  assert.equal(violations.length, 0, told);
}

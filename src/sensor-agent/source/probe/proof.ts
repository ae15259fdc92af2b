/**
 * Where probes are tried before they are believed: a trace instance of their own, and a group of their own, so that what
 * an agent that was killed leaves is either proved or was on nowhere else. Once proved they are defined again, in the
 * group of those that are used.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { removeInstance } from '../tracefs/instance.js';
import { put } from '../tracefs/put.js';
import { trialGroup, undefineAll } from './definitions.js';

const PROOF_KB_PER_CPU = '64';

/** Name of the trace instance in which a recorder's probes are proved. */
export function proofName(recorderId: string): string {
  return `backplane-${recorderId}-proof`;
}

/**
 * Removes what an agent left that ended while it proved its probes. What it left in other groups was proved, and stays:
 * removing a definition erases all that is unread where it was ever on.
 */
export function abandonProof(tracefs: string, recorderId: string): void {
  removeInstance(join(tracefs, 'instances', proofName(recorderId)));
  undefineAll(tracefs, trialGroup(recorderId));
}

/** Throws what the kernel says. `prove` is given the instance's path, and defines what it tries in the trial group. */
export async function withProof<Result>(
  tracefs: string,
  recorderId: string,
  prove: (instance: string) => Result | Promise<Result>,
): Promise<Result> {
  const instance = join(tracefs, 'instances', proofName(recorderId));
  try {
    mkdirSync(instance);
    put(join(instance, 'buffer_size_kb'), PROOF_KB_PER_CPU);
    return await prove(instance);
  } finally {
    removeInstance(instance);
    undefineAll(tracefs, trialGroup(recorderId));
  }
}

/** Where probes are tried before they are believed: a trace instance of their own. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { removeInstance } from '../tracefs/instance.js';
import { put } from '../tracefs/put.js';
import { recordedGroup, undefineAll } from './definitions.js';

const PROOF_KB_PER_CPU = '64';

/** Name of the trace instance in which a recorder's probes are proved. */
export function proofName(recorderId: string): string {
  return `backplane-${recorderId}-proof`;
}

/** Removes what an agent left that ended while it proved its probes: it had not proved them. */
export function abandonProof(tracefs: string, recorderId: string): void {
  const instance = join(tracefs, 'instances', proofName(recorderId));
  if (!existsSync(instance)) return;
  removeInstance(instance);
  undefineAll(tracefs, recordedGroup(recorderId));
}

/** Throws what the kernel says. `prove` is given the instance's path. */
export function withProof<Result>(tracefs: string, recorderId: string, prove: (instance: string) => Result): Result {
  const instance = join(tracefs, 'instances', proofName(recorderId));
  try {
    mkdirSync(instance);
    put(join(instance, 'buffer_size_kb'), PROOF_KB_PER_CPU);
    return prove(instance);
  } finally {
    removeInstance(instance);
  }
}

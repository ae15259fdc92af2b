/** Handling of state files that cannot be parsed. */
import { renameSync } from 'node:fs';
import { systemErrorCode } from '../../../storage/file-ops.js';

/** Renames a state file that cannot be parsed; returns what became of it, for a message. Never throws. */
export function putAside(file: string): string {
  const aside = `${file}.damaged`;
  try {
    renameSync(file, aside);
    return `it is kept as ${aside}`;
  } catch (cause) {
    // The file stays in place and the next save replaces it.
    return `it cannot be kept (${systemErrorCode(cause) ?? cause})`;
  }
}

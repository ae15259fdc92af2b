/** What becomes of a file of state that cannot be understood. */
import { renameSync } from 'node:fs';
import { systemErrorCode } from '../../../storage/file-ops.js';

/** Keeps a file that cannot be understood under another name; says what became of it. Never throws. */
export function putAside(file: string): string {
  const aside = `${file}.damaged`;
  try {
    renameSync(file, aside);
    return `it is kept as ${aside}`;
  } catch (cause) {
    // The next save replaces it.
    return `it cannot be kept (${systemErrorCode(cause) ?? cause})`;
  }
}

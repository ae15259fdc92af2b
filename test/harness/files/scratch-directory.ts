/** Directories for tests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made: string[] = [];

// Not when a test ends: what it has started may still write, and hooks run in the order in which they were registered.
process.once('exit', () => {
  for (const dir of made) {
    try {
      rmSync(dir, { recursive: true, force: true });
    } catch {
      // A process that was just killed wrote once more, or something is mounted there.
    }
  }
});

/** A new one, removed when the test file has ended. `purpose`: a word for its name. */
export function scratchDirectory(purpose = 'test'): string {
  const dir = mkdtempSync(join(tmpdir(), `backplane-${purpose}-`));
  made.push(dir);
  return dir;
}

/** The one write to control files of tracefs. */
import { closeSync, constants, openSync, writeSync } from 'node:fs';

/** Writes like `echo text > path` but never truncates, as that would clear a file's other lines. */
export function put(path: string, text: string): void {
  const fd = openSync(path, constants.O_WRONLY);
  try {
    writeSync(fd, text);
  } finally {
    closeSync(fd);
  }
}

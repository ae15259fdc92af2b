/** The one read that everything reads pages with; apart from drain.ts because exec lane workers load it. */
import { readSync } from 'node:fs';

/** Bytes read; 0 when there is nothing (after a child process was spawned, 0 comes instead of EAGAIN). */
export function readPage(fd: number, buffer: Buffer): number {
  try {
    return readSync(fd, buffer, 0, buffer.length, null);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'EAGAIN' || code === 'EINTR') return 0;
    throw cause;
  }
}

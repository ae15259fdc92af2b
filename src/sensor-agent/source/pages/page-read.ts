/** The one read that everything reads pages with; apart from drain.ts because exec lane workers load it. */
import { readSync } from 'node:fs';

/**
 * Bytes read; 0 when there is nothing (after a child process was spawned, 0 comes instead of EAGAIN). Each drain ends with
 * such a read of each buffer, and noting the stack of an error that is no failure took longer than the read.
 */
export function readPage(fd: number, buffer: Buffer): number {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return readSync(fd, buffer, 0, buffer.length, null);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'EAGAIN' || code === 'EINTR') return 0;
    throw cause;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

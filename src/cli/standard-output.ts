/**
 * Checks that a command's output was taken. A stdout that fails (a full disk) makes any command a failure, because a
 * script would otherwise read a truncated result without notice. A reader that has gone (`| head`) got what it wanted.
 * A stderr that fails is no failure.
 */
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { OUTPUT_STALLED_MS } from '../limits.js';

export interface StandardOutput {
  /**
   * Waits until all output is taken; `interrupted`: for OUTPUT_STALLED_MS at most. Returns the reason when it could not be
   * written.
   */
  end(interrupted: boolean): Promise<string | undefined>;
}

/** Call before anything is written. */
export function watchOutput(out: Writable, err: Writable): StandardOutput {
  let failure: NodeJS.ErrnoException | undefined;
  const note = (cause: NodeJS.ErrnoException) => {
    failure ??= cause;
  };
  out.on('error', note);
  err.on('error', () => {});
  return {
    async end(interrupted) {
      // Calls back behind everything that was written before, also when the stream has failed.
      const taken = new Promise<void>((resolve) => out.write('', () => resolve()));
      await (interrupted ? Promise.race([taken, sleep(OUTPUT_STALLED_MS)]) : taken);
      // The event comes a turn after the callback.
      await new Promise((resolve) => setImmediate(resolve));
      if (failure === undefined || failure.code === 'EPIPE' || failure.code === 'ERR_STREAM_DESTROYED')
        return undefined;
      const reason = failure.code === 'ENOSPC' ? 'no space left on the device' : failure.message;
      return `stdout could not be written: ${reason}${failure.code === 'ENOSPC' ? ' (ENOSPC)' : ''}`;
    },
  };
}

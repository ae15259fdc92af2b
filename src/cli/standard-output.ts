/**
 * What becomes of a command's own output. A stdout that takes nothing (a full
 * disk) makes the command a failure, whichever verb it is: what a script reads
 * would be cut without a word. A reader that has gone (`| head`) had what it
 * wanted. A stderr that takes nothing is nobody's failure.
 */
import type { Writable } from 'node:stream';

export interface StandardOutput {
  /** Waits until all that was written is taken. Returns why it was not, in words. */
  end(): Promise<string | undefined>;
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
    async end() {
      // Calls back behind everything that was written before, also when the stream has failed.
      await new Promise<void>((resolve) => out.write('', () => resolve()));
      // The event comes a turn after the callback.
      await new Promise((resolve) => setImmediate(resolve));
      if (failure === undefined || failure.code === 'EPIPE' || failure.code === 'ERR_STREAM_DESTROYED')
        return undefined;
      const reason = failure.code === 'ENOSPC' ? 'no space left on the device' : failure.message;
      return `stdout could not be written: ${reason}${failure.code === 'ENOSPC' ? ' (ENOSPC)' : ''}`;
    },
  };
}

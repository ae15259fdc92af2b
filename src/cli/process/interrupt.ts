/**
 * Ctrl-C and SIGTERM: the first asks a command to end in order, the second ends it at once. A terminal that closes asks
 * likewise, however often it says so: its shell and the kernel both do.
 */

/** Exit code of a command that was interrupted, by whichever signal. */
export const INTERRUPTED = 130;

export interface Interrupt {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** Removes the handlers, but for a terminal's: its second word may come when all is done. */
  release(): void;
}

/** `atOnce` runs in front of the end that a second signal brings: synchronous, to leave nothing behind. */
export function watchInterrupt(atOnce: () => void = () => {}): Interrupt {
  const controller = new AbortController();
  const onHangup = () => controller.abort();
  const onSignal = () => {
    if (!controller.signal.aborted) {
      controller.abort();
      return;
    }
    atOnce();
    process.exit(INTERRUPTED);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  process.on('SIGHUP', onHangup);
  return {
    signal: controller.signal,
    release() {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

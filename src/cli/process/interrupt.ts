/**
 * Ctrl-C and SIGTERM: the first asks a command to end in order, the second ends it at once. A hangup of the terminal
 * always asks for an orderly end, because shell and kernel may both send it.
 */

/** Exit code of a command that was interrupted, by whichever signal. */
export const INTERRUPTED = 130;

export interface Interrupt {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** All is done: from now on a signal ends the process at once, but not as if it had been killed. */
  release(): void;
}

/** `atOnce` runs synchronously before the exit that a second signal causes, to leave nothing behind. */
export function watchInterrupt(atOnce: () => void = () => {}): Interrupt {
  const controller = new AbortController();
  const onHangup = () => controller.abort();
  let released = false;
  const onSignal = () => {
    if (released) process.exit(INTERRUPTED);
    if (controller.signal.aborted) {
      atOnce();
      process.exit(INTERRUPTED);
    }
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  process.on('SIGHUP', onHangup);
  return {
    signal: controller.signal,
    release() {
      released = true;
    },
  };
}

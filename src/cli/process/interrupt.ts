/**
 * Ctrl-C and SIGTERM: the first asks a command to end in order, the second ends it at once. A hangup of the terminal
 * always asks for an orderly end, because shell and kernel may both send it.
 */

/** Exit code of a command that was interrupted, by whichever signal. */
export const INTERRUPTED = 130;

export interface Interrupt {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** Removes the handlers, except the one for hangups: a second hangup may come when all is done. */
  release(): void;
  /**
   * From now on a hangup calls `reload` instead of ending the command, unless it was started from a terminal, whose
   * closing is told in the same way.
   */
  onReload(reload: () => void): void;
}

/** `atOnce` runs synchronously before the exit that a second signal causes, to leave nothing behind. */
export function watchInterrupt(atOnce: () => void = () => {}): Interrupt {
  const controller = new AbortController();
  let onHangup = () => controller.abort();
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
  process.on('SIGHUP', () => onHangup());
  return {
    signal: controller.signal,
    release() {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
    onReload(reload) {
      if (![process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY)) onHangup = reload;
    },
  };
}

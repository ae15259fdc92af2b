/** Ctrl-C, SIGTERM and a terminal that closes: the first asks a command to end in order, the second ends it at once. */

/** Exit code of a command that was interrupted, by whichever signal. */
export const INTERRUPTED = 130;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interrupt {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** Removes the handlers. */
  release(): void;
}

/** `atOnce` runs in front of the end that a second signal brings: synchronous, to leave nothing behind. */
export function watchInterrupt(atOnce: () => void = () => {}): Interrupt {
  const controller = new AbortController();
  const onSignal = () => {
    if (!controller.signal.aborted) {
      controller.abort();
      return;
    }
    atOnce();
    process.exit(INTERRUPTED);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    signal: controller.signal,
    release() {
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}

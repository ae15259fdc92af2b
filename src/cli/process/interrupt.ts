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

/**
 * `atOnce` runs synchronously before the exit that a second signal causes, to leave nothing behind. `reload` is called
 * for a hangup of a process without a terminal, which is how daemons are asked to read their files again; it returns
 * false where there is nothing to read: then a hangup ends the process as everywhere else.
 */
export function watchInterrupt(atOnce: () => void = () => {}, reload: () => boolean = () => false): Interrupt {
  const controller = new AbortController();
  let released = false;
  const onHangup = () => {
    if (hasTerminal() || controller.signal.aborted || !reload()) controller.abort();
  };
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

/** A terminal that was closed still counts. */
function hasTerminal(): boolean {
  return process.stdin.isTTY === true || process.stdout.isTTY === true || process.stderr.isTTY === true;
}

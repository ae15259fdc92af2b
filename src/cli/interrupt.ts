/** Ctrl-C and SIGTERM: the first asks a command to end in order, the second ends it at once. */
import { constants } from 'node:os';

type Signal = 'SIGINT' | 'SIGTERM';

export interface Interrupt {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** Which it was. */
  readonly name: Signal | undefined;
  /** Removes the handlers. */
  release(): void;
}

/** Exit code of a command that a signal ended: 130 or 143. */
export function signalExitCode(name: Signal): number {
  return 128 + constants.signals[name];
}

export function watchInterrupt(): Interrupt {
  const controller = new AbortController();
  let first: Signal | undefined;
  const onSignal = (name: Signal) => {
    if (first !== undefined) process.exit(signalExitCode(name));
    first = name;
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    signal: controller.signal,
    get name() {
      return first;
    },
    release() {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}

/** A stream that signals end without an error, and that can be left while it waits. Runs in browsers. */
import { BackplaneError } from '../../errors.js';

/**
 * Iterates what `form` makes of what `open` opens, until that ends, the loop is left, or one of the signals is aborted:
 * then what was opened is told to end by its signal. `return()` ends a `next()` that still waits, too: of a generator
 * alone it would wait for it.
 */
export function closable<Raw, Item>(
  open: (signal: AbortSignal) => AsyncIterable<Raw>,
  form: (items: AsyncIterable<Raw>, signal: AbortSignal) => AsyncGenerator<Item, void, undefined>,
  ...signals: readonly (AbortSignal | undefined)[]
): AsyncGenerator<Item, void, undefined> {
  const ending = new AbortController();
  const items = form(untilAborted(open, ending, signals), ending.signal);
  const leave = items.return.bind(items);
  items.return = (value) => {
    ending.abort();
    return leave(value);
  };
  return items;
}

/** Throws failed_precondition once the bus was closed. */
export function checkOpen(closing: AbortSignal): void {
  if (closing.aborted) throw new BackplaneError('failed_precondition', 'the bus is closed');
}

async function* untilAborted<Raw>(
  open: (signal: AbortSignal) => AsyncIterable<Raw>,
  ending: AbortController,
  signals: readonly (AbortSignal | undefined)[],
): AsyncGenerator<Raw, void, undefined> {
  const abort = () => ending.abort();
  for (const signal of signals) {
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
  }
  try {
    for await (const item of open(ending.signal)) {
      if (ending.signal.aborted) return;
      yield item;
    }
  } finally {
    for (const signal of signals) signal?.removeEventListener('abort', abort);
    abort();
  }
}

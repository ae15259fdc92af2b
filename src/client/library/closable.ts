/** A stream that signals end without an error. Runs in browsers. */

/**
 * Iterates what `open` opens, until it ends, the loop is left, or one of the signals is aborted: then what was opened is
 * told to end by its signal.
 */
export async function* closable<Item>(
  open: (signal: AbortSignal) => AsyncIterable<Item>,
  ...signals: readonly (AbortSignal | undefined)[]
): AsyncGenerator<Item, void, undefined> {
  const ending = new AbortController();
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

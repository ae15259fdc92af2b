/**
 * Calls `act` with a signal that is aborted after `ms` milliseconds, or together with the one given.
 * AbortSignal.any([signal, AbortSignal.timeout(ms)]) would not do: only a weak reference holds that timeout, and once
 * it is collected it never fires.
 */
export async function within<T>(ms: number, signal: AbortSignal, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const abort = () => controller.abort();
  const timer = setTimeout(abort, ms);
  signal.addEventListener('abort', abort);
  if (signal.aborted) abort();
  try {
    return await act(controller.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

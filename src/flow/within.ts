/**
 * Does something with a signal that is aborted after so many milliseconds, or with the one given. Not
 * AbortSignal.any([signal, AbortSignal.timeout(ms)]): nothing but a weak reference holds that timeout, and it never comes
 * once it has been collected.
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

/** Timers of any length. Node's own hold 31 bits of milliseconds (24.8 days), and fire at once beyond that. */

const TIMER_MS_MAX = 2 ** 31 - 1;

/**
 * Calls `act` once after `ms` milliseconds, however many. Returns a function that cancels it. Does not keep the process
 * alive.
 */
export function startLongTimer(ms: number, act: () => void, nowMs = () => performance.now()): () => void {
  const endMs = nowMs() + ms;
  let timer: NodeJS.Timeout;
  const arm = (): void => {
    const leftMs = Math.max(0, endMs - nowMs());
    timer = setTimeout(leftMs > TIMER_MS_MAX ? arm : act, Math.min(leftMs, TIMER_MS_MAX)).unref();
  };
  arm();
  return () => clearTimeout(timer);
}

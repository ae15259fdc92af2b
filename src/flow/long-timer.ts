/**
 * Timers of any length, as Node's own hold 31 bits of milliseconds (24.8 days) and fire at once beyond that; and one that
 * all looks of a second share.
 */

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

const SECOND_MS = 1_000;
const looks = new Set<() => void>();
let beat: NodeJS.Timeout | undefined;

/**
 * Calls `look` about once a second, together with all others: what a process is woken for costs more than most looks.
 * Returns a function that ends it. Does not keep the process alive.
 */
export function everySecond(look: () => void): () => void {
  looks.add(look);
  beat ??= setInterval(() => {
    for (const each of looks) each();
  }, SECOND_MS).unref();
  return () => {
    looks.delete(look);
    if (looks.size > 0) return;
    clearInterval(beat);
    beat = undefined;
  };
}

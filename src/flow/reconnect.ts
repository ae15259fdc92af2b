/** When to try again whoever went away: a process that is started again is back within a second or two. */
import { RECONNECT_MS_MAX, RECONNECT_MS_MIN, RECONNECT_SOON_ATTEMPTS, RECONNECT_SOON_MS_MAX } from '../limits.js';

/**
 * Milliseconds to wait after so many attempts in a row (1 and more) that failed. Jitter over the whole range: a thousand
 * that have lost one broker must not come back together.
 *
 * @param isAway nobody could be reached, or whoever was reached went away: it may be starting again. Not so where it
 *   answers and the attempt fails all the same: then it will fail again.
 * @param random 0 to 1
 */
export function reconnectDelayMs(failures: number, isAway = true, random = Math.random()): number {
  const soon = isAway && failures <= RECONNECT_SOON_ATTEMPTS;
  const most = soon ? RECONNECT_SOON_MS_MAX : RECONNECT_MS_MAX;
  const ceilingMs = Math.min(most, RECONNECT_MS_MIN * 2 ** Math.min(failures, 16));
  return RECONNECT_MS_MIN + random * (ceilingMs - RECONNECT_MS_MIN);
}

/** Delays before a lost peer is tried again: a process that is started again is back within a second or two. */
import {
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  RECONNECT_SOON_ATTEMPTS,
  RECONNECT_SOON_MS_MAX,
} from '../limits/client.js';

/**
 * Milliseconds to wait after `failures` failed attempts in a row (1 and more). The jitter covers the whole range,
 * because a thousand clients that lost one broker must not come back together.
 *
 * @param isAway the peer could not be reached or went away, and may be starting again; false where the peer answered
 *   and the attempt failed all the same, because it will fail again
 * @param random 0 to 1
 */
export function reconnectDelayMs(failures: number, isAway = true, random = Math.random()): number {
  const soon = isAway && failures <= RECONNECT_SOON_ATTEMPTS;
  const most = soon ? RECONNECT_SOON_MS_MAX : RECONNECT_MS_MAX;
  const ceilingMs = Math.min(most, RECONNECT_MS_MIN * 2 ** Math.min(failures, 16));
  return RECONNECT_MS_MIN + random * (ceilingMs - RECONNECT_MS_MIN);
}

/** Servers that have just started do not answer in time at first, or have not heard of each other: they are asked again for a while. */
import { setTimeout as sleep } from 'node:timers/promises';
import { NATS_PATIENCE_MS, NATS_RECONNECT_MS } from '../../limits.js';

/** What the servers say where they do not serve yet, and where they have not heard of each other yet. */
const AWAY = 10008;
const NO_PEERS = 10005;

/** @param ask may be made again whether or not the servers have done it. Rejects as it does, at the end with what came last */
export async function patiently<T>(ask: () => Promise<T>, patienceMs = NATS_PATIENCE_MS): Promise<T> {
  for (const untilMs = performance.now() + patienceMs; ; ) {
    try {
      return await ask();
    } catch (cause) {
      if (!mayPass(cause as Error) || performance.now() >= untilMs) throw cause;
    }
    await sleep(NATS_RECONNECT_MS);
  }
}

/** Everything without a number is a time-out, a lost connection, or that nobody answers. */
function mayPass({ code, message }: Error & { readonly code?: unknown }): boolean {
  if (typeof code !== 'number') return code === undefined || code === 'unavailable';
  return code === AWAY || (code === NO_PEERS && /offline/.test(message));
}

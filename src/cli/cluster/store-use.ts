/**
 * How much of its store each nats-server has promised to streams. Their files take more than what counts for max_bytes, and a
 * server whose disk is full takes nothing until it is restarted: so a part of the store must stay free.
 */
import type { MonitoredServer } from '../../broker/nats/monitoring/server-monitor.js';
import { NATS_STORE_PERCENT_MAX } from '../../limits.js';
import { compactBytes } from '../render/bytes.js';

export interface StoreUse {
  /** One line. */
  readonly text: string;
  readonly isTooMuch: boolean;
}

/** One for each address of the servers' monitoring. @param answers see askMonitors */
export function storeUses(
  monitors: readonly string[],
  answers: readonly (MonitoredServer | string)[],
): readonly StoreUse[] {
  return answers.map((answer, at) => {
    const store = `store at ${new URL(monitors[at]!).host}`;
    if (typeof answer === 'string') return { text: `${store}: unknown: ${answer}`, isTooMuch: false };
    const { promisedBytes, storeBytesMax } = answer;
    if (storeBytesMax === 0)
      return { text: `${store}: unknown: it does not say how large it may be`, isTooMuch: false };
    const percent = (100 * promisedBytes) / storeBytesMax;
    const share = `streams may take ${compactBytes(promisedBytes)} of ${compactBytes(storeBytesMax)}, ${Math.round(percent)} %`;
    if (percent <= NATS_STORE_PERCENT_MAX) return { text: `${store}: ${share}`, isTooMuch: false };
    const rule = `at most ${NATS_STORE_PERCENT_MAX} % is safe: a server whose disk is full takes nothing until it is restarted`;
    return { text: `${store}: ${share}: ${rule}`, isTooMuch: true };
  });
}

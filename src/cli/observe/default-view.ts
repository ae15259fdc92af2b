/**
 * The view of `observe` without a filter: programs that start, connections, statements of agents about themselves and
 * the events that profiles add, without the observer's own processes. It is a filter like any other.
 */
import { timestampNsText } from '../../text/time-text.js';
import type { Observer } from './observers.js';

const SHOWN = [
  'event.type in ["process.exec", "network.tcp.connect", "network.tcp.accept", "network.dns.query"]',
  'event.type in ["network.udp.connect", "network.udp.send"]',
  'event.topic in ["host", "security", "file", "syscall"]',
].join(' || ');

/** Largest difference between the kernel's time of a fork and the time computed here from /proc and two clocks. */
const CREATION_TOLERANCE_NS = 250_000_000n;

/**
 * Of this process all events are left out; of its ancestors only their start, because their other actions are not part
 * of observing.
 */
export function defaultView(observers: readonly Observer[]): string {
  const own = observers.filter(({ self }) => self).map(isProcess);
  const others = observers.filter(({ self }) => !self).map(isProcess);
  const started = others.length === 0 ? [] : [`event.type == "process.exec" && (${others.join(' || ')})`];
  const left = [...own, ...started].map((each) => `!(${each})`);
  return [`(${SHOWN})`, ...left].join(' && ');
}

/** Matches pid and start time: a pid alone is soon reused, and belongs to another process on every other node. */
function isProcess({ pid, createdNs }: Observer): string {
  const [from, to] = [createdNs - CREATION_TOLERANCE_NS, createdNs + CREATION_TOLERANCE_NS].map(timestampNsText);
  return `process.pid == ${pid} && process.creation_time > timestamp("${from}") && process.creation_time < timestamp("${to}")`;
}

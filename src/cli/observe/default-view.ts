/**
 * What `observe` shows where nobody says what: programs that start,
 * connections, what agents say about themselves and what profiles add, without
 * the processes by which it is observed. A filter like any other.
 */
import { timestampNsText } from '../../text/time-text.js';
import type { Observer } from './observers.js';

const SHOWN = [
  'event.type in ["process.exec", "network.tcp.connect", "network.tcp.accept"]',
  'event.topic in ["host", "security", "file", "syscall"]',
].join(' || ');

/** The kernel's time of a fork, and what /proc and two clocks tell here, are at most this far apart. */
const CREATION_TOLERANCE_NS = 250_000_000n;

/** Of the processes that started this one only their start is left out: what they do besides is not for observing. */
export function defaultView(observers: readonly Observer[]): string {
  const own = observers.filter(({ self }) => self).map(isProcess);
  const others = observers.filter(({ self }) => !self).map(isProcess);
  const started = others.length === 0 ? [] : [`event.type == "process.exec" && (${others.join(' || ')})`];
  const left = [...own, ...started].map((each) => `!(${each})`);
  return [`(${SHOWN})`, ...left].join(' && ');
}

/** By pid and start: a pid alone is soon another's, and on another node it is another's from the beginning. */
function isProcess({ pid, createdNs }: Observer): string {
  const [from, to] = [createdNs - CREATION_TOLERANCE_NS, createdNs + CREATION_TOLERANCE_NS].map(timestampNsText);
  return `process.pid == ${pid} && process.creation_time > timestamp("${from}") && process.creation_time < timestamp("${to}")`;
}

/** How a subscriber that is behind the log is treated (the lag policy), and how soon it wants live events. */
import { invalid } from '../../errors.js';
import { LAG_MS_DEFAULT, LAG_MS_MIN, LATENCY_MS_MAX, LATENCY_MS_MIN } from '../../limits.js';
import { msToNs, nsToMs } from '../../nanoseconds.js';
import { shown } from '../../text/shown.js';
import { durationMsText, parseDuration, parseDurationMs } from '../../text/time-text.js';

/**
 * Milliseconds beyond which a subscriber skips to the log's end; undefined: never. @throws BackplaneError
 * invalid_argument.
 */
export function checkLag(policy: string, lagMax: string): number | undefined {
  if (policy !== '' && policy !== 'keep' && policy !== 'skip') {
    throw invalid('lag_policy', `must be keep or skip, got ${shown(policy)}`);
  }
  if (policy !== 'skip') {
    if (lagMax !== '') throw invalid('lag_max', 'needs the lag policy skip: what is kept has no such bound');
    return undefined;
  }
  const lagNs = lagMax === '' ? msToNs(LAG_MS_DEFAULT) : parseDuration(lagMax);
  if (lagNs === undefined || lagNs < msToNs(LAG_MS_MIN)) {
    throw invalid(
      'lag_max',
      `must be a duration of at least ${LAG_MS_MIN / 1000}s, such as "30s", got ${shown(lagMax)}`,
    );
  }
  return nsToMs(lagNs);
}

/** Milliseconds; undefined: as nodes' settings say. @throws BackplaneError invalid_argument. */
export function checkLatency(latency: string): number | undefined {
  if (latency === '') return undefined;
  const ms = parseDurationMs(latency);
  if (ms !== undefined && ms >= LATENCY_MS_MIN && ms <= LATENCY_MS_MAX) return ms;
  throw invalid(
    'latency',
    `must be a duration of ${durationMsText(LATENCY_MS_MIN)} to ${durationMsText(LATENCY_MS_MAX)} in whole milliseconds, such as "25ms", got ${shown(latency)}`,
  );
}

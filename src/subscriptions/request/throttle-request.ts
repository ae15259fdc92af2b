/** How a subscription thins out its events: at most one in an interval for each key. */
import { invalid } from '../../errors.js';
import { THROTTLE_NS_MAX } from '../../limits.js';
import { snakePath } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { durationText, parseDuration } from '../../text/time-text.js';
import { checkFields } from '../fields.js';

export interface ThrottleRequest {
  readonly intervalNs: bigint;
  /** Canonical paths of fields of the event. */
  readonly by: readonly string[];
  readonly byNode: boolean;
  readonly byTopic: boolean;
}

/** What filters call the keys that stand beside an event. */
const BESIDE_EVENTS: ReadonlyMap<string, string> = new Map([
  ['event.topic', 'topic'],
  ['host.name', 'node'],
]);

/** Undefined when none is asked for. @throws BackplaneError invalid_argument. */
export function checkThrottle(interval: string, by: readonly string[]): ThrottleRequest | undefined {
  if (interval === '') {
    if (by.length > 0) throw invalid('throttle_by', 'needs throttle: one event of each key in which time?');
    return undefined;
  }
  const intervalNs = parseDuration(interval);
  if (intervalNs === undefined || intervalNs <= 0n || intervalNs > THROTTLE_NS_MAX) {
    const bound = `a duration above 0, at most ${durationText(THROTTLE_NS_MAX)}, such as "5s"`;
    throw invalid('throttle', `must be ${bound}, got ${shown(interval)}`);
  }
  const names = by.map((name) => BESIDE_EVENTS.get(snakePath(name.trim())) ?? name.trim());
  const fields = names.filter((name) => name !== 'node' && name !== 'topic');
  return {
    intervalNs,
    by: checkFields(fields, 'throttle_by'),
    byNode: names.includes('node'),
    byTopic: names.includes('topic'),
  };
}

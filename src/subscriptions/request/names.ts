/**
 * Names of nodes and topics, as requests give them.
 *
 *   name := [A-Za-z0-9_.] [A-Za-z0-9_.-]*, at most NAME_BYTES_MAX
 */
import { invalid } from '../../errors.js';
import { NAME_BYTES_MAX, TOPICS_PER_REQUEST_MAX } from '../../limits.js';
import { didYouMean, nearest } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { TOPICS } from '../../wire/event/event.js';

const NAME = /^[A-Za-z0-9_.][A-Za-z0-9_.-]*$/;
/** A Map's keys, so that `constructor` is no topic. */
const KNOWN_TOPICS: ReadonlySet<string> = new Set(Object.keys(TOPICS));

/** @throws BackplaneError invalid_argument, naming `field`. */
export function checkName(field: string, value: string): string {
  checkNameText(field, value, NAME, 'letters, digits, "_", "." and "-", and not begin with "-"');
  return value;
}

/** What names and globs have in common: a bound, and a set of characters. */
export function checkNameText(field: string, value: string, allowed: RegExp, described: string): void {
  if (value === '') throw invalid(field, 'must not be empty');
  if (value.length > NAME_BYTES_MAX) {
    throw invalid(field, `must be at most ${NAME_BYTES_MAX} bytes, got ${Buffer.byteLength(value)}`);
  }
  if (!allowed.test(value)) {
    throw invalid(field, `must consist of ${described}, got ${shown(value)}`);
  }
}

/** Topics sorted, each once; none means all of them. @throws BackplaneError invalid_argument. */
export function checkTopics(topics: readonly string[]): readonly string[] {
  if (topics.length > TOPICS_PER_REQUEST_MAX) {
    throw invalid('topic', `at most ${TOPICS_PER_REQUEST_MAX} may be asked for, got ${topics.length}`);
  }
  for (const topic of topics) {
    if (KNOWN_TOPICS.has(topic)) continue;
    const known = [...KNOWN_TOPICS].join(', ');
    const meant = nearest(topic, KNOWN_TOPICS);
    const problem = `unknown topic ${shown(topic)}${didYouMean(meant)} (known: ${known})`;
    throw invalid('topic', problem, { suggestion: meant });
  }
  return [...new Set(topics.length === 0 ? KNOWN_TOPICS : topics)].sort();
}

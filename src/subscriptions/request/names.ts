/**
 * Names of nodes and topics, as requests give them.
 *
 *   name := [A-Za-z0-9_.] [A-Za-z0-9_.-]*, at most NAME_BYTES_MAX
 */
import { BackplaneError } from '../../errors.js';
import { NAME_BYTES_MAX, TOPICS_PER_REQUEST_MAX } from '../../limits.js';
import { suggestion } from '../../text/nearest.js';
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
  if (value === '') throw new BackplaneError('invalid_argument', `${field}: must not be empty`);
  if (value.length > NAME_BYTES_MAX) {
    const problem = `must be at most ${NAME_BYTES_MAX} bytes, got ${Buffer.byteLength(value)}`;
    throw new BackplaneError('invalid_argument', `${field}: ${problem}`);
  }
  if (!allowed.test(value)) {
    throw new BackplaneError('invalid_argument', `${field}: must consist of ${described}, got ${shown(value)}`);
  }
}

/** Topics sorted, each once; none means all of them. @throws BackplaneError invalid_argument. */
export function checkTopics(topics: readonly string[]): readonly string[] {
  if (topics.length > TOPICS_PER_REQUEST_MAX) {
    const problem = `at most ${TOPICS_PER_REQUEST_MAX} may be asked for, got ${topics.length}`;
    throw new BackplaneError('invalid_argument', `topic: ${problem}`);
  }
  for (const topic of topics) {
    if (KNOWN_TOPICS.has(topic)) continue;
    const known = [...KNOWN_TOPICS].join(', ');
    const meant = suggestion(topic, KNOWN_TOPICS);
    throw new BackplaneError('invalid_argument', `topic: unknown topic ${shown(topic)}${meant} (known: ${known})`);
  }
  return [...new Set(topics.length === 0 ? KNOWN_TOPICS : topics)].sort();
}

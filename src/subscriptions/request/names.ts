/**
 * Names of nodes and topics, as requests give them.
 *
 *   name := [A-Za-z0-9_.] [A-Za-z0-9_.-]*, at most NAME_BYTES_MAX
 */
import { invalid } from '../../errors.js';
import { NAME_BYTES_MAX, TOPICS_PER_REQUEST_MAX } from '../../limits.js';
import { didYouMean, nearest } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { DOCUMENT_TOPICS, documentLogOf, EVERY_APP_TOPIC } from '../../wire/event/document-topics.js';
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

/** Topics of the kernel, sorted, each once; none means all of them. @throws BackplaneError invalid_argument. */
export function checkTopics(topics: readonly string[]): readonly string[] {
  const { kernel, documents } = checkNamedTopics(topics);
  if (documents.length > 0) throw unknownTopic(documents[0]!, KNOWN_TOPICS);
  return kernel.length === 0 ? [...KNOWN_TOPICS].sort() : kernel;
}

/** The topics of a request, sorted, each once: the kernel's, and those that are born in the broker. */
export interface NamedTopics {
  readonly kernel: readonly string[];
  /** `app.NAME`, `app.*`, `alert`, `audit`. */
  readonly documents: readonly string[];
}

/** @throws BackplaneError invalid_argument. */
export function checkNamedTopics(topics: readonly string[]): NamedTopics {
  if (topics.length > TOPICS_PER_REQUEST_MAX) {
    throw invalid('topic', `at most ${TOPICS_PER_REQUEST_MAX} may be asked for, got ${topics.length}`);
  }
  const named = [...new Set(topics)].sort();
  const unknown = named.find((topic) => !KNOWN_TOPICS.has(topic) && documentLogOf(topic) === undefined);
  if (unknown !== undefined) throw unknownTopic(unknown, [...KNOWN_TOPICS, ...Object.keys(DOCUMENT_TOPICS)]);
  const documents = named.filter((topic) => !KNOWN_TOPICS.has(topic));
  const every = documents.includes(EVERY_APP_TOPIC);
  return {
    kernel: named.filter((topic) => KNOWN_TOPICS.has(topic)),
    // What all of them include needs no name.
    documents: documents.filter((topic) => !every || topic === EVERY_APP_TOPIC || documentLogOf(topic) !== 'app'),
  };
}

function unknownTopic(topic: string, topics: Iterable<string>): Error {
  const known = [...topics];
  const meant = nearest(topic, known);
  const problem = `unknown topic ${shown(topic)}${didYouMean(meant)} (known: ${known.join(', ')})`;
  return invalid('topic', problem, { suggestion: meant });
}

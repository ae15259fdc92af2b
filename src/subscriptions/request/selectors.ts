/** The predicates of a subscription: one, or several selectors of which each has an id. */
import { BackplaneError, invalid } from '../../errors.js';
import { SELECTOR_ID_CHARACTERS_MAX, SELECTORS_MAX, TOPICS_PER_REQUEST_MAX } from '../../limits.js';
import { didYouMean, nearest } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { NAMED_FIELDS } from '../../wire/event/field-mask.js';
import { compilePredicate, type Predicate } from '../predicate.js';
import { checkNamedTopics } from './names.js';
import type { ThrottleRequest } from './throttle-request.js';
import { textOf, textsOf } from './values.js';

export interface Selector {
  /** Empty for the only one of a request without selectors. */
  readonly id: string;
  readonly predicate: Predicate;
}

/** What a request, or one of its selectors, says of a predicate; of any type until it is checked. */
interface PredicateRequest {
  readonly topics?: unknown;
  readonly filter?: unknown;
  readonly fields?: unknown;
}

export interface SelectorsRequest extends PredicateRequest {
  readonly selectors?: unknown;
}

const ID = /^[\x21-\x7e]+$/;
const FIELD_NAMES: ReadonlySet<string> = new Set<string>(['id', 'topics', 'filter', 'fields']);

/** The topics that each selector names, as far as they are texts; none: all. */
export function namedTopics(request: SelectorsRequest): readonly (readonly string[])[] {
  const given = Array.isArray(request.selectors) ? (request.selectors as readonly unknown[]) : [];
  const parts = given.length === 0 ? [request] : given.map((each) => (each ?? {}) as PredicateRequest);
  return parts.map(({ topics }) => [topics].flat().filter((topic) => typeof topic === 'string'));
}

/** What bounds every selector: the topics where none are named, and a filter that must hold as well. */
interface Bounds {
  readonly topics: readonly string[];
  readonly conjunct: string | undefined;
}

/**
 * At least one. @throws BackplaneError invalid_argument, filter_invalid, naming the field: of a selector
 * `selectors[1].filter`.
 */
export function checkSelectors(
  request: SelectorsRequest,
  includeSelf: boolean,
  throttle: ThrottleRequest | undefined,
  bounds?: Bounds,
): readonly Selector[] {
  const given = listOf(request.selectors);
  if (given.length === 0) return [{ id: '', predicate: predicateOf(request, includeSelf, throttle, bounds) }];
  for (const field of ['topics', 'filter', 'fields'] as const) {
    const value = request[field];
    if (value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)) continue;
    throw invalid(field, 'excludes selectors: each selector has its own');
  }
  if (given.length > SELECTORS_MAX) {
    throw invalid('selectors', `must be at most ${SELECTORS_MAX}, got ${given.length}`);
  }
  const ids = new Set<string>();
  const selectors = given.map((each, index) => {
    const at = `selectors[${index}]`;
    const id = checkId(at, each, ids);
    try {
      return { id, predicate: predicateOf(each as PredicateRequest, includeSelf, throttle, bounds) };
    } catch (cause) {
      throw ofSelector(cause, at, id);
    }
  });
  checkDocuments(selectors);
  return selectors;
}

/** What is missing of documents is told by topic, so that these are bounded as those of one request. */
function checkDocuments(selectors: readonly Selector[]): void {
  const topics = new Set(selectors.flatMap(({ predicate }) => predicate.documents?.topics ?? []));
  if (topics.size <= TOPICS_PER_REQUEST_MAX) return;
  const bound = `at most ${TOPICS_PER_REQUEST_MAX} topics of applications together`;
  throw invalid('selectors', `may name ${bound}, got ${topics.size}: ask for app.*`);
}

function listOf(selectors: unknown): readonly unknown[] {
  if (selectors === undefined || selectors === null) return [];
  if (!Array.isArray(selectors)) throw invalid('selectors', 'must be a list of selectors');
  return selectors;
}

function checkId(at: string, selector: unknown, ids: Set<string>): string {
  if (typeof selector !== 'object' || selector === null || Array.isArray(selector)) {
    throw invalid(at, 'must be a selector: {id, topics, filter, fields}');
  }
  for (const name of Object.keys(selector)) {
    if (FIELD_NAMES.has(name)) continue;
    const meant = nearest(name, FIELD_NAMES);
    throw invalid(`${at}.${shown(name)}`, `is not a field of a selector${didYouMean(meant)}`, { suggestion: meant });
  }
  const id = textOf(`${at}.id`, (selector as { id?: unknown }).id);
  if (id.length > SELECTOR_ID_CHARACTERS_MAX || !ID.test(id)) {
    const bound = `1 to ${SELECTOR_ID_CHARACTERS_MAX} printable ASCII characters without blanks`;
    throw invalid(`${at}.id`, `must be ${bound}, got ${shown(id)}`);
  }
  if (ids.has(id)) throw invalid(`${at}.id`, `must be unique, got ${shown(id)} twice`);
  ids.add(id);
  return id;
}

function predicateOf(
  request: PredicateRequest,
  includeSelf: boolean,
  throttle: ThrottleRequest | undefined,
  bounds: Bounds | undefined,
): Predicate {
  const { kernel, documents } = checkNamedTopics(textsOf('topic', request.topics));
  const namesNone = kernel.length + documents.length === 0;
  const topics = namesNone && bounds !== undefined ? bounds.topics : kernel;
  const filter = textOf('filter', request.filter);
  const fields = textsOf('fields', request.fields).flatMap((text) => text.split(','));
  // Nodes must also send the fields that the broker compares for the throttle.
  if (fields.length > 0) fields.push(...(throttle?.by ?? []));
  const unnamed = fields.length > 0 ? undefined : throttle?.by.find((field) => NAMED_FIELDS.includes(field));
  if (unnamed !== undefined)
    throw invalid('throttle_by', `${unnamed} comes only where fields name it: name it there, too`);
  const conjunct = bounds?.conjunct;
  return compilePredicate({ topics, documents, filter, includeSelf, fields, refuseImpossible: true, conjunct });
}

/** The same error, of a part of the request. */
function ofSelector(cause: unknown, at: string, id: string): unknown {
  if (!(cause instanceof BackplaneError)) return cause;
  const { code, message, details } = cause;
  if (details.field === 'throttle_by') return new BackplaneError(code, `${message} (selector ${shown(id)})`, details);
  const field = details.field === 'topic' ? 'topics' : details.field;
  return new BackplaneError(code, `selector ${shown(id)}: ${message}`, {
    ...details,
    ...(field === undefined ? {} : { field: `${at}.${field}` }),
  });
}

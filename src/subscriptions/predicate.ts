/**
 * The conditions of one subscription: topics, a filter, and whether events of Backplane's own processes are included.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { BackplaneError } from '../errors.js';
import { FILTER_BYTES_MAX, FILTER_CACHE_BYTES_MAX } from '../limits.js';
import { documentLogOf, EVERY_APP_TOPIC } from '../wire/event/document-topics.js';
import { type BusEvent, TOPICS, topicOf } from '../wire/event/event.js';
import { compileFieldMask, type FieldMask, NAMED_FIELDS, namesMore } from '../wire/event/field-mask.js';
import { type RequiredEquality, requiredEqualities } from './equality.js';
import { checkFields } from './fields.js';
import { canonicalText } from './filter/canonical.js';
import { checkFilter } from './filter/check.js';
import type { CheckedExpr } from './filter/checked.js';
import { compileFilter } from './filter/compile.js';
import { type Host, NO_HOST } from './filter/host.js';
import { whyImpossible } from './filter/impossible.js';
import { parseFilter } from './filter/parse.js';
import { canMatch } from './filter/possible.js';
import { tokensOf } from './filter/tokens.js';
import { whateverNames } from './filter/unresolved.js';
import { NEVER } from './pushdown/raw-expr.js';
import { type RawForm, rawForm } from './pushdown/raw-form.js';
import { type RequiredText, requiredText } from './pushdown/required-text.js';
import { checkNamedTopics, checkTopics } from './request/names.js';

export interface PredicateOptions {
  /** Of the kernel. None: all of them, or none where `documents` are wanted. */
  readonly topics: readonly string[];
  /** Topics that are born in the broker, checked: see checkNamedTopics. */
  readonly documents?: readonly string[] | undefined;
  /** CEL text; blank: every event. */
  readonly filter: string;
  readonly includeSelf: boolean;
  /** Paths of the fields that are wanted; none or absent: all of them. */
  readonly fields?: readonly string[] | undefined;
  /**
   * Refuse a filter that can be true for no event type of the topics. Set for subscribers, not for nodes that are told.
   */
  readonly refuseImpossible?: boolean | undefined;
  /** Canonical text of a filter that must hold as well, whatever `filter` says. Part of the predicate's identity. */
  readonly conjunct?: string | undefined;
  /** What `host.name` reads: the node where events are matched. Not part of the predicate's identity. */
  readonly hostName?: string | undefined;
  /** What `host.labels` reads there. */
  readonly hostLabels?: readonly string[] | undefined;
}

/** A predicate as brokers send it to nodes. */
export interface PredicateSpec {
  readonly id: bigint;
  readonly topics: readonly string[];
  /** Canonical text. */
  readonly filter: string;
  readonly includeSelf: boolean;
  /** Canonical paths; empty: the usual fields. */
  readonly fields: readonly string[];
}

/** The same conditions for topics that are born in the broker, which evaluates them itself. */
export interface DocumentPredicate {
  /** Sorted, each once; never empty. `app.*` stands for every topic of applications. */
  readonly topics: readonly string[];
  wants(topic: string): boolean;
  /** Never throws. */
  matches(event: BusEvent): boolean;
}

export interface Predicate {
  /** 64 bits, never 0: equal predicates have equal ids, on every node and broker. */
  readonly id: bigint;
  /** What cursors are bound to: `id`, or where there are documents a hash that includes their topics. */
  readonly cursorId: bigint;
  /** Of the kernel, sorted, each once; empty only where nothing but documents is wanted. */
  readonly topics: readonly string[];
  readonly documents: DocumentPredicate | undefined;
  /** The filter's canonical text: a filter itself. */
  readonly canonical: string;
  readonly includeSelf: boolean;
  /** Undefined: the usual fields. */
  readonly mask: FieldMask | undefined;
  /** Whether the filter or the mask names fields that come only where they are named. */
  readonly namesMore: boolean;
  readonly spec: PredicateSpec;
  /** Equalities with constants that every match fulfils. */
  readonly equalities: readonly RequiredEquality[];
  /** Never throws. An event on which the filter has no value does not match. */
  matches(event: BusEvent): boolean;
  /** False only when no event of this type can match. */
  mayMatchType(type: string): boolean;
  /** Holds on the raw entry of every event of this type that matches. */
  rawForm(type: string): RawForm;
  /** What stands in the recording of every event of this type that matches; undefined: nothing that is known. */
  requiredText(type: string): RequiredText | undefined;
}

interface CheckedFilter {
  readonly root: CheckedExpr;
  readonly canonical: string;
}

/** More than the known types; types of applications are not bounded. */
const TYPES_KEPT_MAX = 128;

const EVERYTHING: CheckedFilter = { root: { kind: 'bool', type: 'bool', value: true }, canonical: 'true' };

/** By text. A node is told its whole interest whenever it connects, and most of it is known already. */
const checkedFilters = new LRUCache<string, CheckedFilter>({
  maxSize: FILTER_CACHE_BYTES_MAX,
  sizeCalculation: (_checked, text) => text.length,
});

/** Predicates that somebody has, by what they were compiled from. */
const predicatesHeld = new Map<string, WeakRef<Predicate>>();
const dropped = new FinalizationRegistry<string>((key) => {
  // Another one may have been compiled meanwhile.
  if (predicatesHeld.get(key)?.deref() === undefined) predicatesHeld.delete(key);
});

/**
 * Who asks for the same shares one predicate: thousands of subscriptions have some hundred filters, and a node arranges
 * its whole interest anew at every change.
 * @throws BackplaneError filter_invalid, with the column; invalid_argument for a topic; permission_denied where `filter`
 *   and `conjunct` exclude each other.
 */
export function compilePredicate(options: PredicateOptions): Predicate {
  const { topics, documents, filter, includeSelf, fields, refuseImpossible, conjunct, hostName, hostLabels } = options;
  // Far too long a filter is refused before it is copied.
  if (filter.length > FILTER_BYTES_MAX) return compiled(options);
  const key = JSON.stringify([
    ...[topics, documents, filter, includeSelf, fields],
    ...[refuseImpossible, conjunct, hostName, hostLabels],
  ]);
  const held = predicatesHeld.get(key)?.deref();
  if (held !== undefined) return held;
  const predicate = compiled(options);
  predicatesHeld.set(key, new WeakRef(predicate));
  dropped.register(predicate, key);
  return predicate;
}

/** Likewise of topics of both kinds, as requests and records have them. Throws as compilePredicate() does. */
export function compileNamed(options: Omit<PredicateOptions, 'documents'>): Predicate {
  const { kernel, documents } = checkNamedTopics(options.topics);
  return compilePredicate({ ...options, topics: kernel, documents });
}

function compiled(options: PredicateOptions): Predicate {
  const { documents = [] } = options;
  const topics = options.topics.length === 0 && documents.length > 0 ? [] : checkTopics(options.topics);
  const own = checkText(options.filter);
  const { root, canonical } = options.conjunct === undefined ? own : joined(own, options.conjunct);
  const { includeSelf, hostName, hostLabels: labels = [] } = options;
  const host = hostName === undefined ? undefined : { name: hostName, labels };
  // Brokers evaluate no filter over the kernel's events.
  let accepts: ((event: BusEvent) => boolean) | undefined;
  let mayAccept: ((event: BusEvent) => boolean) | undefined;
  const wanted = new Set(topics);
  const fields = checkFields(options.fields ?? []);
  const mask = fields.length === 0 ? undefined : compileFieldMask(fields);
  const id = predicateId(topics, canonical, includeSelf, fields);
  const mayMatch = typeTest(root, wanted, host);
  if (
    options.refuseImpossible === true &&
    documents.length === 0 &&
    !topics.some((topic) => TOPICS[topic]?.types.some(mayMatch))
  ) {
    throw impossible(own, topics, typeTest(own.root, wanted, host));
  }
  return {
    id,
    cursorId: documents.length === 0 ? id : predicateId([...topics, ...documents], canonical, includeSelf, fields),
    topics,
    documents: documents.length === 0 ? undefined : documentPredicate(documents, root),
    canonical,
    includeSelf,
    mask,
    namesMore: (mask !== undefined && namesMore(mask)) || NAMED_FIELDS.some((field) => canonical.includes(field)),
    spec: { id, topics, filter: canonical, includeSelf, fields },
    equalities: requiredEqualities(root),
    matches(event) {
      if (!wanted.has(event.topic) || (!includeSelf && event.self === true)) return false;
      if (event.container?.unresolved) {
        mayAccept ??= compileFilter(whateverNames(root), host ?? NO_HOST);
        return mayAccept(event);
      }
      accepts ??= compileFilter(root, host ?? NO_HOST);
      return accepts(event);
    },
    mayMatchType: mayMatch,
    rawForm(type) {
      return wanted.has(topicOf(type)) ? rawForm(root, type, host) : { expr: NEVER, exact: true };
    },
    requiredText: (type) => requiredText(root, type, topicOf(type), host),
  };
}

function documentPredicate(topics: readonly string[], root: CheckedExpr): DocumentPredicate {
  const accepts = compileFilter(root, undefined);
  const named = new Set(topics);
  const wants = (topic: string) => named.has(topic) || (named.has(EVERY_APP_TOPIC) && documentLogOf(topic) === 'app');
  return { topics, wants, matches: (event) => wants(event.topic) && accepts(event) };
}

/** What any of them wants; undefined for none. */
export function anyDocuments(predicates: readonly DocumentPredicate[]): DocumentPredicate | undefined {
  if (predicates.length <= 1) return predicates[0];
  return {
    topics: [...new Set(predicates.flatMap(({ topics }) => topics))].sort(),
    wants: (topic) => predicates.some(({ wants }) => wants(topic)),
    matches: (event) => predicates.some(({ matches }) => matches(event)),
  };
}

/** What is said of the filter alone, where that is enough, so that nobody is told of a role for a mistake of their own. */
function impossible(
  { root }: CheckedFilter,
  topics: readonly string[],
  mayMatch: (type: string) => boolean,
): BackplaneError {
  const field = 'filter';
  if (topics.some((topic) => TOPICS[topic]?.types.some(mayMatch))) {
    return new BackplaneError('permission_denied', 'filter: nothing that it selects is granted', { field });
  }
  return new BackplaneError('filter_invalid', `filter: ${whyImpossible(root, topics)}`, { field });
}

/** Both are checked texts of their own, so that neither can end the other's parentheses. */
function joined({ canonical }: CheckedFilter, conjunct: string): CheckedFilter {
  if (canonical === EVERYTHING.canonical) return checkText(conjunct);
  try {
    return checkText(`(${canonical}) && (${conjunct})`);
  } catch (cause) {
    const reason = (cause as Error).message.replace(/^filter: /, '');
    const problem = `too large together with the filter that is joined to it: ${reason}`;
    throw new BackplaneError('filter_invalid', `filter: ${problem}`, { field: 'filter' });
  }
}

/** Caches the answers: plan, profiles and interest ask the same questions, and trying a filter may be costly. */
function typeTest(root: CheckedExpr, topics: ReadonlySet<string>, host: Host | undefined) {
  const known = new Map<string, boolean>();
  return (type: string): boolean => {
    const topic = topicOf(type);
    if (!topics.has(topic)) return false;
    let answer = known.get(type);
    if (answer === undefined) {
      answer = canMatch(root, type, topic, host);
      if (known.size < TYPES_KEPT_MAX) known.set(type, answer);
    }
    return answer;
  };
}

function checkText(text: string): CheckedFilter {
  if (text.length <= FILTER_BYTES_MAX && text.trim() === '') return EVERYTHING;
  const known = checkedFilters.get(text);
  if (known) return known;
  const root = checkFilter(parseFilter(text));
  const canonical = canonicalText(root);
  checkCanonical(canonical);
  const checked = { root, canonical };
  checkedFilters.set(text, checked);
  return checked;
}

/** Checks that the canonical text keeps to the bounds of any filter, because nodes apply them to it. */
function checkCanonical(canonical: string): void {
  try {
    tokensOf(canonical);
  } catch (cause) {
    const reason = (cause as Error).message.replace(/^filter: /, '');
    const problem = `too large when written in canonical form: ${reason}`;
    throw new BackplaneError('filter_invalid', `filter: ${problem}`, { field: 'filter' });
  }
}

function predicateId(
  topics: readonly string[],
  canonical: string,
  includeSelf: boolean,
  fields: readonly string[],
): bigint {
  const form = JSON.stringify({ topics, filter: canonical, includeSelf, ...(fields.length === 0 ? {} : { fields }) });
  const id = createHash('sha256').update(form).digest().readBigUInt64BE(0);
  return id === 0n ? 1n : id;
}

/**
 * Names the difference between this predicate and one of which only the id is known. It tries other variants of this
 * predicate: with other topics, without the filter, without the fields, and with the other include_self. Undefined
 * where none has this id: then the filter or the fields differ, or several things do.
 */
export function differenceFrom(spec: PredicateSpec, id: bigint): string | undefined {
  const { topics, filter, includeSelf, fields } = spec;
  if (predicateId(topics, filter, !includeSelf, fields) === id) return `include_self was ${!includeSelf}`;
  if (predicateId(topics, EVERYTHING.canonical, includeSelf, fields) === id) return 'filter was not given';
  if (predicateId(topics, filter, includeSelf, []) === id) return 'fields were not given';
  const known = Object.keys(TOPICS);
  for (let chosen = 1; chosen < 2 ** known.length; chosen += 1) {
    const others = checkTopics(known.filter((_topic, at) => (chosen & (1 << at)) !== 0));
    if (predicateId(others, filter, includeSelf, fields) !== id) continue;
    return others.length === known.length ? 'topics were not given' : `topics were ${others.join(', ')}`;
  }
  return undefined;
}

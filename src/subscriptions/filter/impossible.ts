/** Why no event can match a filter, in a sentence that names what was probably meant. */

import { suggestion } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { TOPICS, topicOf } from '../../wire/event/event.js';
import { type CheckedExpr, childrenOf, type StringTest } from './checked.js';

/** A condition that a filter puts on an event's type or topic in one place. */
interface Claim {
  readonly field: 'event.type' | 'event.topic';
  /** Compared with it: a whole name, a part of one, or a pattern. */
  readonly text: string;
  readonly holdsFor: (name: string) => boolean;
}

const TYPES: readonly string[] = Object.values(TOPICS).flatMap(({ types }) => types);
/** `process.`, `network.tcp.`: the texts that "startsWith" is usually given. */
const PREFIXES: readonly string[] = [...new Set(TYPES.map((type) => type.slice(0, type.lastIndexOf('.') + 1)))];

const NAMES_LISTED_MAX = 12;

/** Call for a `root` that can be true for no type of these topics. */
export function whyImpossible(root: CheckedExpr, topics: readonly string[]): string {
  const claims = claimsOf(root);
  const allowed = namesOf(topics);
  // A name that exists nowhere is a typing error: it is reported before a name that is only outside these topics.
  for (const { field, text, holdsFor } of claims) {
    const all = namesOf(Object.keys(TOPICS))[field];
    if (all.some(holdsFor)) continue;
    const near = suggestion(text.replace(/^\W+|[^\w.]+$/g, ''), [...PREFIXES, ...allowed[field], ...all]);
    const noun = field === 'event.type' ? 'type' : 'topic';
    return `no event can match: ${shown(text)} fits no event ${noun}${near || knownNames(allowed[field])}`;
  }
  for (const { field, text, holdsFor } of claims) {
    if (allowed[field].some(holdsFor)) continue;
    const others = namesOf(Object.keys(TOPICS))[field].filter(holdsFor).map(topicName);
    const of = [...new Set(others)].join(', ');
    return `no event can match: ${shown(text)} is of the topic ${of}, and only ${topics.join(', ')} is asked for`;
  }
  const where = topics.length === Object.keys(TOPICS).length ? 'any topic' : `the topic ${topics.join(', ')}`;
  return `no event can match: it is not true of any event type of ${where}`;
}

function namesOf(topics: readonly string[]): Readonly<Record<Claim['field'], readonly string[]>> {
  return { 'event.type': topics.flatMap((topic) => TOPICS[topic]?.types ?? []), 'event.topic': topics };
}

function topicName(name: string): string {
  return name.includes('.') ? topicOf(name) : name;
}

function knownNames(names: readonly string[]): string {
  return names.length > NAMES_LISTED_MAX ? ' ("backplane topics" lists them)' : ` (known: ${names.join(', ')})`;
}

function claimsOf(expr: CheckedExpr): Claim[] {
  // Under a negation a name that does not exist makes more match, not less.
  if (expr.kind === 'not') return isUnequal(expr.operand) ? equalities(expr.operand) : [];
  return [...ownClaims(expr), ...childrenOf(expr).flatMap(claimsOf)];
}

function ownClaims(expr: CheckedExpr): Claim[] {
  switch (expr.kind) {
    case 'compare':
      return expr.operator === '==' ? equalities(expr) : [];
    case 'in':
      return expr.list.kind === 'list' ? anyOf(expr.item, expr.list.elements) : [];
    case 'string_test':
      return expr.argument.kind === 'string' ? tests(expr.subject, expr.test, expr.argument.value) : [];
    case 'string_test_any':
      return testsAny(expr.subject, expr.test, expr.texts);
    case 'matches': {
      const { source, test } = expr.pattern;
      return about(expr.subject, source, test);
    }
    default:
      return [];
  }
}

type Compare = Extract<CheckedExpr, { kind: 'compare' }>;

function isUnequal(expr: CheckedExpr): expr is Compare {
  return expr.kind === 'compare' && expr.operator === '!=';
}

function equalities({ left, right }: Compare): Claim[] {
  return [...equals(left, right), ...equals(right, left)];
}

function equals(subject: CheckedExpr, value: CheckedExpr): Claim[] {
  return value.kind === 'string' ? about(subject, value.value, (name) => name === value.value) : [];
}

/** All elements fail together, so only the first is reported. */
function anyOf(subject: CheckedExpr, elements: readonly CheckedExpr[]): Claim[] {
  const values = elements.flatMap((element) => (element.kind === 'string' ? [element.value] : []));
  if (values.length === 0 || values.length < elements.length) return [];
  return about(subject, values[0]!, (name) => values.includes(name));
}

const HOLDS = { startsWith: 'startsWith', endsWith: 'endsWith', contains: 'includes' } as const;

function tests(subject: CheckedExpr, test: StringTest, text: string): Claim[] {
  return about(subject, text, (name) => name[HOLDS[test]](text));
}

/** All texts fail together, so only the first is reported. */
function testsAny(subject: CheckedExpr, test: StringTest, texts: readonly string[]): Claim[] {
  return about(subject, texts[0]!, (name) => texts.some((text) => name[HOLDS[test]](text)));
}

function about(subject: CheckedExpr, text: string, holdsFor: (name: string) => boolean): Claim[] {
  if (subject.kind !== 'field') return [];
  const { name } = subject.field;
  return name === 'event.type' || name === 'event.topic' ? [{ field: name, text, holdsFor }] : [];
}

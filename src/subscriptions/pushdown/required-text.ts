/**
 * Texts that must stand in what was recorded for a filter to hold: a reader of a recording passes over stretches that
 * have none of them. Only what is a value's own, as it was recorded: constants in ASCII, which a comparison that keeps
 * case finds in one field, or in one item of a list.
 */
import type { CheckedExpr } from '../filter/checked.js';
import type { Host } from '../filter/host.js';
import { decidedFor } from '../filter/possible.js';

export interface RequiredText {
  /** At least one of them is part of the field, or of one of its items. */
  readonly texts: readonly string[];
  readonly field: string;
}

/**
 * Fields whose values stand in one piece in a recording: in a page, or as UTF-8 in a record. Not those that are put
 * together, as the command line is.
 */
const RECORDED_WHOLE: ReadonlySet<string> = new Set([
  'process.command_args',
  'process.executable.path',
  'process.executable.name',
  'process.comm',
  'process.working_directory',
]);
/** Shorter ones are found everywhere. */
const CHARACTERS_MIN = 3;
const TEXTS_MAX = 16;
const ASCII = /^[\x20-\x7e]*$/;

/** Undefined: nothing is required of events of this type, or nothing that is worth looking for. */
export function requiredText(root: CheckedExpr, type: string, topic: string, host: Host | undefined) {
  return textsOf(root, { type, topic, host, list: undefined });
}

interface About {
  readonly type: string;
  readonly topic: string;
  readonly host: Host | undefined;
  /** The field whose items the comprehension around it goes through. */
  readonly list: string | undefined;
}

function textsOf(expr: CheckedExpr, about: About): RequiredText | undefined {
  switch (expr.kind) {
    case 'and':
      return better(expr.operands.map((operand) => textsOf(operand, about)));
    case 'or':
      return together(expr.operands.filter((operand) => !isNever(operand, about)).map((each) => textsOf(each, about)));
    case 'compare':
      if (expr.operator !== '==') return undefined;
      return found(expr.left, [expr.right], about) ?? found(expr.right, [expr.left], about);
    case 'in':
      if (expr.list.kind === 'list') return found(expr.item, expr.list.elements, about);
      return expr.list.kind === 'field' ? required(expr.list.field.name, [expr.item]) : undefined;
    case 'string_test':
      return found(expr.subject, [expr.argument], about);
    case 'string_test_any': {
      const field = fieldOf(expr.subject, about);
      return field === undefined ? undefined : checked(field, expr.texts);
    }
    case 'comprehension':
      if (expr.quantifier === 'all' || expr.list.kind !== 'field') return undefined;
      return textsOf(expr.body, { ...about, list: expr.list.field.name });
    default:
      return undefined;
  }
}

/** Whether a part is false, or has no value, on every event of the type. */
function isNever(expr: CheckedExpr, { type, topic, host }: About): boolean {
  return decidedFor(expr, type, topic, host)?.true === false;
}

function found(subject: CheckedExpr, constants: readonly CheckedExpr[], about: About): RequiredText | undefined {
  const field = fieldOf(subject, about);
  return field === undefined ? undefined : required(field, constants);
}

function fieldOf(expr: CheckedExpr, { list }: About): string | undefined {
  if (expr.kind === 'item') return list;
  if (expr.kind === 'index') return expr.list.kind === 'field' ? expr.list.field.name : undefined;
  return expr.kind === 'field' ? expr.field.name : undefined;
}

function required(field: string, constants: readonly CheckedExpr[]): RequiredText | undefined {
  const texts = constants.map((each) => (each.kind === 'string' ? each.value : undefined));
  return texts.every((text) => text !== undefined) ? checked(field, texts) : undefined;
}

function checked(field: string, texts: readonly string[]): RequiredText | undefined {
  const fits = texts.length > 0 && texts.length <= TEXTS_MAX && RECORDED_WHOLE.has(field);
  return fits && texts.every((text) => text.length >= CHARACTERS_MIN && ASCII.test(text))
    ? { texts, field }
    : undefined;
}

/** Of several that are all required, the one with the longest texts. */
function better(all: readonly (RequiredText | undefined)[]): RequiredText | undefined {
  const shortest = ({ texts }: RequiredText) => Math.min(...texts.map((text) => text.length));
  return all
    .filter((each) => each !== undefined)
    .reduce<RequiredText | undefined>(
      (best, each) => (best && shortest(best) >= shortest(each) ? best : each),
      undefined,
    );
}

/** Of several of which one is required: only where they are of one field. */
function together(all: readonly (RequiredText | undefined)[]): RequiredText | undefined {
  const [first] = all;
  if (first === undefined || all.some((each) => each?.field !== first.field)) return undefined;
  return checked(first.field, [...new Set(all.flatMap((each) => each!.texts))]);
}

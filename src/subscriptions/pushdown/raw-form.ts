/**
 * The condition that a filter puts on the raw entries of one event type: it holds on every entry whose event the filter
 * matches, and often on no other.
 *
 * Each part gets two conditions, one that holds wherever the part is true and one that holds wherever it is false. So
 * negation swaps two conditions that both err towards holding, and a part without a value (a division by zero, an index
 * out of bounds), which is neither, needs no rule of its own.
 */
import { RAW_FORM_TERMS_MAX } from '../../limits.js';
import { topicOf } from '../../wire/event/event.js';
import type { CheckedExpr, CompareOperator } from '../filter/checked.js';
import type { Host } from '../filter/host.js';
import { decidedFor } from '../filter/possible.js';
import { CATALOGUE, type RawRef } from './catalogue.js';
import { ALWAYS, allOf, anyOf, isConstant, NEVER, type RawExpr } from './raw-expr.js';

export interface RawForm {
  readonly expr: RawExpr;
  /** It holds on no other entries either. */
  readonly exact: boolean;
}

/** A condition and its number of comparisons, so that repetition cannot make it grow without bound. */
interface Side extends RawForm {
  readonly terms: number;
}

/** Where a part is true, and where it is false. */
interface Sides {
  readonly yes: Side;
  readonly no: Side;
}

interface About {
  readonly type: string;
  readonly host: Host | undefined;
  readonly raw: ReadonlyMap<string, RawRef>;
}

const ANYWHERE: Side = { expr: ALWAYS, exact: false, terms: 0 };
const UNKNOWN: Sides = { yes: ANYWHERE, no: ANYWHERE };
const NO_FIELDS: ReadonlyMap<string, RawRef> = new Map();

const OPPOSITE: Readonly<Record<CompareOperator, CompareOperator>> = {
  '==': '!=',
  '!=': '==',
  '<': '>=',
  '>=': '<',
  '>': '<=',
  '<=': '>',
};
const TURNED: Readonly<Record<CompareOperator, CompareOperator>> = {
  '==': '==',
  '!=': '!=',
  '<': '>',
  '>': '<',
  '<=': '>=',
  '>=': '<=',
};

/** `host` undefined: any host. */
export function rawForm(root: CheckedExpr, type: string, host: Host | undefined): RawForm {
  const raw = CATALOGUE.get(type)?.raw ?? NO_FIELDS;
  const { expr, exact } = sidesOf(root, { type, host, raw }).yes;
  return { expr, exact };
}

function sidesOf(expr: CheckedExpr, about: About): Sides {
  const decided = decidedFor(expr, about.type, topicOf(about.type), about.host);
  if (decided) return { yes: fixed(decided.true), no: fixed(decided.false) };
  switch (expr.kind) {
    case 'not': {
      const { yes, no } = sidesOf(expr.operand, about);
      return { yes: no, no: yes };
    }
    case 'and':
    case 'or': {
      const operands = expr.operands.map((operand) => sidesOf(operand, about));
      const yes = operands.map((operand) => operand.yes);
      const no = operands.map((operand) => operand.no);
      return expr.kind === 'and' ? { yes: every(yes), no: some(no) } : { yes: some(yes), no: every(no) };
    }
    case 'conditional': {
      const [test, yes, no] = [expr.test, expr.yes, expr.no].map((part) => sidesOf(part, about)) as [
        Sides,
        Sides,
        Sides,
      ];
      return {
        yes: some([every([test.yes, yes.yes]), every([test.no, no.yes])]),
        no: some([every([test.yes, yes.no]), every([test.no, no.no])]),
      };
    }
    case 'compare':
      return comparison(expr.operator, expr.left, expr.right, about);
    case 'in':
      return membership(expr.item, expr.list, about);
    default:
      return UNKNOWN;
  }
}

function comparison(operator: CompareOperator, left: CheckedExpr, right: CheckedExpr, about: About): Sides {
  const turned = refOf(left, about) === undefined;
  const ref = refOf(turned ? right : left, about);
  const value = constantOf(turned ? left : right);
  if (!ref || value === undefined) return UNKNOWN;
  const direct = turned ? TURNED[operator] : operator;
  return {
    yes: term({ kind: 'compare', ref, operator: direct, value }),
    no: term({ kind: 'compare', ref, operator: OPPOSITE[direct], value }),
  };
}

function membership(item: CheckedExpr, list: CheckedExpr, about: About): Sides {
  const ref = refOf(item, about);
  if (!ref || list.kind !== 'list') return UNKNOWN;
  const values = list.elements.map(constantOf).filter((value) => value !== undefined);
  if (values.length < list.elements.length) return UNKNOWN;
  const distinct = [...new Set(values)].sort((a, b) => (a < b ? -1 : 1));
  if (distinct.length === 0) return { yes: fixed(false), no: fixed(true) };
  return {
    yes: term({ kind: 'in', ref, values: distinct, negated: false }),
    no: term({ kind: 'in', ref, values: distinct, negated: true }),
  };
}

function refOf(expr: CheckedExpr, { raw }: About): RawRef | undefined {
  return expr.kind === 'field' && expr.type === 'int' ? raw.get(expr.field.name) : undefined;
}

/** The value of a literal, negated or not; an overflow has no value, and is left to the closure. */
function constantOf(expr: CheckedExpr): bigint | undefined {
  if (expr.kind === 'int') return expr.value;
  if (expr.kind !== 'negate') return undefined;
  const value = constantOf(expr.operand);
  return value === undefined || value === -(2n ** 63n) ? undefined : -value;
}

function fixed(value: boolean): Side {
  return { expr: value ? ALWAYS : NEVER, exact: true, terms: 0 };
}

function term(expr: RawExpr): Side {
  return { expr, exact: true, terms: 1 };
}

function every(sides: readonly Side[]): Side {
  return joined(sides, false);
}

function some(sides: readonly Side[]): Side {
  return joined(sides, true);
}

/** `decisive`: what one side must be for the others not to matter. */
function joined(sides: readonly Side[], decisive: boolean): Side {
  const deciding = sides.find((side) => side.exact && isConstant(side.expr, decisive));
  if (deciding) return deciding;
  const terms = sides.reduce((sum, side) => sum + side.terms, 0);
  if (terms > RAW_FORM_TERMS_MAX) return ANYWHERE;
  const exprs = sides.map((side) => side.expr);
  return { expr: decisive ? anyOf(exprs) : allOf(exprs), exact: sides.every((side) => side.exact), terms };
}

/**
 * A condition on raw entries as text for the kernel's `filter` file. A condition that the kernel's language cannot
 * express, or has no room for, is widened: the kernel may pass too much, never too little.
 *
 * As measured on Linux 6.18 (and in kernel/trace/trace_events_filter.c): a constant is cut to the field's size before
 * it is compared, so none outside of the field's range is written; order follows the field's own sign; an unsigned
 * field takes no negative constant; fields of type char* are text.
 */
import { KERNEL_FILTER_BYTES_MAX, KERNEL_FILTER_DEPTH_MAX, KERNEL_FILTER_TERMS_MAX } from '../../limits.js';
import type { CompareOperator } from '../filter/checked.js';
import type { RawRef } from './catalogue.js';
import { anyOf, decidedByRange, type RawExpr, type RawField, type RawFields, rangeOf } from './raw-expr.js';

/** Part of a filter; `bool` where its value is the same for every entry. */
type Part = boolean | { readonly text: string; readonly terms: number; readonly joined?: '&&' | '||' };

interface Manner {
  readonly fields: RawFields;
  /** Longer lists are written as the range that they span. */
  readonly listMax: number;
  /** Conditions of an `and` that take more comparisons are left out. */
  readonly conditionMax: number;
}

/** From exact to coarse: the first one for which the kernel has room is taken. */
const MANNERS = [
  { listMax: Number.POSITIVE_INFINITY, conditionMax: Number.POSITIVE_INFINITY },
  { listMax: 32, conditionMax: Number.POSITIVE_INFINITY },
  { listMax: 4, conditionMax: 16 },
];

/** Passes nothing: no event's id is 0. */
const NOTHING = 'common_type == 0';
const TOP_BIT = 2n ** 63n;

/** Passes every entry that any of the conditions holds on; undefined: no filter can tell them apart. */
export function kernelFilter(exprs: readonly RawExpr[], fields: RawFields): string | undefined {
  const whole = anyOf(exprs);
  for (const manner of MANNERS) {
    const part = partOf(whole, { ...manner, fields }, 0);
    if (part === true) return undefined;
    if (part === false) return NOTHING;
    if (part.terms <= KERNEL_FILTER_TERMS_MAX && part.text.length <= KERNEL_FILTER_BYTES_MAX) return part.text;
  }
  return undefined;
}

function partOf(expr: RawExpr, manner: Manner, depth: number): Part {
  if (expr.kind === 'constant') return expr.value;
  if (depth > KERNEL_FILTER_DEPTH_MAX) return true;
  if (expr.kind === 'and' || expr.kind === 'or') {
    const parts = expr.operands.map((operand) => partOf(operand, manner, depth + 1));
    if (expr.kind === 'or') return join('||', parts);
    return join(
      '&&',
      parts.filter((part) => typeof part === 'boolean' || part.terms <= manner.conditionMax),
    );
  }
  const field = writable(expr.ref, manner.fields);
  if (!field) return true;
  const { field: name } = expr.ref;
  if (expr.kind === 'compare') return comparison(name, field, expr.operator, expr.value);
  const { values, negated } = expr;
  if (values.length <= manner.listMax) {
    const parts = values.map((value) => comparison(name, field, negated ? '!=' : '==', value));
    return join(negated ? '&&' : '||', parts);
  }
  if (negated) return true;
  // Sorted: raw-form.ts.
  return join('&&', [comparison(name, field, '>=', values[0]!), comparison(name, field, '<=', values.at(-1)!)]);
}

/** The field, if the kernel compares it as the number it is; else undefined. */
function writable(ref: RawRef, fields: RawFields): RawField | undefined {
  if (ref.element !== undefined) return undefined;
  const field = fields.field(ref.field);
  return field?.kind === 'int' && !/\bchar\b.*\*/.test(field.type) ? field : undefined;
}

function comparison(name: string, field: RawField, operator: CompareOperator, value: bigint): Part {
  const decided = decidedByRange(operator, value, rangeOf(field.sizeBytes, field.signed));
  if (decided !== undefined) return decided;
  if (field.sizeBytes === 8 && !field.signed) return unsigned64(name, operator, value);
  return { text: `${name} ${operator} ${value}`, terms: 1 };
}

/**
 * Signed order on a field that the kernel compares unsigned: values of the upper half are negative, and so below all
 * others.
 */
function unsigned64(name: string, operator: CompareOperator, value: bigint): Part {
  const bound: Part = { text: `${name} ${operator} ${BigInt.asUintN(64, value)}`, terms: 1 };
  const negative: Part = { text: `${name} >= ${TOP_BIT}`, terms: 1 };
  const positive: Part = { text: `${name} < ${TOP_BIT}`, terms: 1 };
  switch (operator) {
    case '==':
    case '!=':
      return bound;
    case '<':
    case '<=':
      return value < 0n ? join('&&', [negative, bound]) : join('||', [negative, bound]);
    case '>':
    case '>=':
      return value < 0n ? join('||', [positive, bound]) : join('&&', [positive, bound]);
  }
}

function join(joined: '&&' | '||', parts: readonly Part[]): Part {
  const decisive = joined === '||';
  const rest: Exclude<Part, boolean>[] = [];
  for (const part of parts) {
    if (part === decisive) return decisive;
    if (typeof part !== 'boolean') rest.push(part);
  }
  if (rest.length === 0) return !decisive;
  if (rest.length === 1) return rest[0]!;
  const text = rest
    .map((part) => (part.joined && part.joined !== joined ? `(${part.text})` : part.text))
    .join(` ${joined} `);
  return { text, terms: rest.reduce((sum, part) => sum + part.terms, 0), joined };
}

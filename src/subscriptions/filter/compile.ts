/** A checked filter to one closure over a decoded event: the reference for every other way to evaluate it. */

import { DURATION_NS_MAX, DURATION_NS_MIN, TIMESTAMP_NS_MAX, TIMESTAMP_NS_MIN } from '../../text/time-text.js';
import type { BusEvent } from '../../wire/event/event.js';
import type { JsonValue } from '../../wire/json-value.js';
import type { CheckedExpr } from './checked.js';
import { blockContains } from './cidr.js';
import {
  type Closure,
  type Compiled,
  characters,
  compare,
  compareStrings,
  comprehension,
  concatenation,
  condition,
  conditional,
  constant,
  fail,
  logic,
  lowerAscii,
  stringTest,
  stringTestAny,
} from './closures.js';
import { dynamicValue } from './dynamic.js';
import type { Host } from './host.js';
import {
  arithmetic,
  type CompiledInt,
  compareInts,
  conditionalInt,
  intConstant,
  narrowInt,
  negate,
  widen,
} from './integers.js';
import type { Field } from './schema.js';

type Expr<Kind extends CheckedExpr['kind']> = Extract<CheckedExpr, { kind: Kind }>;
type FieldOf<Type extends Field['type']> = Exclude<Extract<Field, { type: Type }>, { host: true }>;

const SIZE_MAX = 2 ** 31;

/**
 * Never throws: an event on which the filter has no value does not match. `host` is what `host.name` and
 * `host.labels` read; undefined: the event's own node, of which no labels are known.
 */
export function compileFilter(root: CheckedExpr, host: Host | undefined): (event: BusEvent) => boolean {
  return condition(new Compiler(host).bool(root));
}

class Compiler {
  readonly #node: Host | undefined;

  constructor(host: Host | undefined) {
    this.#node = host;
  }

  bool(expr: CheckedExpr): Compiled<boolean> {
    switch (expr.kind) {
      case 'bool':
        return constant(expr.value);
      case 'field':
        return read(expr.field as FieldOf<'bool'>);
      case 'has':
        return { run: expr.present, fallible: false };
      case 'not':
        return this.#not(expr);
      case 'and':
      case 'or':
        return logic(
          expr.operands.map((operand) => this.bool(operand)),
          expr.kind === 'or',
        );
      case 'compare':
        return this.#compare(expr);
      case 'conditional':
        return conditional(this.bool(expr.test), this.bool(expr.yes), this.bool(expr.no));
      case 'in':
        return this.#in(expr);
      case 'string_test':
        return stringTest(expr.test, this.#string(expr.subject), this.#string(expr.argument));
      case 'string_test_any':
        return stringTestAny(expr.test, this.#string(expr.subject), expr.texts);
      case 'matches':
        return this.#matches(expr);
      case 'comprehension':
        return comprehension(expr.quantifier, this.#strings(expr.list), this.bool(expr.body));
      case 'cidr_contains':
        return this.#cidrContains(expr);
      default:
        throw unexpected(expr, 'bool');
    }
  }

  #int(expr: CheckedExpr): CompiledInt {
    switch (expr.kind) {
      case 'int':
        return intConstant(expr.value);
      case 'field': {
        const field = expr.field as FieldOf<'int'>;
        if ('wide' in field) return { wide: true, run: field.read, fallible: false };
        const { bound } = field;
        return narrowInt(field.read, field.dynamic === true, -bound, bound);
      }
      case 'negate':
        return negate(this.#int(expr.operand));
      case 'arithmetic':
        return arithmetic(expr.operator, this.#int(expr.left), this.#int(expr.right));
      case 'conditional':
        return conditionalInt(this.bool(expr.test), this.#int(expr.yes), this.#int(expr.no));
      case 'size':
        return this.#size(expr);
      case 'index':
        return { wide: true, ...this.#element(this.#ints(expr.list), this.#int(expr.index)) };
      default:
        throw unexpected(expr, 'int');
    }
  }

  #string(expr: CheckedExpr): Compiled<string> {
    switch (expr.kind) {
      case 'string':
        return constant(expr.value);
      case 'field':
        if ('host' in expr.field) return this.#host();
        return read(expr.field as FieldOf<'string'>);
      case 'item':
        return { run: (_event, item) => item, fallible: false };
      case 'arithmetic':
        return concatenation(this.#string(expr.left), this.#string(expr.right));
      case 'conditional':
        return conditional(this.bool(expr.test), this.#string(expr.yes), this.#string(expr.no));
      case 'index':
        return this.#element(this.#strings(expr.list), this.#int(expr.index));
      case 'lower_ascii':
        return lowerAscii(this.#string(expr.operand));
      default:
        throw unexpected(expr, 'string');
    }
  }

  #host(): Compiled<string> {
    if (this.#node !== undefined) return constant(this.#node.name);
    return { run: ({ node = '' }) => node, fallible: false };
  }

  /** Timestamps and durations: nanoseconds. */
  #time(expr: CheckedExpr): Compiled<bigint> {
    switch (expr.kind) {
      case 'time':
        return constant(expr.value);
      case 'field':
        return read(expr.field as FieldOf<'timestamp'>);
      case 'conditional':
        return conditional(this.bool(expr.test), this.#time(expr.yes), this.#time(expr.no));
      case 'arithmetic':
        return this.#timeArithmetic(expr);
      default:
        throw unexpected(expr, 'timestamp or duration');
    }
  }

  #timeArithmetic(expr: Expr<'arithmetic'>): Compiled<bigint> {
    const left = this.#time(expr.left).run;
    const right = this.#time(expr.right).run;
    const [min, max] =
      expr.type === 'timestamp' ? [TIMESTAMP_NS_MIN, TIMESTAMP_NS_MAX] : [DURATION_NS_MIN, DURATION_NS_MAX];
    const sign = expr.operator === '-' ? -1n : 1n;
    const run: Closure<bigint> = (event, item) => {
      const result = left(event, item) + sign * right(event, item);
      return result < min || result > max ? fail() : result;
    };
    return { run, fallible: true };
  }

  #strings(expr: CheckedExpr): Compiled<readonly string[]> {
    if (expr.kind === 'field' && 'host' in expr.field) return constant(this.#node?.labels ?? []);
    if (expr.kind === 'field') return read(expr.field as FieldOf<'list(string)'>);
    if (expr.kind === 'list') return listOf(expr.elements.map((element) => this.#string(element)));
    if (expr.kind === 'conditional') {
      return conditional(this.bool(expr.test), this.#strings(expr.yes), this.#strings(expr.no));
    }
    throw unexpected(expr, 'list(string)');
  }

  #ints(expr: CheckedExpr): Compiled<readonly bigint[]> {
    if (expr.kind === 'list') return listOf(expr.elements.map((element) => widen(this.#int(element))));
    if (expr.kind === 'conditional') {
      return conditional(this.bool(expr.test), this.#ints(expr.yes), this.#ints(expr.no));
    }
    throw unexpected(expr, 'list(int)');
  }

  #not(expr: Expr<'not'>): Compiled<boolean> {
    const { run, fallible } = this.bool(expr.operand);
    return { run: (event, item) => !run(event, item), fallible };
  }

  #compare({ operator, left, right }: Expr<'compare'>): Compiled<boolean> {
    switch (left.type) {
      case 'bool':
        return compare(operator, this.bool(left), this.bool(right));
      case 'int':
        return compareInts(operator, this.#int(left), this.#int(right));
      case 'string':
        return compareStrings(operator, this.#string(left), this.#string(right));
      case 'timestamp':
      case 'duration':
        return compare(operator, this.#time(left), this.#time(right));
      case 'list(string)':
        return compareLists(operator === '==', this.#strings(left), this.#strings(right));
      case 'list(int)':
        return compareLists(operator === '==', this.#ints(left), this.#ints(right));
      case 'dyn':
        throw unexpected(left, 'a known type');
    }
  }

  #in({ item, list }: Expr<'in'>): Compiled<boolean> {
    if (item.type === 'string') return contains(this.#strings(list), this.#string(item));
    const wanted = this.#int(item);
    const members = this.#ints(list);
    if (members.constant === undefined || wanted.wide) return contains(members, widen(wanted));
    // Members that are no safe integers are never equal to a narrow value.
    const narrow = constant(members.constant.map(Number).filter(Number.isSafeInteger));
    return contains(narrow, wanted);
  }

  #matches(expr: Expr<'matches'>): Compiled<boolean> {
    const { run, fallible } = this.#string(expr.subject);
    const { test } = expr.pattern;
    return { run: (event, item) => test(run(event, item)), fallible };
  }

  #cidrContains(expr: Expr<'cidr_contains'>): Compiled<boolean> {
    const { run } = this.#string(expr.address);
    const { block } = expr;
    return { run: (event, item) => blockContains(block, run(event, item)) ?? fail(), fallible: true };
  }

  #size({ operand }: Expr<'size'>): CompiledInt {
    if (operand.kind === 'dyn') return narrowInt(sizeOf(dynamicValue(operand)), true, 0, SIZE_MAX);
    if (operand.type === 'string') {
      const { run, fallible } = this.#string(operand);
      return narrowInt((event, item) => characters(run(event, item)), fallible, 0, SIZE_MAX);
    }
    const list: Compiled<readonly unknown[]> =
      operand.type === 'list(int)' ? this.#ints(operand) : this.#strings(operand);
    return narrowInt((event, item) => list.run(event, item).length, list.fallible, 0, SIZE_MAX);
  }

  #element<T>(list: Compiled<readonly T[]>, index: CompiledInt): Compiled<T> {
    const at = index.wide ? (event: BusEvent, item: string) => Number(index.run(event, item)) : index.run;
    return { run: (event, item) => list.run(event, item)[at(event, item)] ?? fail(), fallible: true };
  }
}

function read<T>(field: { readonly read: (event: BusEvent) => T; readonly dynamic?: true }): Compiled<T> {
  return { run: field.read, fallible: field.dynamic === true };
}

/** Characters of a text, elements of a list, names of an object. */
function sizeOf(value: (event: BusEvent) => JsonValue | undefined): Closure<number> {
  return (event) => {
    const measured = value(event);
    if (typeof measured === 'string') return characters(measured);
    if (typeof measured !== 'object' || measured === null) return fail();
    return Array.isArray(measured) ? measured.length : Object.keys(measured).length;
  };
}

function listOf<T>(elements: readonly Compiled<T>[]): Compiled<readonly T[]> {
  const constants = elements.map((element) => element.constant).filter((value) => value !== undefined);
  if (constants.length === elements.length) return constant(constants);
  return {
    run: (event, item) => elements.map((element) => element.run(event, item)),
    fallible: elements.some((element) => element.fallible),
  };
}

function contains<T>(list: Compiled<readonly T[]>, wanted: Compiled<T>): Compiled<boolean> {
  const { run } = wanted;
  const fallible = list.fallible || wanted.fallible;
  if (list.constant !== undefined) {
    const members = new Set(list.constant);
    return { run: (event, item) => members.has(run(event, item)), fallible };
  }
  return { run: (event, item) => list.run(event, item).includes(run(event, item)), fallible };
}

function compareLists<T>(
  wanted: boolean,
  left: Compiled<readonly T[]>,
  right: Compiled<readonly T[]>,
): Compiled<boolean> {
  const run: Closure<boolean> = (event, item) => {
    const a = left.run(event, item);
    const b = right.run(event, item);
    return (a.length === b.length && a.every((element, i) => element === b[i])) === wanted;
  };
  return { run, fallible: left.fallible || right.fallible };
}

/** The checker lets no such tree through. */
function unexpected(expr: CheckedExpr, type: string): Error {
  return new TypeError(`a ${expr.kind} of type ${expr.type} stands where ${type} is needed`);
}

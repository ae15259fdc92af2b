/**
 * The pieces that compile.ts puts together: closures over an event and, within a comprehension, its item. A closure
 * that can fail to give a value throws one prepared error, which only `&&`, `||`, `exists`, `all` and the filter as a
 * whole catch. Closures that cannot fail are marked, and need no try.
 */
import { FILTER_STRING_CHARACTERS_MAX } from '../../limits.js';
import type { BusEvent } from '../../wire/event/event.js';
import type { CompareOperator, Quantifier, StringTest } from './checked.js';

export type Closure<T> = (event: BusEvent, item: string) => T;

export interface Compiled<T> {
  readonly run: Closure<T>;
  readonly fallible: boolean;
  /** Set when the value is the same for every event. */
  readonly constant?: T;
}

const EVALUATION_ERROR = new Error('a filter has no value for this event');

/** Division by zero, an index out of bounds, an overflow: the expression has no value. */
export function fail(): never {
  throw EVALUATION_ERROR;
}

function isFailure(cause: unknown): boolean {
  if (cause === EVALUATION_ERROR) return true;
  throw cause;
}

export function constant<T>(value: T): Compiled<T> {
  return { run: () => value, fallible: false, constant: value };
}

/** An expression without a value does not match. */
export function condition({ run, fallible }: Compiled<boolean>): (event: BusEvent) => boolean {
  if (!fallible) return (event) => run(event, '');
  return (event) => {
    try {
      return run(event, '');
    } catch (cause) {
      return !isFailure(cause);
    }
  };
}

/** `&&` (decisive: false) or `||` (decisive: true): one decisive operand decides, even beside one that fails. */
export function logic(operands: readonly Compiled<boolean>[], decisive: boolean): Compiled<boolean> {
  // Operands that cannot fail come first: the result is the same, and is often known before any try.
  const ordered = [...operands.filter((o) => !o.fallible), ...operands.filter((o) => o.fallible)];
  const runs = ordered.map((operand) => operand.run);
  if (!operands.some((operand) => operand.fallible)) return { run: plainLogic(runs, decisive), fallible: false };
  const run: Closure<boolean> = (event, item) => {
    let failed = false;
    for (const operand of runs) {
      try {
        if (operand(event, item) === decisive) return decisive;
      } catch (cause) {
        failed = isFailure(cause);
      }
    }
    return failed ? fail() : !decisive;
  };
  return { run, fallible: true };
}

function plainLogic(runs: readonly Closure<boolean>[], decisive: boolean): Closure<boolean> {
  const [first, second] = runs as [Closure<boolean>, Closure<boolean>];
  if (runs.length === 2 && decisive) return (event, item) => first(event, item) || second(event, item);
  if (runs.length === 2) return (event, item) => first(event, item) && second(event, item);
  return (event, item) => {
    for (const run of runs) if (run(event, item) === decisive) return decisive;
    return !decisive;
  };
}

export function comprehension(
  quantifier: Quantifier,
  list: Compiled<readonly string[]>,
  body: Compiled<boolean>,
): Compiled<boolean> {
  const fallible = list.fallible || body.fallible;
  if (quantifier === 'exists_one') return { run: existsOne(list.run, body.run), fallible };
  const decisive = quantifier === 'exists';
  const run: Closure<boolean> = (event, item) => {
    let failed = false;
    for (const element of list.run(event, item)) {
      try {
        if (body.run(event, element) === decisive) return decisive;
      } catch (cause) {
        failed = isFailure(cause);
      }
    }
    return failed ? fail() : !decisive;
  };
  return { run, fallible };
}

/** Strict, as in CEL: one failing element leaves it without a value. */
function existsOne(list: Closure<readonly string[]>, body: Closure<boolean>): Closure<boolean> {
  return (event, item) => {
    let count = 0;
    for (const element of list(event, item)) if (body(event, element)) count++;
    return count === 1;
  };
}

export function conditional<T>(test: Compiled<boolean>, yes: Compiled<T>, no: Compiled<T>): Compiled<T> {
  return {
    run: (event, item) => (test.run(event, item) ? yes.run(event, item) : no.run(event, item)),
    fallible: test.fallible || yes.fallible || no.fallible,
  };
}

/** Comparisons of values for which JavaScript's operators are right: not the order of strings. */
export function compare<T extends bigint | boolean | number | string>(
  operator: CompareOperator,
  left: Compiled<T>,
  right: Compiled<T>,
): Compiled<boolean> {
  const fallible = left.fallible || right.fallible;
  if (right.constant === undefined) return { run: compareRuns(operator, left.run, right.run), fallible };
  return { run: compareConstant(operator, left.run, right.constant), fallible };
}

function compareConstant<T>(operator: CompareOperator, left: Closure<T>, right: T): Closure<boolean> {
  switch (operator) {
    case '==':
      return (event, item) => left(event, item) === right;
    case '!=':
      return (event, item) => left(event, item) !== right;
    case '<':
      return (event, item) => left(event, item) < right;
    case '<=':
      return (event, item) => left(event, item) <= right;
    case '>':
      return (event, item) => left(event, item) > right;
    case '>=':
      return (event, item) => left(event, item) >= right;
  }
}

function compareRuns<T>(operator: CompareOperator, left: Closure<T>, right: Closure<T>): Closure<boolean> {
  switch (operator) {
    case '==':
      return (event, item) => left(event, item) === right(event, item);
    case '!=':
      return (event, item) => left(event, item) !== right(event, item);
    case '<':
      return (event, item) => left(event, item) < right(event, item);
    case '<=':
      return (event, item) => left(event, item) <= right(event, item);
    case '>':
      return (event, item) => left(event, item) > right(event, item);
    case '>=':
      return (event, item) => left(event, item) >= right(event, item);
  }
}

/** Strings are ordered by code point, as in CEL; JavaScript orders by UTF-16 unit. */
export function compareStrings(
  operator: CompareOperator,
  left: Compiled<string>,
  right: Compiled<string>,
): Compiled<boolean> {
  if (operator === '==' || operator === '!=') return compare(operator, left, right);
  const order: Compiled<number> = {
    run: (event, item) => codePointOrder(left.run(event, item), right.run(event, item)),
    fallible: left.fallible || right.fallible,
  };
  return compare(operator, order, constant(0));
}

/** Negative, 0 or positive. Surrogates stand for code points above every other unit. */
export function codePointOrder(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return (x >= 0xd800 && x < 0xe000 ? x + 0x10000 : x) - (y >= 0xd800 && y < 0xe000 ? y + 0x10000 : y);
  }
  return a.length - b.length;
}

export function stringTest(test: StringTest, subject: Compiled<string>, argument: Compiled<string>): Compiled<boolean> {
  const { run } = subject;
  const fallible = subject.fallible || argument.fallible;
  const wanted = argument.constant;
  const other = argument.run;
  switch (test) {
    case 'startsWith':
      if (wanted !== undefined) return { run: (event, item) => run(event, item).startsWith(wanted), fallible };
      return { run: (event, item) => run(event, item).startsWith(other(event, item)), fallible };
    case 'endsWith':
      if (wanted !== undefined) return { run: (event, item) => run(event, item).endsWith(wanted), fallible };
      return { run: (event, item) => run(event, item).endsWith(other(event, item)), fallible };
    case 'contains':
      if (wanted !== undefined) return { run: (event, item) => run(event, item).includes(wanted), fallible };
      return { run: (event, item) => run(event, item).includes(other(event, item)), fallible };
  }
}

export function stringTestAny(
  test: StringTest,
  subject: Compiled<string>,
  texts: readonly string[],
): Compiled<boolean> {
  const { run, fallible } = subject;
  const tests: Readonly<Record<StringTest, (value: string, text: string) => boolean>> = {
    startsWith: (value, text) => value.startsWith(text),
    endsWith: (value, text) => value.endsWith(text),
    contains: (value, text) => value.includes(text),
  };
  const holds = tests[test];
  return {
    run: (event, item) => {
      const value = run(event, item);
      for (const text of texts) if (holds(value, text)) return true;
      return false;
    },
    fallible,
  };
}

/** Letters of other alphabets stay as they are, as in CEL. */
export function lowerAscii({ run, fallible }: Compiled<string>): Compiled<string> {
  return { run: (event, item) => run(event, item).replace(/[A-Z]+/g, (letters) => letters.toLowerCase()), fallible };
}

export function concatenation(left: Compiled<string>, right: Compiled<string>): Compiled<string> {
  const run: Closure<string> = (event, item) => {
    const a = left.run(event, item);
    const b = right.run(event, item);
    return a.length + b.length > FILTER_STRING_CHARACTERS_MAX ? fail() : a + b;
  };
  return { run, fallible: true };
}

/** Characters (code points), as in CEL. */
export function characters(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    const unit = text.charCodeAt(i);
    const pair = unit >= 0xd800 && unit < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00;
    if (pair) count--;
  }
  return count;
}

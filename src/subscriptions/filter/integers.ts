/**
 * Integers of 64 bits, exactly. An expression that stays within plus and minus 2^53 - 1, by the ranges of its parts, is
 * computed with numbers; any other with bigints. An overflow of 64 bits and a division by zero give no value.
 */
import type { ArithmeticOperator, CompareOperator } from './checked.js';
import { type Closure, type Compiled, compare, fail } from './closures.js';
import { INT_MAX, INT_MIN } from './scope.js';

export type CompiledInt =
  | (Compiled<number> & { readonly wide: false; readonly min: number; readonly max: number })
  | (Compiled<bigint> & { readonly wide: true });

export function intConstant(value: bigint): CompiledInt {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) return { wide: true, run: () => value, fallible: false, constant: value };
  return { wide: false, run: () => number, fallible: false, constant: number, min: number, max: number };
}

/** Values between min and max, both safe integers. */
export function narrowInt(run: Closure<number>, fallible: boolean, min: number, max: number): CompiledInt {
  return { wide: false, run, fallible, min, max };
}

export function widen(value: CompiledInt): Compiled<bigint> {
  if (value.wide) return value;
  const { run, fallible } = value;
  if (value.constant !== undefined) {
    const wide = BigInt(value.constant);
    return { run: () => wide, fallible, constant: wide };
  }
  return { run: (event, item) => BigInt(run(event, item)), fallible };
}

export function compareInts(operator: CompareOperator, left: CompiledInt, right: CompiledInt): Compiled<boolean> {
  if (!left.wide && !right.wide) return compare(operator, left, right);
  return compare(operator, widen(left), widen(right));
}

export function conditionalInt(test: Compiled<boolean>, yes: CompiledInt, no: CompiledInt): CompiledInt {
  const fallible = test.fallible || yes.fallible || no.fallible;
  if (!yes.wide && !no.wide) {
    const run: Closure<number> = (event, item) => (test.run(event, item) ? yes.run(event, item) : no.run(event, item));
    return narrowInt(run, fallible, Math.min(yes.min, no.min), Math.max(yes.max, no.max));
  }
  const a = widen(yes).run;
  const b = widen(no).run;
  return { wide: true, run: (event, item) => (test.run(event, item) ? a(event, item) : b(event, item)), fallible };
}

export function negate(operand: CompiledInt): CompiledInt {
  return arithmetic('-', intConstant(0n), operand);
}

export function arithmetic(operator: ArithmeticOperator, left: CompiledInt, right: CompiledInt): CompiledInt {
  if (!left.wide && !right.wide) {
    const [min, max] = rangeOf(operator, left, right);
    if (Number.isSafeInteger(min) && Number.isSafeInteger(max)) {
      const divides = operator === '/' || operator === '%';
      const fallible = left.fallible || right.fallible || (divides && right.min <= 0 && right.max >= 0);
      return narrowInt(narrowArithmetic(operator, left.run, right.run), fallible, min, max);
    }
  }
  return { wide: true, run: wideArithmetic(operator, widen(left).run, widen(right).run), fallible: true };
}

interface Range {
  readonly min: number;
  readonly max: number;
}

function rangeOf(operator: ArithmeticOperator, a: Range, b: Range): [number, number] {
  switch (operator) {
    case '+':
      return [a.min + b.min, a.max + b.max];
    case '-':
      return [a.min - b.max, a.max - b.min];
    case '*': {
      const corners = [a.min * b.min, a.min * b.max, a.max * b.min, a.max * b.max];
      return [Math.min(...corners), Math.max(...corners)];
    }
    // The quotient is never farther from 0 than the dividend, nor is the remainder.
    case '/':
    case '%': {
      const farthest = Math.max(Math.abs(a.min), Math.abs(a.max));
      return [-farthest, farthest];
    }
  }
}

function narrowArithmetic(
  operator: ArithmeticOperator,
  left: Closure<number>,
  right: Closure<number>,
): Closure<number> {
  switch (operator) {
    case '+':
      return (event, item) => left(event, item) + right(event, item);
    case '-':
      return (event, item) => left(event, item) - right(event, item);
    case '*':
      return (event, item) => left(event, item) * right(event, item);
    case '/':
      return (event, item) => {
        const a = left(event, item);
        const b = right(event, item);
        // Taking the remainder off first keeps the division exact up to 2^53.
        return b === 0 ? fail() : (a - (a % b)) / b;
      };
    case '%':
      return (event, item) => {
        const b = right(event, item);
        const a = left(event, item);
        return b === 0 ? fail() : a % b;
      };
  }
}

function wideArithmetic(operator: ArithmeticOperator, left: Closure<bigint>, right: Closure<bigint>): Closure<bigint> {
  return (event, item) => {
    const result = wideResult(operator, left(event, item), right(event, item));
    return result < INT_MIN || result > INT_MAX ? fail() : result;
  };
}

function wideResult(operator: ArithmeticOperator, a: bigint, b: bigint): bigint {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return b === 0n ? fail() : a / b;
    case '%':
      return b === 0n ? fail() : a % b;
  }
}

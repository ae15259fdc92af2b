/**
 * A condition on a raw entry: comparisons of integer fields with constants, joined by and/or. The builder widens
 * everything else to `true`. There is no `not`: negation is pushed into the comparisons.
 */
import type { CompareOperator } from '../filter/checked.js';
import type { RawRef } from './catalogue.js';

/** Fields read as 64-bit integers: of 64 bits as two's complement, whether or not the kernel calls them signed. */
export type RawExpr =
  | { readonly kind: 'constant'; readonly value: boolean }
  | { readonly kind: 'compare'; readonly ref: RawRef; readonly operator: CompareOperator; readonly value: bigint }
  /** `negated`: none of the values. */
  | { readonly kind: 'in'; readonly ref: RawRef; readonly values: readonly bigint[]; readonly negated: boolean }
  | { readonly kind: 'and'; readonly operands: readonly RawExpr[] }
  | { readonly kind: 'or'; readonly operands: readonly RawExpr[] };

export const ALWAYS: RawExpr = { kind: 'constant', value: true };
export const NEVER: RawExpr = { kind: 'constant', value: false };

export function isConstant(expr: RawExpr, value: boolean): boolean {
  return expr.kind === 'constant' && expr.value === value;
}

export function allOf(operands: readonly RawExpr[]): RawExpr {
  return joined('and', operands);
}

export function anyOf(operands: readonly RawExpr[]): RawExpr {
  return joined('or', operands);
}

function joined(kind: 'and' | 'or', operands: readonly RawExpr[]): RawExpr {
  const decisive = kind === 'or';
  if (operands.some((operand) => isConstant(operand, decisive))) return decisive ? ALWAYS : NEVER;
  const rest = new Set<RawExpr>();
  for (const operand of operands) {
    if (operand.kind === kind) for (const each of operand.operands) rest.add(each);
    else if (operand.kind !== 'constant') rest.add(operand);
  }
  if (rest.size === 0) return decisive ? NEVER : ALWAYS;
  return rest.size === 1 ? [...rest][0]! : { kind, operands: [...rest] };
}

/** How one field stands in an entry, as its format file declares it. */
export interface RawField {
  readonly kind: string;
  /** The C declaration without the name. */
  readonly type: string;
  readonly sizeBytes: number;
  readonly elementBytes: number;
  readonly signed: boolean;
}

/** Finds a field of a format by name. */
export interface RawFields {
  field(name: string): RawField | undefined;
}

const INT64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };

/** Every value that an integer of this size reads as. */
export function rangeOf(bytes: number, signed: boolean): { readonly min: bigint; readonly max: bigint } {
  if (bytes >= 8) return INT64;
  const bits = BigInt(bytes * 8);
  return signed ? { min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n } : { min: 0n, max: (1n << bits) - 1n };
}

/** The comparison's result if it is the same for every value in the range; else undefined. */
export function decidedByRange(
  operator: CompareOperator,
  value: bigint,
  { min, max }: { readonly min: bigint; readonly max: bigint },
): boolean | undefined {
  switch (operator) {
    case '==':
      return value < min || value > max ? false : undefined;
    case '!=':
      return value < min || value > max ? true : undefined;
    case '<':
      return value > max ? true : value <= min ? false : undefined;
    case '<=':
      return value >= max ? true : value < min ? false : undefined;
    case '>':
      return value < min ? true : value >= max ? false : undefined;
    case '>=':
      return value <= min ? true : value > max ? false : undefined;
  }
}

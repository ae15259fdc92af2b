/**
 * Generates the test of a condition for an event's format, which reads an
 * entry's fields directly in the page. It runs on every recorded entry of its
 * kind, so it allocates nothing and decodes nothing. Numbers are the only part
 * of a filter that gets into the code.
 */

import type { RawRef } from '../../subscriptions/pushdown/catalogue.js';
import { anyOf, decidedByRange, type RawExpr, rangeOf } from '../../subscriptions/pushdown/raw-expr.js';
import type { EventFormat } from '../source/pages/format.js';
import type { EntryTest } from '../source/pages/page.js';

/** Lists longer than this are looked up in a set. */
const CHAIN_MAX = 6;

interface Place {
  readonly offset: number;
  readonly bytes: number;
  readonly signed: boolean;
}

/**
 * The test that passes entries on which any of the conditions holds; a boolean where the result is the same for every
 * entry.
 */
export function compileRawPredicate(exprs: readonly RawExpr[], format: EventFormat): EntryTest | boolean {
  const writer = new Writer(format);
  const code = writer.code(anyOf(exprs));
  if (typeof code === 'boolean') return code;
  // An entry too short for its format is left to the decoder.
  const body = `return (w, at, end) => end - at < ${writer.words} || (${code});`;
  const make = new Function('sets', body) as (sets: readonly ReadonlySet<number>[]) => EntryTest;
  return make(writer.sets);
}

type Code = string | boolean;

class Writer {
  readonly sets: ReadonlySet<number>[] = [];
  /** Words that the code reads. */
  words = 0;

  readonly #format: EventFormat;

  constructor(format: EventFormat) {
    this.#format = format;
  }

  code(expr: RawExpr): Code {
    if (expr.kind === 'constant') return expr.value;
    if (expr.kind === 'and' || expr.kind === 'or') {
      return joined(
        expr.operands.map((operand) => this.code(operand)),
        expr.kind === 'or',
      );
    }
    const place = this.#place(expr.ref);
    if (!place) return true;
    if (expr.kind === 'in') return this.#in(place, expr.values, expr.negated);
    const decided = decidedByRange(expr.operator, expr.value, rangeOf(place.bytes, place.signed));
    if (decided !== undefined) return decided;
    if (place.bytes < 8) return `${this.#narrow(place)} ${jsOperator(expr.operator)} ${expr.value}`;
    return this.#wide(place, expr.operator, expr.value);
  }

  /** Where a field stands; undefined when the format has no such number, or it stands across words. */
  #place({ field: name, element }: RawRef): Place | undefined {
    const field = this.#format.field(name);
    if (field?.kind !== (element === undefined ? 'int' : 'array')) return undefined;
    const { elementBytes: bytes, signed, sizeBytes } = field;
    const offset = field.offset + (element ?? 0) * bytes;
    if (offset + bytes > field.offset + sizeBytes || offset % Math.min(bytes, 4) !== 0) return undefined;
    this.words = Math.max(this.words, (offset + bytes + 3) >>> 2);
    return { offset, bytes, signed };
  }

  #word(index: number): string {
    return index === 0 ? 'w[at]' : `w[at + ${index}]`;
  }

  /** Code that reads a field of 4 bytes or less as a number. */
  #narrow({ offset, bytes, signed }: Place): string {
    const word = this.#word(offset >>> 2);
    if (bytes === 4) return signed ? `(${word} | 0)` : word;
    const unused = 32 - bytes * 8;
    const left = unused - (offset & 3) * 8;
    return `(${word} << ${left} ${signed ? '>>' : '>>>'} ${unused})`;
  }

  #halves({ offset }: Place): { low: string; high: string } {
    return { low: this.#word(offset >>> 2), high: `(${this.#word((offset >>> 2) + 1)} | 0)` };
  }

  #wide(place: Place, operator: string, value: bigint): string {
    const { low, high } = this.#halves(place);
    const l = Number(BigInt.asUintN(32, value));
    const h = Number(value >> 32n);
    if (operator === '==') return `(${low} === ${l} && ${high} === ${h})`;
    if (operator === '!=') return `(${low} !== ${l} || ${high} !== ${h})`;
    return `(${high} ${operator[0]} ${h} || (${high} === ${h} && ${low} ${operator} ${l}))`;
  }

  #in(place: Place, values: readonly bigint[], negated: boolean): Code {
    const { min, max } = rangeOf(place.bytes, place.signed);
    const held = values.filter((value) => value >= min && value <= max);
    if (held.length === 0) return negated;
    const found = place.bytes < 8 ? this.#member(this.#narrow(place), held.map(Number)) : this.#wideMember(place, held);
    return negated ? `!(${found})` : `(${found})`;
  }

  #member(read: string, values: readonly number[]): string {
    if (values.length <= CHAIN_MAX) return values.map((value) => `${read} === ${value}`).join(' || ');
    this.sets.push(new Set(values));
    return `sets[${this.sets.length - 1}].has(${read})`;
  }

  /** Tests membership by upper half first, because the values nearly always share one. */
  #wideMember(place: Place, values: readonly bigint[]): string {
    const { low, high } = this.#halves(place);
    const lows = new Map<number, number[]>();
    for (const value of values) {
      const h = Number(value >> 32n);
      lows.set(h, [...(lows.get(h) ?? []), Number(BigInt.asUintN(32, value))]);
    }
    return [...lows].map(([h, each]) => `(${high} === ${h} && (${this.#member(low, each)}))`).join(' || ');
  }
}

function jsOperator(operator: string): string {
  return operator === '==' || operator === '!=' ? `${operator}=` : operator;
}

function joined(parts: readonly Code[], decisive: boolean): Code {
  if (parts.includes(decisive)) return decisive;
  const rest = parts.filter((part) => typeof part === 'string');
  if (rest.length === 0) return !decisive;
  return `(${rest.join(decisive ? ' || ' : ' && ')})`;
}

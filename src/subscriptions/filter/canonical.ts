/**
 * The canonical text of a checked filter: filters that differ in blanks,
 * parentheses, quoting, names of variables, order or repetition of operands of
 * `&&` and `||`, or in which side of a comparison stands first, have the same.
 * It is a filter itself, and its own canonical text.
 */
import { durationText, timestampNsText } from '../time-text.js';
import type { CheckedExpr, CompareOperator } from './checked.js';
import { codePointOrder } from './closures.js';

type Expr<Kind extends CheckedExpr['kind']> = Extract<CheckedExpr, { kind: Kind }>;

/** How tightly text holds together, as CEL binds: parentheses are written only where needed. */
const CONDITIONAL = 1;
const OR = 2;
const AND = 3;
const RELATION = 4;
const SUM = 5;
const PRODUCT = 6;
const UNARY = 7;
const PRIMARY = 8;

const FLIPPED: Readonly<Record<CompareOperator, CompareOperator>> = {
  '==': '==',
  '!=': '!=',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
};
const VARIABLE = 'x';

interface Written {
  readonly text: string;
  readonly binding: number;
}

export function canonicalText(expr: CheckedExpr): string {
  return write(expr).text;
}

function write(expr: CheckedExpr): Written {
  switch (expr.kind) {
    case 'bool':
      return primary(String(expr.value));
    case 'int':
      return { text: String(expr.value), binding: expr.value < 0n ? UNARY : PRIMARY };
    case 'string':
      return primary(JSON.stringify(expr.value));
    case 'time':
      return primary(expr.type === 'duration' ? `duration("${durationText(expr.value)}")` : timestamp(expr.value));
    case 'field':
      return primary(expr.field.name);
    case 'has':
      return primary(`has(${expr.name})`);
    case 'item':
      return primary(VARIABLE);
    case 'list':
      return primary(`[${expr.elements.map(canonicalText).join(', ')}]`);
    case 'not':
      return { text: `!${within(expr.operand, PRIMARY)}`, binding: UNARY };
    case 'negate':
      return { text: `-${within(expr.operand, PRIMARY)}`, binding: UNARY };
    case 'and':
      return writeLogic(expr, ' && ', AND);
    case 'or':
      return writeLogic(expr, ' || ', OR);
    case 'compare':
      return writeCompare(expr);
    case 'arithmetic':
      return writeArithmetic(expr);
    case 'conditional': {
      const branches = `${within(expr.yes, OR)} : ${within(expr.no, CONDITIONAL)}`;
      return { text: `${within(expr.test, OR)} ? ${branches}`, binding: CONDITIONAL };
    }
    case 'in':
      return { text: `${within(expr.item, RELATION)} in ${members(expr.list)}`, binding: RELATION };
    case 'string_test':
      return primary(`${within(expr.subject, PRIMARY)}.${expr.test}(${canonicalText(expr.argument)})`);
    case 'matches':
      return primary(`${within(expr.subject, PRIMARY)}.matches(${JSON.stringify(expr.pattern.source)})`);
    case 'size':
      return primary(`size(${canonicalText(expr.operand)})`);
    case 'index':
      return primary(`${within(expr.list, PRIMARY)}[${canonicalText(expr.index)}]`);
    case 'comprehension':
      return primary(`${within(expr.list, PRIMARY)}.${expr.quantifier}(${VARIABLE}, ${canonicalText(expr.body)})`);
    case 'cidr_contains':
      return primary(`cidr("${expr.block.text}").contains(${canonicalText(expr.address)})`);
  }
}

function primary(text: string): Written {
  return { text, binding: PRIMARY };
}

function timestamp(ns: bigint): string {
  return `timestamp("${timestampNsText(ns)}")`;
}

function within(expr: CheckedExpr, binding: number): string {
  const written = write(expr);
  return written.binding < binding ? `(${written.text})` : written.text;
}

function writeLogic(expr: Expr<'and' | 'or'>, operator: string, binding: number): Written {
  const [first, ...rest] = sortedSet(expr.operands.map((operand) => within(operand, binding + 1)));
  if (rest.length === 0) return write(expr.operands[0]!);
  return { text: [first, ...rest].join(operator), binding };
}

function writeCompare({ operator, left, right }: Expr<'compare'>): Written {
  const flip = flips(operator, left, right);
  const [first, second] = flip ? [right, left] : [left, right];
  const sign = flip ? FLIPPED[operator] : operator;
  return { text: `${within(first, RELATION)} ${sign} ${within(second, SUM)}`, binding: RELATION };
}

/** Literals stand on the right; without any, `<` is preferred to `>`, and `==` has its sides in order. */
function flips(operator: CompareOperator, left: CheckedExpr, right: CheckedExpr): boolean {
  if (isLiteral(left) !== isLiteral(right)) return isLiteral(left);
  if (operator === '==' || operator === '!=') return codePointOrder(canonicalText(left), canonicalText(right)) > 0;
  return operator === '>' || operator === '>=';
}

function isLiteral(expr: CheckedExpr): boolean {
  const { kind } = expr;
  if (kind === 'list') return expr.elements.every(isLiteral);
  return kind === 'bool' || kind === 'int' || kind === 'string' || kind === 'time';
}

function writeArithmetic({ operator, left, right }: Expr<'arithmetic'>): Written {
  const binding = operator === '+' || operator === '-' ? SUM : PRODUCT;
  return { text: `${within(left, binding)} ${operator} ${within(right, binding + 1)}`, binding };
}

/** The right of `in`: the order and repetition of literals mean nothing. */
function members(list: CheckedExpr): string {
  if (list.kind !== 'list' || !list.elements.every(isLiteral)) return within(list, SUM);
  return `[${sortedSet(list.elements.map(canonicalText)).join(', ')}]`;
}

function sortedSet(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort(codePointOrder);
}

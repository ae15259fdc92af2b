/**
 * The canonical text of a checked filter: filters that differ in blanks,
 * parentheses, quoting, names of variables, order or repetition of operands of
 * `&&` and `||`, or in which side of a comparison stands first, have the same.
 * It is a filter itself, and its own canonical text. Written from the leaves
 * up, each node once: nesting must not multiply the work.
 */
import { durationText, timestampNsText } from '../../text/time-text.js';
import type { CheckedExpr, CompareOperator } from './checked.js';
import { codePointOrder } from './closures.js';
import { dynamicName } from './dynamic.js';

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
  /** What the node around this one merges with its own. */
  readonly merges?: { readonly kind: 'and' | 'or' | 'not'; readonly operands: readonly Written[] };
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
    case 'dyn':
      return primary(dynamicName(expr));
    case 'has':
      return primary(`has(${expr.name})`);
    case 'item':
      return primary(VARIABLE);
    case 'list':
      return primary(`[${expr.elements.map(canonicalText).join(', ')}]`);
    case 'not':
      return writeNot(expr);
    case 'negate':
      return { text: `-${within(write(expr.operand), PRIMARY)}`, binding: UNARY };
    case 'and':
    case 'or':
      return writeLogic(expr);
    case 'compare':
      return writeCompare(expr);
    case 'arithmetic':
      return writeArithmetic(expr);
    case 'conditional': {
      const branches = `${within(write(expr.yes), OR)} : ${within(write(expr.no), CONDITIONAL)}`;
      return { text: `${within(write(expr.test), OR)} ? ${branches}`, binding: CONDITIONAL };
    }
    case 'in':
      return { text: `${within(write(expr.item), RELATION)} in ${members(expr.list)}`, binding: RELATION };
    default:
      return primary(callText(expr));
  }
}

function callText(
  expr: Expr<
    'string_test' | 'string_test_any' | 'lower_ascii' | 'matches' | 'size' | 'index' | 'comprehension' | 'cidr_contains'
  >,
): string {
  switch (expr.kind) {
    case 'string_test':
      return `${within(write(expr.subject), PRIMARY)}.${expr.test}(${canonicalText(expr.argument)})`;
    case 'string_test_any': {
      const texts = [...new Set(expr.texts)].sort(codePointOrder).map((text) => JSON.stringify(text));
      return `${within(write(expr.subject), PRIMARY)}.${expr.test}Any([${texts.join(', ')}])`;
    }
    case 'lower_ascii':
      return `${within(write(expr.operand), PRIMARY)}.lowerAscii()`;
    case 'matches':
      return `${within(write(expr.subject), PRIMARY)}.matches(${JSON.stringify(expr.pattern.source)})`;
    case 'size':
      return `size(${canonicalText(expr.operand)})`;
    case 'index':
      return `${within(write(expr.list), PRIMARY)}[${canonicalText(expr.index)}]`;
    case 'comprehension':
      return `${within(write(expr.list), PRIMARY)}.${expr.quantifier}(${VARIABLE}, ${canonicalText(expr.body)})`;
    case 'cidr_contains':
      return `cidr("${expr.block.text}").contains(${canonicalText(expr.address)})`;
  }
}

function primary(text: string): Written {
  return { text, binding: PRIMARY };
}

function timestamp(ns: bigint): string {
  return `timestamp("${timestampNsText(ns)}")`;
}

function within({ text, binding }: Written, needed: number): string {
  return binding < needed ? `(${text})` : text;
}

/** Two negations, which merging operands can bring together, are none. */
function writeNot(expr: Expr<'not'>): Written {
  const operand = write(expr.operand);
  if (operand.merges?.kind === 'not') return operand.merges.operands[0]!;
  return { text: `!${within(operand, PRIMARY)}`, binding: UNARY, merges: { kind: 'not', operands: [operand] } };
}

function writeLogic({ kind, operands }: Expr<'and' | 'or'>): Written {
  const [operator, binding] = kind === 'and' ? [' && ', AND] : [' || ', OR];
  const all = operands.map(write).flatMap((each) => (each.merges?.kind === kind ? each.merges.operands : [each]));
  const distinct = new Map(all.map((each) => [each.text, each]));
  const sorted = [...distinct.values()].sort((a, b) => codePointOrder(a.text, b.text));
  if (sorted.length === 1) return sorted[0]!;
  const text = sorted.map((each) => within(each, binding + 1)).join(operator);
  return { text, binding, merges: { kind, operands: sorted } };
}

function writeCompare({ operator, left, right }: Expr<'compare'>): Written {
  const sides = [write(left), write(right)] as const;
  const flip = flips(operator, left, right, sides);
  const [first, second] = flip ? [sides[1], sides[0]] : sides;
  const sign = flip ? FLIPPED[operator] : operator;
  return { text: `${within(first, RELATION)} ${sign} ${within(second, SUM)}`, binding: RELATION };
}

/** Literals stand on the right; without any, `<` is preferred to `>`, and `==` has its sides in order. */
function flips(
  operator: CompareOperator,
  left: CheckedExpr,
  right: CheckedExpr,
  [leftText, rightText]: readonly [Written, Written],
): boolean {
  if (isLiteral(left) !== isLiteral(right)) return isLiteral(left);
  if (operator === '==' || operator === '!=') return codePointOrder(leftText.text, rightText.text) > 0;
  return operator === '>' || operator === '>=';
}

function isLiteral(expr: CheckedExpr): boolean {
  const { kind } = expr;
  if (kind === 'list') return expr.elements.every(isLiteral);
  return kind === 'bool' || kind === 'int' || kind === 'string' || kind === 'time';
}

function writeArithmetic({ operator, left, right }: Expr<'arithmetic'>): Written {
  const binding = operator === '+' || operator === '-' ? SUM : PRODUCT;
  return { text: `${within(write(left), binding)} ${operator} ${within(write(right), binding + 1)}`, binding };
}

/** The right of `in`: the order and repetition of literals mean nothing. */
function members(list: CheckedExpr): string {
  if (list.kind !== 'list' || !isLiteral(list)) return within(write(list), SUM);
  return `[${[...new Set(list.elements.map(canonicalText))].sort(codePointOrder).join(', ')}]`;
}

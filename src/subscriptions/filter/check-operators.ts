/** Operators: which types each takes and what it gives. */
import type { ArithmeticOperator, CheckedExpr, CompareOperator, ValueType } from './checked.js';
import { below, coerced } from './dynamic.js';
import type { BinarySyntax, Syntax } from './parse.js';
import { INT_MIN, type Scope } from './scope.js';

type OperatorSyntax = Extract<Syntax, { kind: 'and' | 'or' | 'not' | 'negate' | 'conditional' | 'index' | 'binary' }>;

const ORDERED: ReadonlySet<ValueType> = new Set<ValueType>(['int', 'string', 'timestamp', 'duration']);

/** Results of `left operator right`, by `left operator right` in types. */
const ARITHMETIC_RESULT: ReadonlyMap<string, 'int' | 'string' | 'timestamp' | 'duration'> = new Map([
  ['int + int', 'int'],
  ['int - int', 'int'],
  ['int * int', 'int'],
  ['int / int', 'int'],
  ['int % int', 'int'],
  ['string + string', 'string'],
  ['timestamp + duration', 'timestamp'],
  ['duration + timestamp', 'timestamp'],
  ['timestamp - duration', 'timestamp'],
  ['timestamp - timestamp', 'duration'],
  ['duration + duration', 'duration'],
  ['duration - duration', 'duration'],
]);

export function checkOperator(scope: Scope, node: OperatorSyntax): CheckedExpr {
  switch (node.kind) {
    case 'and':
    case 'or':
      return checkLogic(scope, node.kind, node.operands);
    case 'not':
      return checkNot(scope, node.operand);
    case 'negate':
      return checkNegate(scope, node.operand);
    case 'conditional':
      return checkConditional(scope, node.test, node.yes, node.no);
    case 'index':
      return checkIndex(scope, node, node.list, node.index);
    default:
      return checkBinary(scope, node);
  }
}

function checkBinary(scope: Scope, node: BinarySyntax): CheckedExpr {
  const { operator, left, right } = node;
  switch (operator) {
    case 'in':
      return checkIn(scope, left, right);
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
      return checkArithmetic(scope, node, operator, left, right);
    default:
      return checkCompare(scope, node, operator, left, right);
  }
}

/** Flattened: `a && (b && c)` has three operands. */
function checkLogic(scope: Scope, kind: 'and' | 'or', args: readonly Syntax[]): CheckedExpr {
  const role = kind === 'and' ? 'each side of "&&"' : 'each side of "||"';
  const operands = args.flatMap((arg) => {
    const checked = scope.checkAs(arg, 'bool', role);
    return checked.kind === kind ? checked.operands : [checked];
  });
  return { kind, type: 'bool', operands };
}

function checkCompare(
  scope: Scope,
  node: Syntax,
  operator: CompareOperator,
  leftSyntax: Syntax,
  rightSyntax: Syntax,
): CheckedExpr {
  let left = scope.check(leftSyntax);
  let right = scope.check(rightSyntax);
  if (isEmptyList(left) && right.type === 'list(int)') left = { ...left, type: 'list(int)' };
  if (isEmptyList(right) && left.type === 'list(int)') right = { ...right, type: 'list(int)' };
  [left, right] = [coerced(left, right.type), coerced(right, left.type)];
  if (left.type !== right.type) {
    throw scope.refuse(node, `"${operator}" cannot compare ${left.type} with ${right.type}`);
  }
  if (left.type === 'dyn') throw scope.refuse(node, `"${operator}" needs a value of a known type on one side`);
  if (operator !== '==' && operator !== '!=' && !ORDERED.has(left.type)) {
    throw scope.refuse(node, `"${operator}" cannot compare ${left.type}: it has no order`);
  }
  return { kind: 'compare', type: 'bool', operator, left, right };
}

function isEmptyList(expr: CheckedExpr): expr is Extract<CheckedExpr, { kind: 'list' }> {
  return expr.kind === 'list' && expr.elements.length === 0;
}

function checkArithmetic(
  scope: Scope,
  node: Syntax,
  operator: ArithmeticOperator,
  leftSyntax: Syntax,
  rightSyntax: Syntax,
): CheckedExpr {
  const [first, second] = [scope.check(leftSyntax), scope.check(rightSyntax)];
  const [left, right] = [coerced(first, second.type), coerced(second, first.type)];
  const type = ARITHMETIC_RESULT.get(`${left.type} ${operator} ${right.type}`);
  if (!type) throw scope.refuse(node, `"${operator}" does not go with ${left.type} and ${right.type}`);
  return { kind: 'arithmetic', type, operator, left, right };
}

function checkNot(scope: Scope, syntax: Syntax): CheckedExpr {
  const operand = scope.checkAs(syntax, 'bool', 'what follows "!"');
  return operand.kind === 'not' ? operand.operand : { kind: 'not', type: 'bool', operand };
}

function checkNegate(scope: Scope, syntax: Syntax): CheckedExpr {
  const operand = scope.checkAs(syntax, 'int', 'what follows "-"');
  if (operand.kind === 'int' && operand.value !== INT_MIN) return { ...operand, value: -operand.value };
  // As CEL reads `--x`: the smallest number has no opposite, and is itself all the same.
  if (operand.kind === 'negate') return operand.operand;
  return { kind: 'negate', type: 'int', operand };
}

function checkIn(scope: Scope, itemSyntax: Syntax, listSyntax: Syntax): CheckedExpr {
  let list = scope.check(listSyntax);
  const item = coerced(scope.check(itemSyntax), list.type === 'list(int)' ? 'int' : 'string');
  list = coerced(list, 'list(string)');
  if (isEmptyList(list) && item.type === 'int') list = { ...list, type: 'list(int)' };
  if (list.type !== 'list(string)' && list.type !== 'list(int)') {
    throw scope.refuse(listSyntax, `"in" needs a list on its right, but this is ${list.type}`);
  }
  if (list.type !== `list(${item.type})`) {
    throw scope.refuse(itemSyntax, `"in" cannot look for ${item.type} in ${list.type}`);
  }
  return { kind: 'in', type: 'bool', item, list };
}

function checkConditional(scope: Scope, testSyntax: Syntax, yesSyntax: Syntax, noSyntax: Syntax): CheckedExpr {
  const test = scope.checkAs(testSyntax, 'bool', 'what stands before "?"');
  const no = scope.check(noSyntax);
  const yes = coerced(scope.check(yesSyntax), no.type);
  if (yes.type === 'dyn') throw scope.refuse(yesSyntax, 'one of the values beside ":" must be of a known type');
  const other = scope.checkAs(noSyntax, yes.type, 'what stands after ":"');
  return { kind: 'conditional', type: yes.type, test, yes, no: other };
}

function checkIndex(scope: Scope, node: Syntax, listSyntax: Syntax, indexSyntax: Syntax): CheckedExpr {
  const list = scope.check(listSyntax);
  if (list.kind === 'dyn') return checkPart(scope, node, list, indexSyntax);
  if (list.type !== 'list(string)' && list.type !== 'list(int)') {
    throw scope.refuse(node, `"[...]" takes an element of a list, but this is ${list.type}`);
  }
  const index = scope.checkAs(indexSyntax, 'int', 'an index');
  return { kind: 'index', type: list.type === 'list(int)' ? 'int' : 'string', list, index };
}

/** `app.body["name"]`, `app.body.list[0]`: which part it is does not depend on the event. */
function checkPart(
  scope: Scope,
  node: Syntax,
  value: Extract<CheckedExpr, { kind: 'dyn' }>,
  syntax: Syntax,
): CheckedExpr {
  const part = syntax.kind === 'int' ? Number(syntax.value) : syntax.kind === 'string' ? syntax.value : undefined;
  if (part === undefined || (typeof part === 'number' && !(part >= 0 && Number.isSafeInteger(part))))
    throw scope.refuse(syntax, 'what stands in "[...]" here must be a name in quotes or a number from 0');
  const found = below(value, part);
  if (found === undefined) throw scope.refuse(node, 'this is deeper than any value');
  return found;
}

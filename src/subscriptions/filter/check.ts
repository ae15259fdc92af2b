/**
 * Syntax to checked tree. Every name, operator and argument is checked against
 * the schema; the first thing that does not fit is refused at its column.
 */
import { snakePath, suggestion } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { checkCall } from './check-calls.js';
import { checkOperator } from './check-operators.js';
import type { CheckedExpr, Quantifier } from './checked.js';
import { checkCost } from './cost.js';
import type { CallSyntax, ConstantSyntax, LoopSyntax, ParsedFilter, Syntax } from './parse.js';
import { FIELDS, GROUPS, ROOTS } from './schema.js';
import { INT_MAX, INT_MIN, Scope } from './scope.js';

const QUANTIFIERS: ReadonlyMap<string, Quantifier> = new Map([
  ['exists', 'exists'],
  ['all', 'all'],
  ['exists_one', 'exists_one'],
  ['existsOne', 'exists_one'],
]);
/** The schema's, GROUPS included, as has() may ask for either. */
const PATHS = [...FIELDS.keys(), ...GROUPS.keys()];

/** @throws BackplaneError filter_invalid. */
export function checkFilter(parsed: ParsedFilter): CheckedExpr {
  const scope = new Scope(parsed, undefined, check);
  const root = check(scope, parsed.root);
  if (root.type !== 'bool')
    throw scope.refuse(parsed.root, `the filter must be a condition (bool), but is ${root.type}`);
  checkCost(root, parsed.text);
  return root;
}

function check(scope: Scope, node: Syntax): CheckedExpr {
  const { exprKind } = node;
  switch (exprKind.case) {
    case 'constExpr':
      return checkConstant(scope, node, exprKind.value.constantKind);
    case 'identExpr':
    case 'selectExpr':
      return checkPath(scope, node);
    case 'callExpr':
      return checkOperatorOrCall(scope, node, exprKind.value);
    case 'listExpr':
      return checkList(scope, node, exprKind.value.elements);
    case 'comprehensionExpr':
      return checkLoop(scope, node, exprKind.value);
    default:
      throw scope.refuse(node, 'maps and messages cannot be written in a filter');
  }
}

function checkOperatorOrCall(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  if (call.target === undefined) {
    const operator = checkOperator(scope, node, call);
    if (operator) return operator;
  }
  return checkCall(scope, node, call);
}

function checkConstant(scope: Scope, node: Syntax, constant: ConstantSyntax): CheckedExpr {
  switch (constant.case) {
    case 'boolValue':
      return { kind: 'bool', type: 'bool', value: constant.value };
    case 'stringValue':
      return { kind: 'string', type: 'string', value: constant.value };
    case 'int64Value':
      if (constant.value < INT_MIN || constant.value > INT_MAX) {
        throw scope.refuse(node, 'the number does not fit 64 bits with a sign');
      }
      return { kind: 'int', type: 'int', value: constant.value };
    case 'uint64Value':
      throw scope.refuse(node, 'unsigned numbers (1u) are not part of filters: leave the "u" out');
    case 'doubleValue':
      throw scope.refuse(node, 'numbers with a fraction or exponent are not part of filters');
    case 'nullValue':
      throw scope.refuse(node, 'null is not part of filters: use has(...) to ask whether a field is set');
    default:
      throw scope.refuse(node, 'bytes are not part of filters: use a string');
  }
}

/** A dotted name: the loop's variable, a field, or has() of one. */
function checkPath(scope: Scope, node: Syntax): CheckedExpr {
  const select = node.exprKind.case === 'selectExpr' ? node.exprKind.value : undefined;
  const written = pathOf(scope, node);
  if (!select?.testOnly && scope.variable !== undefined) {
    if (written === scope.variable) return { kind: 'item', type: 'string' };
    if (written.startsWith(`${scope.variable}.`)) {
      throw scope.refuse(node, `"${scope.variable}" is a string: it has no fields`);
    }
  }
  // Events as JSON have process.commandArgs: what was seen there may be written here.
  const name = snakePath(written);
  if (select?.testOnly) return checkHas(scope, node, name, written);
  const field = FIELDS.get(name);
  if (field) return { kind: 'field', type: field.type, field };
  if (GROUPS.has(name) || ROOTS.has(name)) {
    const example = [...FIELDS.keys()].find((known) => known.startsWith(`${name}.`));
    throw scope.refuse(node, `"${name}" is a group of fields: name one of them, such as "${example}"`);
  }
  const known = scope.variable === undefined ? FIELDS.keys() : [...FIELDS.keys(), scope.variable];
  throw scope.refuse(node, `unknown field ${shown(written)}${suggestion(name, known)}`);
}

function checkHas(scope: Scope, node: Syntax, name: string, written: string): CheckedExpr {
  const field = FIELDS.get(name);
  if (field && 'host' in field) return { kind: 'has', type: 'bool', name, present: () => true };
  const present = field?.present ?? GROUPS.get(name);
  if (!present) {
    throw scope.refuse(node, `unknown field ${shown(written)}${suggestion(name, PATHS)}`);
  }
  return { kind: 'has', type: 'bool', name, present };
}

function pathOf(scope: Scope, node: Syntax): string {
  const parts: string[] = [];
  let at = node;
  while (at.exprKind.case === 'selectExpr' && at.exprKind.value.operand) {
    parts.push(at.exprKind.value.field);
    at = at.exprKind.value.operand;
  }
  if (at.exprKind.case !== 'identExpr') {
    throw scope.refuse(at, `${shown(`.${parts.at(-1) ?? ''}`)} follows something that has no fields`);
  }
  return [at.exprKind.value.name, ...parts.reverse()].join('.');
}

function checkList(scope: Scope, node: Syntax, syntax: readonly Syntax[]): CheckedExpr {
  const elements = syntax.map((element) => check(scope, element));
  const type = elements[0]?.type ?? 'string';
  if (type !== 'string' && type !== 'int') {
    throw scope.refuse(syntax[0] ?? node, `lists hold strings or integers, not ${type}`);
  }
  const odd = elements.findIndex((element) => element.type !== type);
  if (odd >= 0) {
    throw scope.refuse(syntax[odd]!, `the list begins with ${type}, but this is ${elements[odd]!.type}`);
  }
  return { kind: 'list', type: type === 'int' ? 'list(int)' : 'list(string)', elements };
}

function checkLoop(scope: Scope, node: Syntax, loop: LoopSyntax): CheckedExpr {
  const macro = scope.parsed.macroOf(node);
  const quantifier = QUANTIFIERS.get(macro);
  if (!quantifier) throw scope.refuse(node, `"${macro}" is not part of filters: use exists, all or exists_one`);
  if (scope.variable !== undefined) throw scope.refuse(node, `"${macro}" cannot stand within another comprehension`);
  const variable = loop.iterVar;
  if (ROOTS.has(variable)) throw scope.refuse(node, `the variable "${variable}" would hide the fields of that name`);
  const list = check(scope, loop.iterRange!);
  if (list.type !== 'list(string)')
    throw scope.refuse(node, `"${macro}" goes over a list of strings, not ${list.type}`);
  const bodySyntax = bodyOf(loop, quantifier);
  const body = check(new Scope(scope.parsed, variable, check, scope.patterns), bodySyntax);
  if (body.type !== 'bool') throw scope.refuse(bodySyntax, `"${macro}" needs a condition (bool), not ${body.type}`);
  return { kind: 'comprehension', type: 'bool', quantifier, list, body };
}

/** The condition as written, out of the parser's expansion of the macro. */
function bodyOf(loop: LoopSyntax, quantifier: Quantifier): Syntax {
  const step = loop.loopStep!.exprKind as { case: 'callExpr'; value: CallSyntax };
  return step.value.args[quantifier === 'exists_one' ? 0 : 1]!;
}

/**
 * Syntax to checked tree. Every name, operator and argument is checked against
 * the schema; the first thing that does not fit is refused at its column.
 */
import { didYouMean, nearest, snakePath } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { checkCall } from './check-calls.js';
import { checkOperator } from './check-operators.js';
import type { CheckedExpr, Quantifier } from './checked.js';
import { checkCost } from './cost.js';
import { below, coerced, DYNAMIC_NAMES, dynamicOf, hasDynamic } from './dynamic.js';
import type { ConstantSyntax, LoopSyntax, NameSyntax, ParsedFilter, SelectSyntax, Syntax } from './parse.js';
import { FIELDS, GROUPS, ROOTS } from './schema.js';
import { INT_MAX, INT_MIN, Scope } from './scope.js';

const QUANTIFIERS: ReadonlyMap<string, Quantifier> = new Map([
  ['exists', 'exists'],
  ['all', 'all'],
  ['exists_one', 'exists_one'],
  ['existsOne', 'exists_one'],
]);
/** The schema's, GROUPS included, as has() may ask for either. */
const PATHS = [...FIELDS.keys(), ...GROUPS.keys(), ...DYNAMIC_NAMES];

/** @throws BackplaneError filter_invalid. */
export function checkFilter(parsed: ParsedFilter): CheckedExpr {
  const scope = new Scope(parsed.text, undefined, check);
  const root = coerced(check(scope, parsed.root), 'bool');
  if (root.type !== 'bool')
    throw scope.refuse(parsed.root, `the filter must be a condition (bool), but is ${root.type}`);
  checkCost(root, parsed.text);
  return root;
}

function check(scope: Scope, node: Syntax): CheckedExpr {
  switch (node.kind) {
    case 'name':
      return checkName(scope, node);
    case 'select':
      return checkSelect(scope, node);
    case 'has':
      return checkHas(scope, node, node.name);
    case 'call':
      return checkCall(scope, node);
    case 'list':
      return checkList(scope, node, node.elements);
    case 'loop':
      return checkLoop(scope, node);
    case 'bool':
    case 'int':
    case 'string':
    case 'unsigned':
    case 'fraction':
    case 'null':
    case 'bytes':
      return checkConstant(scope, node);
    default:
      return checkOperator(scope, node);
  }
}

function checkConstant(scope: Scope, node: ConstantSyntax): CheckedExpr {
  switch (node.kind) {
    case 'bool':
      return { kind: 'bool', type: 'bool', value: node.value };
    case 'string':
      return { kind: 'string', type: 'string', value: node.value };
    case 'int':
      if (node.value < INT_MIN || node.value > INT_MAX) {
        throw scope.refuse(node, 'the number does not fit 64 bits with a sign');
      }
      return { kind: 'int', type: 'int', value: node.value };
    case 'unsigned':
      throw scope.refuse(node, 'unsigned numbers (1u) are not part of filters: leave the "u" out');
    case 'fraction':
      throw scope.refuse(node, 'numbers with a fraction or exponent are not part of filters');
    case 'null':
      throw scope.refuse(node, 'null is not part of filters: use has(...) to ask whether a field is set');
    default:
      throw scope.refuse(node, 'bytes are not part of filters: use a string');
  }
}

/** The loop's variable, or a field. */
function checkName(scope: Scope, node: NameSyntax): CheckedExpr {
  const { name: written } = node;
  if (scope.variable !== undefined) {
    if (written === scope.variable) return { kind: 'item', type: 'string' };
    if (written.startsWith(`${scope.variable}.`)) {
      throw scope.refuse(node, `"${scope.variable}" is a string: it has no fields`);
    }
  }
  const dynamic = dynamicOf(written);
  if (dynamic) return dynamic;
  // Events as JSON have process.commandArgs: what was seen there may be written here.
  const name = snakePath(written);
  const field = FIELDS.get(name);
  if (field) return { kind: 'field', type: field.type, field };
  if (GROUPS.has(name) || ROOTS.has(name)) {
    const example = [...FIELDS.keys()].find((known) => known.startsWith(`${name}.`));
    throw scope.refuse(node, `"${name}" is a group of fields: name one of them, such as "${example}"`);
  }
  const fields = [...FIELDS.keys(), ...DYNAMIC_NAMES];
  const known = scope.variable === undefined ? fields : [...fields, scope.variable];
  throw unknownField(scope, node, written, nearest(name, known));
}

function unknownField(scope: Scope, node: Syntax, written: string, meant: string | undefined): Error {
  const details = { length: [...written].length, suggestion: meant };
  return scope.refuse(node, `unknown field ${shown(written)}${didYouMean(meant)}`, details);
}

function checkSelect(scope: Scope, node: SelectSyntax): CheckedExpr {
  const target = check(scope, node.target);
  if (target.kind !== 'dyn')
    throw scope.refuse(node.target, `${shown(`.${node.name}`)} follows something that has no fields`);
  return below(target, node.name) ?? tooDeep(scope, node);
}

function tooDeep(scope: Scope, node: Syntax): never {
  throw scope.refuse(node, 'this is deeper than any value');
}

function checkHas(scope: Scope, node: Syntax, written: string): CheckedExpr {
  const dynamic = dynamicOf(written);
  if (dynamic) return hasDynamic(dynamic);
  const name = snakePath(written);
  const field = FIELDS.get(name);
  if (field && 'host' in field) return { kind: 'has', type: 'bool', name, present: () => true };
  const present = field?.present ?? GROUPS.get(name);
  if (!present) throw unknownField(scope, node, written, nearest(name, PATHS));
  return { kind: 'has', type: 'bool', name, present };
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

function checkLoop(scope: Scope, node: LoopSyntax): CheckedExpr {
  const { macro, variable } = node;
  const quantifier = QUANTIFIERS.get(macro);
  if (!quantifier) throw scope.refuse(node, `"${macro}" is not part of filters: use exists, all or exists_one`);
  if (scope.variable !== undefined) throw scope.refuse(node, `"${macro}" cannot stand within another comprehension`);
  if (ROOTS.has(variable)) throw scope.refuse(node, `the variable "${variable}" would hide the fields of that name`);
  const list = coerced(check(scope, node.list), 'list(string)');
  if (list.type !== 'list(string)')
    throw scope.refuse(node, `"${macro}" goes over a list of strings, not ${list.type}`);
  const body = coerced(check(new Scope(scope.text, variable, check, scope.patterns), node.body), 'bool');
  if (body.type !== 'bool') throw scope.refuse(node.body, `"${macro}" needs a condition (bool), not ${body.type}`);
  return { kind: 'comprehension', type: 'bool', quantifier, list, body };
}

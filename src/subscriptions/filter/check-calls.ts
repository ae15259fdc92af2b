/** Functions: their arguments, and those arguments that must be constants because they are compiled once. */
import { FILTER_PATTERN_INSTRUCTIONS_MAX } from '../../limits.js';
import { suggestion } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { parseDuration, parseTimestamp } from '../../text/time-text.js';
import type { CheckedExpr, StringTest } from './checked.js';
import { parseBlock } from './cidr.js';
import type { CallSyntax, Syntax } from './parse.js';
import { compilePattern, tooLarge } from './pattern.js';
import type { Scope } from './scope.js';

type CheckCall = (scope: Scope, node: Syntax, call: CallSyntax) => CheckedExpr;

/** `name(...)`. */
const FUNCTIONS: ReadonlyMap<string, CheckCall> = new Map<string, CheckCall>([
  ['size', (scope, node, call) => checkSize(scope, node, onlyArgument(scope, node, call))],
  ['duration', checkDuration],
  ['timestamp', checkTimestamp],
  ['cidr', refuseLoneCidr],
  ['has', refuseHas],
]);

/** `target.name(...)`. */
const METHODS: ReadonlyMap<string, CheckCall> = new Map<string, CheckCall>([
  ['startsWith', checkStringTest],
  ['endsWith', checkStringTest],
  ['contains', (scope, node, call) => (isCidr(call.target!) ? checkCidr : checkStringTest)(scope, node, call)],
  ['startsWithAny', checkStringTestAny],
  ['endsWithAny', checkStringTestAny],
  ['containsAny', checkStringTestAny],
  ['lowerAscii', checkLowerAscii],
  ['matches', checkMatches],
  ['size', checkSizeMethod],
  ['exists', refuseMacro],
  ['all', refuseMacro],
  ['exists_one', refuseMacro],
]);

const ALL = new Set([...FUNCTIONS.keys(), ...METHODS.keys()]);

export function checkCall(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  const name = call.function;
  const known = (call.target === undefined ? FUNCTIONS : METHODS).get(name);
  if (known) return known(scope, node, call);
  if (FUNCTIONS.has(name)) throw scope.refuse(node, `"${name}" is written ${name}(...), with nothing before it`);
  if (METHODS.has(name)) throw scope.refuse(node, `"${name}" is written after a value: value.${name}(...)`);
  throw scope.refuse(node, `unknown function ${shown(name)}${suggestion(name, ALL)}`);
}

function onlyArgument(scope: Scope, node: Syntax, call: CallSyntax): Syntax {
  if (call.args.length !== 1) {
    throw scope.refuse(node, `"${call.function}" takes 1 argument, got ${call.args.length}`);
  }
  return call.args[0]!;
}

/** The argument's value: a string literal, as what it means is worked out once. */
function onlyLiteral(scope: Scope, node: Syntax, call: CallSyntax): { text: string; syntax: Syntax } {
  const syntax = onlyArgument(scope, node, call);
  const constant = syntax.exprKind.case === 'constExpr' ? syntax.exprKind.value.constantKind : undefined;
  if (constant?.case !== 'stringValue') {
    throw scope.refuse(syntax, `"${call.function}" needs a string literal, such as "..."`);
  }
  return { text: constant.value, syntax };
}

function checkSizeMethod(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  if (call.args.length > 0) throw scope.refuse(node, `"size" after a value takes no argument, got ${call.args.length}`);
  return checkSize(scope, node, call.target!);
}

function checkSize(scope: Scope, node: Syntax, syntax: Syntax): CheckedExpr {
  const operand = scope.check(syntax);
  if (operand.type !== 'string' && operand.type !== 'list(string)' && operand.type !== 'list(int)') {
    throw scope.refuse(node, `"size" needs a string or a list, not ${operand.type}`);
  }
  return { kind: 'size', type: 'int', operand };
}

function checkDuration(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  const { text, syntax } = onlyLiteral(scope, node, call);
  const value = parseDuration(text);
  if (value === undefined) throw scope.refuse(syntax, `not a duration such as "5m" or "1h30m": ${shown(text)}`);
  return { kind: 'time', type: 'duration', value };
}

function checkTimestamp(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  const { text, syntax } = onlyLiteral(scope, node, call);
  const value = parseTimestamp(text);
  if (value === undefined) {
    throw scope.refuse(syntax, `not an RFC 3339 time such as "2026-01-31T12:00:00Z": ${shown(text)}`);
  }
  return { kind: 'time', type: 'timestamp', value };
}

function checkStringTest(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  const test = call.function as StringTest;
  const subject = scope.check(call.target!);
  if (subject.type !== 'string') {
    const hint = test === 'contains' && subject.type === 'list(string)' ? ': write "x" in list' : '';
    throw scope.refuse(node, `"${test}" needs a string before it, not ${subject.type}${hint}`);
  }
  const argument = scope.checkAs(onlyArgument(scope, node, call), 'string', `the argument of "${test}"`);
  return { kind: 'string_test', type: 'bool', test, subject, argument };
}

function checkStringTestAny(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  const test = call.function.slice(0, -'Any'.length) as StringTest;
  const subject = scope.checkAs(call.target!, 'string', `what stands before ".${call.function}"`);
  const syntax = onlyArgument(scope, node, call);
  const list = scope.check(syntax);
  const elements = list.kind === 'list' ? list.elements : [];
  const texts = elements.flatMap((element) => (element.kind === 'string' ? [element.value] : []));
  if (texts.length === 0 || texts.length < elements.length)
    throw scope.refuse(syntax, `"${call.function}" needs a list of string literals, such as ["a", "b"]`);
  return { kind: 'string_test_any', type: 'bool', test, subject, texts };
}

function checkLowerAscii(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  if (call.args.length > 0) throw scope.refuse(node, `"lowerAscii" takes no argument, got ${call.args.length}`);
  const operand = scope.checkAs(call.target!, 'string', 'what stands before ".lowerAscii"');
  return { kind: 'lower_ascii', type: 'string', operand };
}

function checkMatches(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  const subject = scope.checkAs(call.target!, 'string', 'what stands before ".matches"');
  const { text, syntax } = onlyLiteral(scope, node, call);
  const pattern = compilePattern(text);
  if ('problem' in pattern) throw scope.refuse(syntax, pattern.problem);
  scope.patterns.instructions += pattern.instructions;
  const { instructions } = scope.patterns;
  if (instructions > FILTER_PATTERN_INSTRUCTIONS_MAX) throw scope.refuse(syntax, tooLarge(instructions));
  return { kind: 'matches', type: 'bool', subject, pattern };
}

function isCidr(target: Syntax): boolean {
  const { exprKind } = target;
  return exprKind.case === 'callExpr' && exprKind.value.function === 'cidr' && exprKind.value.target === undefined;
}

function checkCidr(scope: Scope, node: Syntax, call: CallSyntax): CheckedExpr {
  const target = call.target!;
  const { text, syntax } = onlyLiteral(scope, target, target.exprKind.value as CallSyntax);
  const block = parseBlock(text);
  if (!block) throw scope.refuse(syntax, `not an address block such as "10.0.0.0/8": ${shown(text)}`);
  const address = scope.checkAs(onlyArgument(scope, node, call), 'string', 'an address');
  return { kind: 'cidr_contains', type: 'bool', block, address };
}

function refuseLoneCidr(scope: Scope, node: Syntax): never {
  throw scope.refuse(node, '"cidr" is written cidr("10.0.0.0/8").contains(network.peer.address)');
}

function refuseHas(scope: Scope, node: Syntax): never {
  throw scope.refuse(node, '"has" takes the name of one field, such as has(process.user.id)');
}

function refuseMacro(scope: Scope, node: Syntax, call: CallSyntax): never {
  const example = `process.command_args.${call.function}(arg, arg == "-c")`;
  throw scope.refuse(node, `"${call.function}" takes a variable and a condition: ${example}`);
}

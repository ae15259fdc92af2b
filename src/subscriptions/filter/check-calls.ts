/** Functions: their arguments, and those arguments that must be constants because they are compiled once. */
import { FILTER_PATTERN_INSTRUCTIONS_MAX } from '../../limits.js';
import { didYouMean, nearest } from '../../text/nearest.js';
import { shown } from '../../text/shown.js';
import { parseDuration, parseTimestamp } from '../../text/time-text.js';
import type { CheckedExpr, StringTest } from './checked.js';
import { parseBlock } from './cidr.js';
import { coerced, hasDynamic } from './dynamic.js';
import type { CallSyntax, Syntax } from './parse.js';
import { compilePattern, tooLarge } from './pattern.js';
import type { Scope } from './scope.js';

type CheckCall = (scope: Scope, call: CallSyntax) => CheckedExpr;

/** `name(...)`. */
const FUNCTIONS: ReadonlyMap<string, CheckCall> = new Map<string, CheckCall>([
  ['size', (scope, call) => checkSize(scope, call, onlyArgument(scope, call))],
  ['duration', checkDuration],
  ['timestamp', checkTimestamp],
  ['cidr', refuseLoneCidr],
  ['has', checkHas],
]);

/** `target.name(...)`. */
const METHODS: ReadonlyMap<string, CheckCall> = new Map<string, CheckCall>([
  ['startsWith', checkStringTest],
  ['endsWith', checkStringTest],
  ['contains', (scope, call) => (isCidr(call.target!) ? checkCidr : checkStringTest)(scope, call)],
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

export function checkCall(scope: Scope, call: CallSyntax): CheckedExpr {
  const { name } = call;
  const known = (call.target === undefined ? FUNCTIONS : METHODS).get(name);
  if (known) return known(scope, call);
  if (FUNCTIONS.has(name)) throw scope.refuse(call, `"${name}" is written ${name}(...), with nothing before it`);
  if (METHODS.has(name)) throw scope.refuse(call, `"${name}" is written after a value: value.${name}(...)`);
  const meant = nearest(name, ALL);
  const details = { length: [...name].length, suggestion: meant };
  throw scope.refuse(call, `unknown function ${shown(name)}${didYouMean(meant)}`, details);
}

function onlyArgument(scope: Scope, call: CallSyntax): Syntax {
  if (call.args.length !== 1) {
    throw scope.refuse(call, `"${call.name}" takes 1 argument, got ${call.args.length}`);
  }
  return call.args[0]!;
}

/** The argument's value: a string literal, as what it means is worked out once. */
function onlyLiteral(scope: Scope, call: CallSyntax): { text: string; syntax: Syntax } {
  const syntax = onlyArgument(scope, call);
  if (syntax.kind !== 'string') {
    throw scope.refuse(syntax, `"${call.name}" needs a string literal, such as "..."`);
  }
  return { text: syntax.value, syntax };
}

function checkSizeMethod(scope: Scope, call: CallSyntax): CheckedExpr {
  if (call.args.length > 0) throw scope.refuse(call, `"size" after a value takes no argument, got ${call.args.length}`);
  return checkSize(scope, call, call.target!);
}

function checkSize(scope: Scope, call: CallSyntax, syntax: Syntax): CheckedExpr {
  const operand = scope.check(syntax);
  if (
    operand.type !== 'dyn' &&
    operand.type !== 'string' &&
    operand.type !== 'list(string)' &&
    operand.type !== 'list(int)'
  ) {
    throw scope.refuse(call, `"size" needs a string or a list, not ${operand.type}`);
  }
  return { kind: 'size', type: 'int', operand };
}

function checkDuration(scope: Scope, call: CallSyntax): CheckedExpr {
  const { text, syntax } = onlyLiteral(scope, call);
  const value = parseDuration(text);
  if (value === undefined) throw scope.refuse(syntax, `not a duration such as "5m" or "1h30m": ${shown(text)}`);
  return { kind: 'time', type: 'duration', value };
}

function checkTimestamp(scope: Scope, call: CallSyntax): CheckedExpr {
  const { text, syntax } = onlyLiteral(scope, call);
  const value = parseTimestamp(text);
  if (value === undefined) {
    throw scope.refuse(syntax, `not an RFC 3339 time such as "2026-01-31T12:00:00Z": ${shown(text)}`);
  }
  return { kind: 'time', type: 'timestamp', value };
}

function checkStringTest(scope: Scope, call: CallSyntax): CheckedExpr {
  const test = call.name as StringTest;
  const subject = coerced(scope.check(call.target!), 'string');
  if (subject.type !== 'string') {
    const hint = test === 'contains' && subject.type === 'list(string)' ? ': write "x" in list' : '';
    throw scope.refuse(call, `"${test}" needs a string before it, not ${subject.type}${hint}`);
  }
  const argument = scope.checkAs(onlyArgument(scope, call), 'string', `the argument of "${test}"`);
  return { kind: 'string_test', type: 'bool', test, subject, argument };
}

function checkStringTestAny(scope: Scope, call: CallSyntax): CheckedExpr {
  const test = call.name.slice(0, -'Any'.length) as StringTest;
  const subject = scope.checkAs(call.target!, 'string', `what stands before ".${call.name}"`);
  const syntax = onlyArgument(scope, call);
  const list = scope.check(syntax);
  const elements = list.kind === 'list' ? list.elements : [];
  const texts = elements.flatMap((element) => (element.kind === 'string' ? [element.value] : []));
  if (texts.length === 0 || texts.length < elements.length)
    throw scope.refuse(syntax, `"${call.name}" needs a list of string literals, such as ["a", "b"]`);
  return { kind: 'string_test_any', type: 'bool', test, subject, texts };
}

function checkLowerAscii(scope: Scope, call: CallSyntax): CheckedExpr {
  if (call.args.length > 0) throw scope.refuse(call, `"lowerAscii" takes no argument, got ${call.args.length}`);
  const operand = scope.checkAs(call.target!, 'string', 'what stands before ".lowerAscii"');
  return { kind: 'lower_ascii', type: 'string', operand };
}

function checkMatches(scope: Scope, call: CallSyntax): CheckedExpr {
  const subject = scope.checkAs(call.target!, 'string', 'what stands before ".matches"');
  const { text, syntax } = onlyLiteral(scope, call);
  const pattern = compilePattern(text);
  if ('problem' in pattern) throw scope.refuse(syntax, pattern.problem);
  scope.patterns.instructions += pattern.instructions;
  const { instructions } = scope.patterns;
  if (instructions > FILTER_PATTERN_INSTRUCTIONS_MAX) throw scope.refuse(syntax, tooLarge(instructions));
  return { kind: 'matches', type: 'bool', subject, pattern };
}

function isCidr(target: Syntax): target is CallSyntax {
  return target.kind === 'call' && target.name === 'cidr' && target.target === undefined;
}

function checkCidr(scope: Scope, call: CallSyntax): CheckedExpr {
  const { text, syntax } = onlyLiteral(scope, call.target as CallSyntax);
  const block = parseBlock(text);
  if (!block) throw scope.refuse(syntax, `not an address block such as "10.0.0.0/8": ${shown(text)}`);
  const address = scope.checkAs(onlyArgument(scope, call), 'string', 'an address');
  return { kind: 'cidr_contains', type: 'bool', block, address };
}

function refuseLoneCidr(scope: Scope, call: CallSyntax): never {
  throw scope.refuse(call, '"cidr" is written cidr("10.0.0.0/8").contains(network.peer.address)');
}

/** `has(app.body["name"])`: of names alone the parser makes something else. */
function checkHas(scope: Scope, call: CallSyntax): CheckedExpr {
  const [argument] = call.args;
  const isPart = call.args.length === 1 && (argument?.kind === 'index' || argument?.kind === 'select');
  const value = isPart ? scope.check(argument) : undefined;
  if (value?.kind === 'dyn') return hasDynamic(value);
  throw scope.refuse(call, '"has" takes the name of one field, such as has(process.user.id)');
}

function refuseMacro(scope: Scope, call: CallSyntax): never {
  const example = `process.command_args.${call.name}(arg, arg == "-c")`;
  throw scope.refuse(call, `"${call.name}" takes a variable and a condition: ${example}`);
}

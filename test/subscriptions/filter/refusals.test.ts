/** Filters that are refused, with the place and the reason. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackplaneError } from '../../../src/errors.js';
import { FILTER_BYTES_MAX } from '../../../src/limits.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';

function refusalOf(filter: string): string {
  try {
    compilePredicate({ topics: [], filter, includeSelf: false });
  } catch (cause) {
    assert.ok(cause instanceof BackplaneError, String(cause));
    assert.equal(cause.code, 'filter_invalid');
    assert.doesNotMatch(cause.message, /[\n\r]/);
    assert.ok(cause.message.length < 300, cause.message);
    return cause.message;
  }
  assert.fail(`not refused: ${filter.slice(0, 80)}`);
}

const PLACES: [string, string][] = [
  ['process.exe.path == "x"', 'column 1: unknown field "process.exe.path", did you mean "process.executable.path"?'],
  ['true && proces.pid == 1', 'column 9: unknown field "proces.pid", did you mean "process.pid"?'],
  ['process.args == []', 'column 1: unknown field "process.args"'],
  ['process.pid.x == 1', 'column 1: unknown field "process.pid.x"'],
  ['process', 'column 1: "process" is a group of fields: name one of them, such as "process.pid"'],
  ['has(process.usr)', 'column 5: unknown field "process.usr", did you mean "process.user"?'],
  ['has(process)', 'column 1: "has" takes the name of one field'],
  ['__proto__', 'column 1: unknown field "__proto__"'],
  ['process.__proto__ == 1', 'column 1: unknown field "process.__proto__"'],
  ['constructor.name == "x"', 'column 1: unknown field "constructor.name"'],
  ['toString()', 'column 1: unknown function "toString"'],
  ['process.comm.constructor("x")', 'column 14: unknown function "constructor"'],
  ['process.pid == "42"', 'column 13: "==" cannot compare int with string'],
  ['é\n', 'column 1: unexpected "é"'],
  ['true &&\n  process.pid == "x"', 'line 2, column 15: "==" cannot compare int with string'],
  ['"😀" == "x" && process.pid', 'column 15: each side of "&&" must be bool, but is int'],
  ['process.pid', 'column 1: the filter must be a condition (bool), but is int'],
  ['process.command_args_missed < true', 'column 29: "<" cannot compare bool: it has no order'],
  ['process.pid + "x" == "y"', 'column 13: "+" does not go with int and string'],
  ['event.time + event.time == event.time', 'column 12: "+" does not go with timestamp and timestamp'],
  ['!process.pid', 'column 2: what follows "!" must be bool, but is int'],
  ['-process.comm == 1', 'column 2: what follows "-" must be int, but is string'],
  ['true ? 1 : "x"', 'column 12: what stands after ":" must be int, but is string'],
  ['process.pid ? true : false', 'column 1: what stands before "?" must be bool, but is int'],
  ['process.pid in ["x"]', 'column 1: "in" cannot look for int in list(string)'],
  ['process.pid in process.comm', 'column 16: "in" needs a list on its right, but this is string'],
  ['process.pid in [1, "x"]', 'column 20: the list begins with int, but this is string'],
  ['process.pid in [true]', 'column 17: lists hold strings or integers, not bool'],
  ['process.comm[0] == "s"', 'column 13: "[...]" takes an element of a list, but this is string'],
  ['process.command_args["0"] == ""', 'column 22: an index must be int, but is string'],
  [
    'process.command_args.contains("x")',
    'column 22: "contains" needs a string before it, not list(string): write "x" in',
  ],
  ['process.comm.startswith("x")', 'column 14: unknown function "startswith", did you mean "startsWith"?'],
  ['process.comm.startsWith(1)', 'column 25: the argument of "startsWith" must be string, but is int'],
  ['process.comm.startsWithAny("a")', 'column 28: "startsWithAny" needs a list of string literals, such as ["a", "b"]'],
  ['process.comm.containsAny([])', 'column 26: "containsAny" needs a list of string literals'],
  ['process.comm.containsAny(["a", process.comm])', 'column 26: "containsAny" needs a list of string literals'],
  ['process.comm.lowerAscii("a")', 'column 14: "lowerAscii" takes no argument, got 1'],
  ['process.pid.lowerAscii() == "a"', 'column 1: what stands before ".lowerAscii" must be string, but is int'],
  ['process.comm.startsWith("a", "b")', 'column 14: "startsWith" takes 1 argument, got 2'],
  ['startsWith(process.comm, "a")', 'column 1: "startsWith" is written after a value'],
  ['process.comm.duration()', 'column 14: "duration" is written duration(...), with nothing before it'],
  ['size(1) == 1', 'column 1: "size" needs a string or a list, not int'],
  ['process.comm.matches(process.comm)', 'column 22: "matches" needs a string literal'],
  ['process.comm.matches("(")', 'column 22: not an RE2 pattern (missing closing ))'],
  ['process.comm.matches("(?<=a)b")', 'column 22: not an RE2 pattern'],
  ['process.comm.matches("(a)\\\\1")', 'column 22: not an RE2 pattern'],
  ['event.time > timestamp("yesterday")', 'column 24: not an RFC 3339 time'],
  ['event.time > timestamp("2026-02-30T00:00:00Z")', 'column 24: not an RFC 3339 time'],
  ['duration("5 minutes") == duration("5m")', 'column 10: not a duration such as "5m" or "1h30m": "5 minutes"'],
  ['cidr("10.0.0.0/33").contains(network.peer.address)', 'column 6: not an address block such as "10.0.0.0/8"'],
  ['cidr("10.0.0.0/8").contains(1)', 'column 29: an address must be string, but is int'],
  ['cidr("10.0.0.0/8") == cidr("10.0.0.0/8")', 'column 1: "cidr" is written cidr("10.0.0.0/8").contains'],
  ['process.command_args.map(a, a) == []', 'column 22: "map" is not part of filters'],
  ['process.command_args.filter(a, true) == []', 'column 22: "filter" is not part of filters'],
  ['process.command_args.exists(a)', 'column 22: "exists" takes a variable and a condition'],
  ['process.command_args.exists(a, a)', 'column 32: "exists" needs a condition (bool), not string'],
  ['process.command_args.exists(a, a.b == "x")', 'column 32: "a" is a string: it has no fields'],
  [
    'process.command_args.exists(process, true)',
    'column 22: the variable "process" would hide the fields of that name',
  ],
  ['process.comm.exists(a, true)', 'column 14: "exists" goes over a list of strings, not string'],
  ['[1].exists(a, true)', 'column 5: "exists" goes over a list of strings, not list(int)'],
  [
    'process.command_args.all(a, process.command_args.exists(b, a == b))',
    'column 50: "exists" cannot stand within another comprehension',
  ],
  ['a == 1', 'column 1: unknown field "a"'],
  ['process.pid = 1', 'column 13: unexpected "=", did you mean "=="?'],
  ['true & true', 'column 6: unexpected "&", did you mean "&&"?'],
  ['true and true', 'column 6: unexpected "and", did you mean "&&"?'],
  ['process.pid == ', 'column 16: the filter ends too early'],
  ['process.pid == == 1', 'column 16: unexpected "=="'],
  ['(true', 'column 1: "(" is never closed'],
  ['true)', 'column 5: ")" closes nothing'],
  ['([true)', 'column 7: ")" does not close the "[" before it'],
  ['process.comm == "sh', 'column 17: the string that begins here is never closed with "'],
  ['process.comm == "s\nh"', 'line 1, column 17: the string that begins here is never closed'],
  ['process.comm == "\\q"', 'column 18: unknown escape "\\\\q" in a string'],
  ['true // so be it', 'column 6: a comment must end with a new line'],
  ['if', 'column 1: a reserved word cannot be a name'],
  ['1.5 == 1.5', 'column 1: numbers with a fraction'],
  ['1u == 1u', 'column 1: unsigned numbers'],
  ['null == null', 'column 1: null is not part of filters'],
  ['b"x" == b"x"', 'column 1: bytes are not part of filters'],
  ['{"a": 1} == {"a": 1}', 'column 1: maps and messages cannot be written'],
  ['9223372036854775808 > 1', 'column 1: the number does not fit 64 bits'],
  ['"\\ud800" == "x"', 'column 2: "\\\\ud800" is no Unicode character'],
  ['"\ud800" == "x"', 'column 2: the text is not valid Unicode (a lone surrogate)'],
  ['"\udc00\ud800" == "x"', 'column 2: the text is not valid Unicode'],
  ['process.comm == \u202e"x"', 'column 17: unexpected "\\u202e"'],
];

test('an invalid filter is refused with the column of the fault', () => {
  for (const [filter, expected] of PLACES) {
    const message = refusalOf(filter);
    assert.ok(message.startsWith(`filter: ${expected}`), `${filter}\n  wanted ${expected}\n  got    ${message}`);
  }
});

test('bounds on text, nesting, tokens, patterns and steps are checked before the work is done', () => {
  const loop = (i: number): string => `process.command_args.exists(a, a == "${i}" || a + a == "${i}")`;
  const bombs: [string, RegExp][] = [
    [`"${'x'.repeat(FILTER_BYTES_MAX - 2)}" == `, /must be at most 4096 bytes, got 4100$/],
    ['é'.repeat(2049), /must be at most 4096 bytes, got 4098$/],
    [`${'('.repeat(33)}true${')'.repeat(33)}`, /column 33: nested deeper than 32$/],
    [`${'['.repeat(2000)}`, /column 33: nested deeper than 32$/],
    [`${'true ? true : '.repeat(40)}true`, /nested deeper than 32$/],
    [`${'(true ? '.repeat(17)}true`, /nested deeper than 32$/],
    ['!'.repeat(4000), /has more than 1024 names, values and operators$/],
    [`true${'.a'.repeat(2000)}`, /has more than 1024 names/],
    ['process.comm.matches("(\\\\pL{31}){31}")', /at most 128 instructions in all, got \d+$/],
    [`process.comm.matches("${'\\\\pL{1000}'.repeat(300)}")`, /at most 128 instructions in all/],
    [`process.comm.matches("${'('.repeat(1500)}x")`, /at most 128 instructions|not an RE2 pattern/],
    [`process.comm.matches("a{90}") && process.comm.matches("b{90}")`, /at most 128 instructions in all, got \d+$/],
    ['process.command_args.exists(a, a.matches("b{90}"))', /at most 128 instructions in all, got \d+$/],
    [Array.from({ length: 40 }, (_, i) => loop(i)).join(' || '), /at most 131072 steps in all, got up to \d+$/],
    [
      `process.command_args.exists(a, a.containsAny([${Array.from({ length: 200 }, (_, i) => `"${i}"`)}]))`,
      /at most 131072 steps in all, got up to \d+$/,
    ],
  ];
  for (const [filter, expected] of bombs) assert.match(refusalOf(filter), expected);
});

test('a filter whose canonical form exceeds the bounds is refused, as nodes would refuse it', () => {
  const controls = `process.comm == "${'\u0001'.repeat(1000)}"`;
  assert.match(refusalOf(controls), /too large when written in canonical form: .* at most 4096 bytes, got 6018$/);
});

test('a filter nested up to the bound is evaluated', () => {
  const nested = (depth: number): string => `${'('.repeat(depth)}process.pid == 7${')'.repeat(depth)}`;
  const deep = compilePredicate({ topics: [], filter: nested(32), includeSelf: false });
  assert.equal(deep.canonical, 'process.pid == 7');
  let equalities = 'process.command_args_missed == true';
  for (let i = 0; i < 31; i++) equalities = `(${equalities}) == (process.command_args_missed || ${i % 2 === 0})`;
  const chain = compilePredicate({ topics: [], filter: equalities, includeSelf: false });
  assert.equal(compilePredicate({ topics: [], filter: chain.canonical, includeSelf: false }).id, chain.id);
});

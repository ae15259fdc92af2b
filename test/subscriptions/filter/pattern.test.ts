/** Regular expressions in filters: syntax, bounds, and linear time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { FILTER_PATTERN_INSTRUCTIONS_MAX } from '../../../src/limits.js';
import { compilePattern } from '../../../src/subscriptions/filter/pattern.js';
import { compilePredicate } from '../../../src/subscriptions/predicate.js';
import { busEvent } from '../../harness/bus/event-fixture.js';
import { runs } from '../../harness/runs.js';

test('patterns within the bound compile, whatever their syntax', () => {
  const accepted = ['', 'a{100}', '[^]a-z{1000}]+', '\\p{Greek}\\pL[[:alpha:]{9}]', '(?i)x\\{900}', '[\\]{99}]'];
  for (const source of accepted) {
    const pattern = compilePattern(source);
    assert.ok('test' in pattern, `${source}: ${'problem' in pattern ? pattern.problem : ''}`);
    assert.ok(pattern.instructions <= FILTER_PATTERN_INSTRUCTIONS_MAX);
  }
});

test('patterns that would compile to too much are refused before they are compiled', () => {
  const refused = ['a{1000}', '((a{9}){9}){9}', '(?:ab){200}', '[a-z]{300,}', 'a'.repeat(400), '(\\pL{31}){31}'];
  for (const source of refused) {
    const pattern = compilePattern(source);
    assert.ok('problem' in pattern, source);
    assert.match(pattern.problem, /at most 128 instructions in all, got \d+/);
  }
});

test('a pattern that makes backtracking engines hang is decided at once', () => {
  const pattern = compilePattern('^(a+)+$');
  assert.ok('test' in pattern);
  assert.equal(pattern.test(`${'a'.repeat(4000)}!`), false);
  assert.equal(pattern.test('a'.repeat(4000)), true);
});

/** A pattern of each piece of RE2's syntax (github.com/google/re2/wiki/Syntax), a text that it matches, and one that it does not. */
const SYNTAX: readonly (readonly [string, string, string])[] = [
  ['^.$', 'x', 'xy'],
  ['[xyz]', 'y', 'a'],
  ['^[^xyz]$', 'a', 'x'],
  ['\\d', '5', 'a'],
  ['\\D', 'a', '5'],
  ['[[:alpha:]]', 'a', '5'],
  ['[[:^alpha:]]', '5', 'a'],
  ['\\pN', '5', 'a'],
  ['\\p{Greek}', 'α', 'a'],
  ['^\\PN$', 'a', '5'],
  ['^\\P{Greek}$', 'a', 'α'],
  ['^\\p{^Greek}$', 'a', 'α'],
  ['^xy$', 'xy', 'x'],
  ['^(?:x|yy)$', 'yy', 'y'],
  ['^x*$', 'xxx', 'y'],
  ['^x+$', 'xxx', ''],
  ['^x?$', 'x', 'xx'],
  ['^x{2,3}$', 'xxx', 'x'],
  ['^x{2,}$', 'xxxx', 'x'],
  ['^x{2}$', 'xx', 'xxx'],
  ['^x*?y$', 'xxy', 'x'],
  ['^x+?y??$', 'xxy', 'y'],
  ['^x{2,3}?$', 'xx', 'x'],
  ['^(x)(?P<name>y)(?<other>z)$', 'xyz', 'xy'],
  ['^(?i)ab$', 'AB', 'A'],
  ['^(?i:a)b$', 'Ab', 'AB'],
  ['(?s)^.$', '\n', 'xx'],
  ['(?m)^b$', 'a\nb', 'ab'],
  ['(?U)^x+$', 'xx', 'y'],
  ['(?i-s:A)', 'a', 'b'],
  ['\\Ax\\z', 'x', 'xx'],
  ['\\bx\\b', 'a x', 'ax'],
  ['a\\Bx', 'ax', 'a x'],
  ['\\a\\f\\t\\n\\r\\v', '\x07\f\t\n\r\v', 'a'],
  ['^\\*\\{2\\}$', '*{2}', '**'],
  ['^\\123$', 'S', '\\123'],
  ['^\\x7F$', '\x7f', 'x7F'],
  ['^\\x{10FFFF}$', '\u{10ffff}', 'x'],
  ['^\\x{2066}$', '\u2066', 'x'],
  ['^\\x{10348}{2}$', '\u{10348}\u{10348}', '\u{10348}'],
  ['^\\Q...[{9999}\\E$', '...[{9999}', 'abc['],
  ['^\\Qab\\E{2}$', 'abb', 'abab'],
  ['\\Q(unfinished{99', '(unfinished{99', 'unfinished'],
  ['^[\\x{61}-\\x{63}\\d\\pL\\p{Greek}[:digit:]\\]^-]{3}$', 'b5]', '!!!'],
  ['^[^\\D]$', '5', 'a'],
  ['^[]a]$', ']', 'b'],
  ['^[^]a]$', 'b', ']'],
  ['\\s\\S\\w\\W', ' xx ', 'xxxx'],
  ['a{,3}x{', 'a{,3}x{', 'aaax'],
];

test('the syntax of RE2 is accepted, in filters too', () => {
  for (const [source, matching, other] of SYNTAX) {
    const pattern = compilePattern(source);
    assert.ok('test' in pattern, `${source}: ${'problem' in pattern ? pattern.problem : ''}`);
    assert.deepEqual([pattern.test(matching), pattern.test(other)], [true, false], source);
    const filter = `process.comm.matches(${JSON.stringify(source)})`;
    const event = { ...busEvent('process.exec'), process: { pid: 1, comm: matching } };
    assert.equal(compilePredicate({ topics: [], filter, includeSelf: false }).matches(event), true, filter);
  }
});

const atom = fc.oneof(
  fc.constantFrom(
    'a',
    '.',
    '日',
    '😀',
    '{',
    '}',
    '{,9}',
    '\\{',
    '\\x{2066}',
    '\\x{10348}',
    '\\x41',
    '\\101',
    '\\pL',
    '\\p{Greek}',
  ),
  fc.constantFrom(
    '\\P{^Lu}',
    '\\d',
    '[a-z]',
    '[^]x]',
    '[[:alpha:]\\x{61}-\\x{7a}{999}]',
    '\\Q{999}(\\E',
    '\\Q\\E',
    '(?i)',
    '\\b',
  ),
);
const repeated = (inner: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(inner, fc.constantFrom('', '', '', '*', '+?', '?', '{2}', '{3,}', '{0,5}', '{20}'))
    .map((parts) => parts.join(''));
const grouped = (inner: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.constantFrom('(', '(?:', '(?i:', '(?P<name>', '(?<other_name>'),
      fc.array(inner, { maxLength: 4 }),
      fc.constantFrom('', '|'),
    )
    .map(([open, parts, between]) => `${open}${parts.join(between)})`);
const level = (depth: number): fc.Arbitrary<string> =>
  depth === 0 ? repeated(atom) : repeated(fc.oneof(atom, grouped(level(depth - 1))));
const source = fc.array(level(3), { maxLength: 6 }).map((parts) => parts.join(''));

test('nothing that is repeated often is not large', () => {
  for (const text of ['((?:){20}(?i){0,5}){0,5}', '(?:(?:){900}){900}a'])
    if (sizeOf(text) !== undefined) assert.ok('test' in compilePattern(text), text);
});

test('a pattern up to the compiled size that is allowed is accepted, and the estimate is close', () => {
  let taken = 0;
  fc.assert(
    fc.property(source, (text) => {
      const pattern = compilePattern(text);
      const size = sizeOf(text);
      if ('test' in pattern) taken++;
      // Prefixes that alternatives share and empty groups are written out in the estimate: a margin for these.
      if (size !== undefined && size <= FILTER_PATTERN_INSTRUCTIONS_MAX / 2) assert.ok('test' in pattern, text);
      if ('problem' in pattern && size !== undefined && /instructions/.test(pattern.problem))
        assert.ok(size > 64, text);
    }),
    { numRuns: runs(2_000) },
  );
  assert.ok(taken > 500, `${taken}`);
});

/** Instructions as the engine itself counts them; undefined for what it does not take. */
function sizeOf(text: string): number | undefined {
  try {
    return RE2JS.compile(text).programSize();
  } catch {
    return undefined;
  }
}

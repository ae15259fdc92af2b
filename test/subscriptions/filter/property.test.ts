/** Random filters: their decisions, canonical texts and ids. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../../src/errors.js';
import { compilePredicate, type Predicate } from '../../../src/subscriptions/predicate.js';
import { event, filter, manner, PLAIN, written } from '../../harness/filters/grammar.js';
import { oracleMatches } from '../../harness/filters/oracle.js';
import { runs } from '../../harness/runs.js';

const compiled = (text: string): Predicate => compilePredicate({ topics: [], filter: text, includeSelf: true });

test('a filter decides as the CEL evaluator does', () => {
  fc.assert(
    fc.property(filter, event, (term, subject) => {
      const text = written(term, PLAIN);
      assert.equal(compiled(text).matches(subject), oracleMatches(text, subject), text);
    }),
    { numRuns: runs(500) },
  );
});

const joined = (each: fc.Arbitrary<string>, operators: readonly string[], maxLength: number) =>
  fc
    .array(fc.tuple(fc.constantFrom(...operators), each), { minLength: 1, maxLength })
    .map((parts) => parts.map(([operator, text], at) => (at === 0 ? text : `${operator}${text}`)).join(''));
const sum = joined(
  fc.constantFrom('1', '-2', '- 3', '--4', '5', 'process.pid', '0x6'),
  ['+', '-', ' - ', '*', '/', '%'],
  5,
);
const comparison = fc
  .tuple(sum, fc.constantFrom('==', '!=', '<', '<=', '>', '>='), sum, fc.constantFrom('', '==true', '!=false'))
  .map((parts) => parts.join(''));
const condition = joined(fc.oneof(comparison, fc.constantFrom('!true', '!!true', '1 in[1,-2,]')), ['&&', '||'], 4);

test('without parentheses operators bind as they do in CEL', () => {
  const choice = fc.tuple(condition, condition, condition).map(([a, b, c]) => `${a}?${b}:${c}`);
  fc.assert(
    fc.property(
      fc.oneof(
        condition,
        choice,
        fc.tuple(choice, choice).map(([a, b]) => `${a}&&${b}`),
      ),
      event,
      (text, subject) => {
        assert.equal(compiled(text).matches(subject), oracleMatches(text, subject), text);
      },
    ),
    { numRuns: runs(300) },
  );
});

test('the canonical text of a filter is a filter with the same id, and its own canonical text', () => {
  fc.assert(
    fc.property(filter, event, (term, subject) => {
      const predicate = compiled(written(term, PLAIN));
      const again = compiled(predicate.canonical);
      assert.equal(again.canonical, predicate.canonical);
      assert.equal(again.id, predicate.id);
      assert.equal(again.matches(subject), predicate.matches(subject), predicate.canonical);
      assert.equal(oracleMatches(predicate.canonical, subject), predicate.matches(subject), predicate.canonical);
    }),
    { numRuns: runs(300) },
  );
});

test('blanks, parentheses and the order of operands do not change an id', () => {
  fc.assert(
    fc.property(filter, manner, (term, how) => {
      assert.equal(compiled(written(term, how)).id, compiled(written(term, PLAIN)).id);
    }),
    { numRuns: runs(300) },
  );
});

test('a type that is skipped has no matching event', () => {
  fc.assert(
    fc.property(filter, event, (term, subject) => {
      const predicate = compiled(written(term, PLAIN));
      if (!predicate.mayMatchType(subject.type)) assert.equal(predicate.matches(subject), false);
    }),
    { numRuns: runs(500) },
  );
});

test('any text is a predicate or is refused with a place, and never throws on an event', () => {
  const pieces = fc.constantFrom(
    ...['process', '.', 'pid', 'comm', '(', ')', '[', ']', '{', '}', '?', ':', '&&', '||', '!', '-', '==', '<', 'in'],
    ...['"', "'", '\\', '"""', 'r"', '//', '\n', ' ', '1', '1.5', '9223372036854775808', 'exists', 'x', ',', 'has'],
    ...['__proto__', '\u0000', '\ud800', '😀', 'matches', 'duration', 'size', '=', '`', '"a"', 'true'],
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 24 }), event, (parts, subject) => {
      const text = parts.join('');
      let predicate: Predicate;
      try {
        predicate = compiled(text);
      } catch (cause) {
        assert.ok(cause instanceof BackplaneError && cause.code === 'filter_invalid', String(cause));
        assert.match(cause.message, /^filter: (?:line \d+, )?column \d+: [^\n]+$/);
        return;
      }
      assert.equal(typeof predicate.matches(subject), 'boolean');
    }),
    { numRuns: runs(1000) },
  );
});

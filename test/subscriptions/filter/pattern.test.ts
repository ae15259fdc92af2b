import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FILTER_PATTERN_INSTRUCTIONS_MAX } from '../../../src/limits.js';
import { compilePattern } from '../../../src/subscriptions/filter/pattern.js';

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

test('a pattern that makes backtracking engines hang has its answer', () => {
  const pattern = compilePattern('^(a+)+$');
  assert.ok('test' in pattern);
  assert.equal(pattern.test(`${'a'.repeat(4000)}!`), false);
  assert.equal(pattern.test('a'.repeat(4000)), true);
});

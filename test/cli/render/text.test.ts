/** Text from events is shown so that it can act on no terminal. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { safeText, shellWord, shellWords } from '../../../src/cli/render/text.js';
import { runs } from '../../harness/runs.js';

const HOSTILE: readonly (readonly [string, string])[] = [
  ['\x1b[2J\x1b]0;owned\x07', '\\x1b[2J\\x1b]0;owned\\x07'],
  ['a\nb\r\tc\0', 'a\\nb\\r\\tc\\x00'],
  ['\u009b31m', '\\u009b31m'],
  ['safe\u202egpj.exe', 'safe\\u202egpj.exe'],
  ['a\u2066b\u2069c\u200bd\ufeff', 'a\\u2066b\\u2069c\\u200bd\\ufeff'],
  ['line\u2028separator', 'line\\u2028separator'],
  ['tag\u{e0041}', 'tag\\U000e0041'],
  ['half\ud800', 'half\\ud800'],
  ['\x7f', '\\x7f'],
  ['überall 日本 🙂', 'überall 日本 🙂'],
];

test('characters that could act on a terminal are written as escapes', () => {
  for (const [given, shown] of HOSTILE) assert.equal(safeText(given), shown);
});

test('shown text keeps no control, format or separator character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      for (const shown of [safeText(text), shellWord(text), shellWords([text, text], 10)]) {
        assert.doesNotMatch(shown, /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
      }
    }),
  );
});

test('a shown word is read back by a shell as the same word', () => {
  // No byte 0: arguments have none. No lone surrogates: they are no text for a shell.
  const word = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.string({
      unit: fc.constantFrom('a', "'", '"', '\\', '$', '~', '=', '!', '\n', '\x1b', '\u202e', ' ', '-', '#'),
      maxLength: 12,
    }),
  );
  const argument = word.filter((text) => !text.includes('\0') && !/\p{Cs}/u.test(text));
  fc.assert(
    fc.property(fc.array(argument, { minLength: 1, maxLength: 40 }), (words) => {
      const script = `printf '%s\\0' ${words.map(shellWord).join(' ')}`;
      const read = execFileSync('bash', ['--norc', '-c', script], { env: { LC_ALL: 'C.UTF-8' }, encoding: 'utf8' });
      assert.deepEqual(read.split('\0').slice(0, -1), words);
    }),
    { numRuns: runs(40) },
  );
});

test('plain words are shown unquoted', () => {
  for (const word of [
    'curl',
    '-s',
    '--a=b',
    'https://example.org/x',
    '/usr/bin/a_b',
    'a@b:c',
    '50%',
    'HEAD~1',
    'a.c~',
  ]) {
    assert.equal(shellWord(word), word);
  }
  for (const [word, shown] of [
    ['', "''"],
    ['a b', "'a b'"],
    ["it's", "'it'\\''s'"],
    ['~root', "'~root'"],
    ['a=~', "'a=~'"],
    ['PATH=/bin:~/bin', "'PATH=/bin:~/bin'"],
    ['a\nb', "$'a\\nb'"],
    ['$(x)', "'$(x)'"],
  ] as const) {
    assert.equal(shellWord(word), shown);
  }
});

test('long arguments are cut, and the cut is marked', () => {
  assert.equal(shellWords(['abc', 'defgh', 'i', 'j'], 6), 'abc de… … (+2 arguments)');
  assert.equal(shellWords(['abc', 'def'], 100), 'abc def');
  assert.ok(shellWords(['x'.repeat(1_000_000)], 1024).length < 1100);
  assert.equal(shellWords(['ab🙂'], 3), 'ab…');
});

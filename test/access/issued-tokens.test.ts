/** Tokens that are issued: who has one whole is let in until its end, and the file holds no token. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { IssuedTokens, issueToken, parseTokens, tokensText } from '../../src/access/issued-tokens.js';
import { changeTokens, readTokens } from '../../src/access/tokens-file.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const NOW = Date.parse('2026-11-29T12:00:00Z');
const issued = (name: string, holdsMs = 1000) => issueToken([], name, NOW + holdsMs, NOW);

test('a token holds until its end, and whoever has another secret has none', () => {
  const { token, entry } = issued('alice');
  assert.match(token, /^bp_[a-z0-9]{12}_[A-Za-z0-9_-]{43}$/);
  const tokens = new IssuedTokens([entry]);
  assert.deepEqual(tokens.verify(token, NOW + 999), { kind: 'valid', token: entry });
  assert.equal(tokens.verify(token, NOW + 1000).kind, 'expired');
  for (const wrong of [
    '',
    `${token}A`,
    token.slice(0, -1),
    token.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
  ]) {
    assert.equal(tokens.verify(wrong, NOW).kind, 'wrong');
    assert.equal(tokens.verify(wrong, NOW + 5000).kind, 'wrong', 'only who has it whole learns that it has expired');
  }
  assert.ok(!tokensText([entry], false).includes(token.slice(-43)));
});

test('an identity has two live tokens at most', () => {
  const first = issued('alice').entry;
  const second = issueToken([first], 'alice', NOW + 1000, NOW).entry;
  assert.throws(() => issueToken([first, second], 'alice', NOW + 1000, NOW), {
    code: 'failed_precondition',
    message: new RegExp(`^"alice" has 2 live tokens, ${first.id} and ${second.id}: revoke one`),
  });
  issueToken([first, second], 'alice', NOW + 5000, NOW + 2000);
  issueToken([first, second], 'bob', NOW + 1000, NOW);
  const third = issued('alice').entry;
  const text = tokensText([first, second, third], true);
  assert.throws(() => parseTokens(text, NOW), /"alice" must have at most 2 live tokens, has 3/);
  assert.equal(parseTokens(text, NOW + 2000).length, 3);
});

test('what is written is read again, as YAML and as JSON', () => {
  const entries = [issued('alice').entry, issued('spiffe://a/b').entry];
  for (const json of [true, false]) assert.deepEqual(parseTokens(tokensText(entries, json), NOW), entries);
  assert.deepEqual(parseTokens('', NOW), []);
});

test('an entry that is not sound is refused with its place', () => {
  const sound = { id: 'a'.repeat(12), sha256: 'b'.repeat(64), identity: 'c', expires: '2027-01-01T00:00:00Z' };
  const refused = (change: object, message: RegExp) =>
    assert.throws(() => parseTokens(JSON.stringify({ tokens: [{ ...sound, ...change }] }), NOW), { message });
  refused({ expires: undefined }, /^tokens\[0\]\.expires must be a time .*without an end are not taken/);
  refused({ expires: 'never' }, /^tokens\[0\]\.expires/);
  refused({ expires: 1e12 }, /^tokens\[0\]\.expires/);
  refused({ sha256: 'x' }, /^tokens\[0\]\.sha256 must be 64 hex digits/);
  refused({ id: 'A' }, /^tokens\[0\]\.id must be 12/);
  refused({ identity: 'a b' }, /^tokens\[0\]\.identity must be 1 to 512/);
  refused({ secret: 'x' }, /^tokens\[0\]: unknown key "secret"/);
  assert.throws(() => parseTokens('other: 1', NOW), /^.*unknown key "other"/);
  assert.throws(() => parseTokens('tokens: [&a {}, *a]', NOW), /./);
  assert.throws(() => parseTokens(JSON.stringify({ tokens: [sound, sound] }), NOW), /is there twice/);
});

test('whatever is presented, and whatever the file says, only a token that was issued is let in', () => {
  const { token, entry } = issued('alice');
  const tokens = new IssuedTokens([entry]);
  const near = fc
    .tuple(fc.nat(token.length), fc.constantFrom('', 'a', '_', '=', '\u0000'), fc.nat(3))
    .map(([at, text, cut]) => token.slice(0, at) + text + token.slice(at + cut));
  fc.assert(
    fc.property(
      fc.oneof(
        near,
        fc.string(),
        fc.string().map((text) => `bp_${entry.id}_${text}`),
      ),
      (presented) => {
        assert.equal(tokens.verify(presented, NOW).kind === 'valid', presented === token);
      },
    ),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        parseTokens(text, NOW);
      } catch (cause) {
        assert.equal((cause as { code?: string }).code, 'invalid_argument');
      }
    }),
  );
});

test('the file keeps its mode and its link, and a change that is refused leaves it as it was', () => {
  const dir = scratchDirectory('tokens');
  const [file, link] = [join(dir, 'real.yaml'), join(dir, 'tokens.yaml')];
  writeFileSync(file, tokensText([issued('alice').entry], false));
  chmodSync(file, 0o640);
  symlinkSync(file, link);
  changeTokens(link, NOW, (known) => ({ tokens: [...known, issued('bob').entry], answer: undefined }));
  assert.deepEqual(
    readTokens(file, NOW).map(({ identity }) => identity),
    ['alice', 'bob'],
  );
  assert.equal(statSync(file).mode & 0o777, 0o640);
  const before = readFileSync(file, 'utf8');
  const refuse = () => {
    throw new Error('no');
  };
  assert.throws(() => changeTokens(link, NOW, refuse));
  assert.equal(readFileSync(file, 'utf8'), before);
  writeFileSync(`${file}.new`, '');
  const other = () => changeTokens(link, NOW, (known) => ({ tokens: known, answer: undefined }));
  assert.throws(other, { code: 'failed_precondition', message: /somebody else changes the tokens, try again$/ });
});

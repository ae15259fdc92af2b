/** How one redaction rule is applied, and which rules are refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BackplaneError } from '../../../src/errors.js';
import { Pacer } from '../../../src/flow/pacer.js';
import { REDACTION_MATCHES_MAX } from '../../../src/limits.js';
import { DEFAULT_RULE_NAMES } from '../../../src/sensor-agent/redaction/default-rules.js';
import { Redactor, UNEXAMINED } from '../../../src/sensor-agent/redaction/redactor.js';
import { compileRules, type RedactionRule } from '../../../src/sensor-agent/redaction/rule.js';

const PROCESS = { pid: 1, parentPid: 1, comm: 'x' };

function rule(pattern: string, more: Partial<RedactionRule> = {}): RedactionRule {
  return { name: 'pin', field: 'process.command_args', pattern, ...more };
}

function redactorOf(...rules: readonly RedactionRule[]): Redactor {
  return new Redactor(compileRules({ rules, off: ['all'] }), new Pacer(1, Number.POSITIVE_INFINITY));
}

function masked(pattern: string, args: readonly string[], more: Partial<RedactionRule> = {}): readonly string[] {
  return redactorOf(rule(pattern, more)).redact({ ...PROCESS, args, executablePath: '/bin/x' }).args!;
}

test('a rule masks its named groups, else all its groups, else the whole match', () => {
  assert.deepEqual(masked('pin=\\d+', ['a', 'pin=12 b']), ['a', '*** b']);
  assert.deepEqual(masked('pin=(\\d+)', ['a', 'pin=12 b']), ['a', 'pin=*** b']);
  assert.deepEqual(masked('(p)in=(\\d+)', ['pin=12'], { groups: [2] }), ['pin=***']);
  assert.deepEqual(masked('(p)in=(?P<digits>\\d+)', ['pin=12'], { groups: ['digits'] }), ['pin=***']);
  assert.deepEqual(masked('pin=(\\d+)', ['pin=12'], { groups: [0] }), ['***']);
});

test('a rule sees the program and the argument before, and never changes the number of arguments', () => {
  assert.deepEqual(masked('^/bin/x\\x00x\\x00--pin\\x00([^\\x00]+)', ['x', '--pin', '1 2', 'y']), [
    'x',
    '--pin',
    '***',
    'y',
  ]);
  assert.deepEqual(masked('^.*$', ['x', '', 'y']), ['***', '', '***']);
  assert.deepEqual(masked('^(/bin)', ['x']), ['x']);
});

test('a match in which no group took part masks nothing', () => {
  assert.deepEqual(masked('pin=none|pin=(\\w+)', ['pin=none', 'pin=12']), ['pin=none', 'pin=***']);
});

test("a pattern's end of text matches only where arguments were cut", () => {
  const redactor = redactorOf(rule('pin(\\d+)$'));
  assert.deepEqual(redactor.redact({ ...PROCESS, args: ['x', 'pin12'] }).args, ['x', 'pin12']);
  assert.deepEqual(redactor.redact({ ...PROCESS, args: ['x', 'pin12'], argsTruncated: true }).args, ['x', 'pin***']);
});

test('a secret found by two rules is masked once, and counted by both', () => {
  const redactor = redactorOf(rule('abc'), rule('bcd', { name: 'other' }));
  const { args, redactions } = redactor.redact({ ...PROCESS, args: ['abcde', 'abc'] });
  assert.deepEqual(args, ['***e', '***']);
  assert.equal(redactions, 2);
  assert.deepEqual(
    [...redactor.counts],
    [
      ['pin', 2],
      ['other', 1],
    ],
  );
});

test('a working directory has rules of its own', () => {
  const redactor = redactorOf(rule('/srv/([^/]+)', { field: 'process.working_directory' }));
  const before = { ...PROCESS, args: ['/srv/a'], workingDirectory: '/srv/a/b' };
  assert.deepEqual(redactor.redact(before), { ...before, workingDirectory: '/srv/***/b', redactions: 1 });
});

test('a rule is skipped where its hint does not occur', () => {
  assert.deepEqual(masked('\\d+', ['x 12'], { hints: ['PIN', 'c.d'] }), ['x 12']);
  assert.deepEqual(masked('\\d+', ['pin 12'], { hints: ['PIN', 'c.d'] }), ['pin ***']);
  assert.deepEqual(masked('\\d+', ['cxd 12'], { hints: ['PIN', 'c.d'] }), ['cxd 12']);
});

test('beyond the bound on matches the rest is masked as a whole', () => {
  const args = ['z'.repeat(REDACTION_MATCHES_MAX * 2), 'tail'];
  const [first, last] = masked('(z)', args);
  assert.deepEqual([first, last], ['***', '***']);
  const exact = ['zy'.repeat(REDACTION_MATCHES_MAX), 'tail'];
  assert.deepEqual(masked('(z)', exact), ['***y'.repeat(REDACTION_MATCHES_MAX), 'tail']);
});

test('arguments for which there is no time are masked by their place, and counted', () => {
  const rules = compileRules({ rules: [rule('\\d+', { hints: ['pin'] })], off: ['all'] });
  const redactor = new Redactor(rules, new Pacer(1e-9, 0));
  const argsOf = (...args: string[]) => redactor.redact({ ...PROCESS, args }).args;
  assert.deepEqual(argsOf('pin', '12'), ['pin', '***']);
  assert.deepEqual(argsOf('pin', 'x', '', '34'), ['pin', '***', '', '***']);
  assert.deepEqual(argsOf('no hint', '56'), ['no hint', '56']);
  assert.deepEqual(
    [...redactor.counts],
    [
      ['pin', 1],
      [UNEXAMINED, 1],
    ],
  );
});

test('in any text the matches of a rule are removed, and everything else is kept', () => {
  const argument = fc
    .array(fc.constantFrom('a', 'b', 'S1', 'S22', ' ', 'é', '😀', '\n'))
    .map((parts) => parts.join(''));
  const redactor = redactorOf(rule('S\\d+'));
  fc.assert(
    fc.property(fc.array(argument, { minLength: 1 }), (args) => {
      const expected = args.map((text) => text.replaceAll(/(S\d+)+/g, '***'));
      assert.deepEqual(redactor.redact({ ...PROCESS, args }).args, expected);
    }),
  );
});

test('default rules can be switched off, replaced and added to', () => {
  const names = (settings: Parameters<typeof compileRules>[0]) => compileRules(settings).map(({ name }) => name);
  const all = [...DEFAULT_RULE_NAMES];
  assert.deepEqual(names({ rules: [], off: [] }), all);
  assert.deepEqual(names({ rules: [rule('x')], off: ['all'] }), ['pin']);
  assert.deepEqual(names({ rules: [rule('x', { name: 'jwt' })], off: ['bearer'] }), [
    ...all.filter((name) => name !== 'jwt' && name !== 'bearer'),
    'jwt',
  ]);
});

for (const [what, bad, expected] of [
  ['no RE2', rule('a(?=b)'), /^redaction rule "pin": pattern: not an RE2 pattern \(.+\)$/],
  ['too long', rule('x'.repeat(8193)), /^redaction rule "pin": pattern must be 1 to 8192 bytes, got 8193$/],
  ['empty', rule(''), /pattern must be 1 to 8192 bytes, got 0$/],
  ['too large', rule('((x{50}){50}){50}'), /may compile to at most 4096 instructions in all, got \d+$/],
  [
    'field',
    rule('x', { field: 'process.comm' as 'process.command_args' }),
    /field must be one of process\.command_args, process\.working_directory, dns\.question\.name, got "process\.comm"$/,
  ],
  ['group', rule('(x)', { groups: [2] }), /groups must be 0 to 1, got 2$/],
  ['half a group', rule('(x)', { groups: [0.5] }), /groups must be 0 to 1, got 0.5$/],
  ['named group', rule('(?P<a>x)', { groups: ['b'] }), /groups must be 0 to 1 or one of a, got "b"$/],
  ['too many groups', rule('(x)'.repeat(17)), /pattern must have at most 16 groups, got 17$/],
  ['name', rule('x', { name: 'A b' }), /^redaction rule "A b": name must be 1 to 48 of/],
  ['name of all', rule('x', { name: 'all' }), /and not "all"$/],
  ['hint', rule('x', { hints: ['x'] }), /hints must be at most 16, of 2 to 64 characters$/],
] as const) {
  test(`a bad rule is refused in one line: ${what}`, () => {
    assert.throws(
      () => compileRules({ rules: [bad], off: [] }),
      (thrown) => thrown instanceof BackplaneError && expected.test(thrown.message) && !thrown.message.includes('\n'),
    );
  });
}

test('too many rules, and two rules of one name, are refused', () => {
  const many = Array.from({ length: 65 }, (_, index) => rule('x', { name: `r${index}` }));
  assert.throws(() => compileRules({ rules: many, off: [] }), /redaction rules must be at most 64, got 65$/);
  assert.throws(() => compileRules({ rules: [rule('x'), rule('y')], off: [] }), /a name each, got "pin" twice$/);
});

test('secrets in names asked of DNS are masked in whatever case they are asked, and ordinary names are not', () => {
  const redactor = new Redactor(compileRules({ rules: [], off: [] }), new Pacer(1, Number.POSITIVE_INFINITY));
  const ask = (name: string) => redactor.redactQuestion({ name }).question.name;
  const secrets = [
    `ghp_${'a1B2c3D4'.repeat(5)}`,
    'AKIAIOSFODNN7EXAMPLE',
    `AIza${'SyD4x'.repeat(7)}`,
    `sk_live_${'9fQ2'.repeat(6)}`,
    `SG.${'aB3_dE5-gH'.repeat(2)}xY.${'k9_L'.repeat(10)}abc`,
    `eyJhbGciOiJIUzI1NiJ9.${'eyJzdWIiOiI0MiJ9'}.${'s1G_'.repeat(6)}`,
    `xoxb-${'1234567890-'.repeat(2)}${'aBcD'.repeat(4)}`,
  ];
  const alternated = (text: string) => text.replace(/../g, ([a, b]) => `${a!.toUpperCase()}${b!.toLowerCase()}`);
  // What is behind a JWT's parts may be one, too.
  for (const secret of secrets)
    for (const asked of [secret, secret.toLowerCase(), secret.toUpperCase(), alternated(secret)])
      assert.match(ask(`a.${asked}.drop.example`), /^a\.\*{3}(?:\.drop\.example)?$/, asked);
  const ordinary = [
    ...[
      'www.Example.ORG',
      'asia-southeast1-docker.pkg.dev',
      'asiapacific2.example.com',
      'AsiaPacificInternational.example',
    ],
    ...['eyjafjallajokull.is', 'EyjaFjallaJokull1.is', 'api.sg.mycompany-prod-2024.com', 'HF_models.example'],
    ...['npm_registry.internal.example', 'aizawa-no-mise-desu.example', 'Sk-NeTwOrKs-OnLiNe-ShOp.example'],
  ];
  for (const name of ordinary) assert.equal(ask(name), name);
});

test('arguments are told apart by case, as their programs do', () => {
  const redactor = new Redactor(compileRules({ rules: [], off: [] }), new Pacer(1, Number.POSITIVE_INFINITY));
  const args = ['x', 'akiaiosfodnn7example'];
  assert.deepEqual(redactor.redact({ ...PROCESS, args, executablePath: '/bin/x' }).args, args);
});

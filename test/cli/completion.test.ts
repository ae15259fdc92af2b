/** Completion as the shells themselves do it, of what the commands themselves say. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { asTyped } from '../../src/cli/command-name.js';
import { EXAMPLES } from '../../src/cli/examples.js';
import { run } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const dir = scratchDirectory('completion');

before(async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { out, err, code } = await run(['completion', shell]);
    assert.deepEqual([err, code], ['', 0]);
    writeFileSync(join(dir, shell), out);
  }
});

const helps = new Map<string, string>();

/** Of a verb, asked once. */
async function help(verb: string): Promise<string> {
  const known = helps.get(verb) ?? (await run([...verb.split(' '), '--help'])).out;
  helps.set(verb, known);
  return known;
}

/** The words before the cursor, the last of which is being typed, to what the shell offers. */
type Complete = (words: readonly string[]) => Promise<string[]>;

const lines = (text: string) => text.split('\n').filter((line) => line !== '');

const SHELLS: Readonly<Record<string, Complete>> = {
  bash: async (words) => {
    const script = `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _backplane; printf "%s\\n" "\${COMPREPLY[@]}"`;
    const { stdout } = await promisify(execFile)('bash', [
      '--norc',
      '-c',
      `compopt() { :; }; ${script}`,
      join(dir, 'bash'),
      ...words,
    ]);
    return lines(stdout);
  },
  zsh: async (words) => {
    // What its completion system would filter and show.
    const stubs = [
      'compdef() { :; }; compadd() { shift; print -l -- "$@"; }; _message() { :; }; _files() { print FILES; }',
      `_describe() { print -l -- "\${(@P)2}"; }`,
    ];
    const script = `${stubs.join('; ')}; source "$0"; words=("$@"); CURRENT=$#; _backplane`;
    const { stdout } = await promisify(execFile)('zsh', ['-f', '-c', script, join(dir, 'zsh'), ...words]);
    const typed = words.at(-1) ?? '';
    return lines(stdout)
      .map((line) => line.split(':')[0] ?? '')
      .filter((word) => word.startsWith(typed) || word === 'FILES');
  },
  fish: async (words) => {
    const script = 'source $argv[1]; complete -C "$argv[2]"';
    const { stdout } = await promisify(execFile)(
      'fish',
      ['--no-config', '-c', script, join(dir, 'fish'), words.join(' ')],
      {
        env: { ...process.env, HOME: dir },
      },
    );
    return lines(stdout).map((line) => line.split('\t')[0] ?? '');
  },
};

for (const [shell, complete] of Object.entries(SHELLS)) {
  const missing = spawnSync(shell, ['--version']).error === undefined ? false : `${shell} is not installed`;
  test(`${shell} completes verbs, flags and the words of flags`, { skip: missing }, async () => {
    assert.deepEqual(await complete(['backplane', 'no']), ['nodes']);
    assert.deepEqual((await complete(['backplane', 'nodes', ''])).sort(), ['forget', 'set-budget']);
    assert.deepEqual(await complete(['backplane', 'nodes', 'set-budget', '--live-e']), ['--live-events']);
    assert.deepEqual(await complete(['backplane', 'observe', '--si']), ['--since']);
    assert.deepEqual(await complete(['backplane', 'nodes', '-o', 'w']), ['wide']);
    assert.deepEqual(await complete(['backplane', 'up', '--source', 's']), ['synthetic']);
    assert.deepEqual(await complete(['backplane', 'up', '--log-fsync', 'n']), ['never']);
    assert.deepEqual(await complete(['backplane', 'observe', '--topic', 'ne']), ['network']);
    assert.deepEqual(await complete(['backplane', 'completion', 'f']), ['fish']);
    assert.deepEqual(await complete(['backplane', 'observe', '--filter', 'x']), []);
  });
}

/** Observe's examples stand in its own help. */
const VERBS = [...Object.keys(EXAMPLES), 'observe'];

test('bash offers every flag that the help of each command names', async () => {
  for (const verb of VERBS) {
    const words = verb.split(' ');
    // Other sections may begin a line with a flag too.
    const options = (await help(verb)).split('\n\n').find((section) => section.startsWith('Options:')) ?? '';
    const named = [...options.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, flag]) => flag);
    assert.ok(named.length > 0);
    assert.deepEqual((await SHELLS.bash!(['backplane', ...words, '--'])).sort(), named.sort(), verb);
  }
});

test('every verb has examples, whose flags and words it takes', async () => {
  const { out } = await run(['--help']);
  const verbs = [...out.matchAll(/^ {2}([a-z]+)(?: \[| {2,})/gm)]
    .map(([, verb]) => verb)
    .filter((verb) => verb !== 'help');
  for (const verb of verbs) assert.ok(VERBS.includes(verb ?? ''), verb);
  for (const [verb, examples] of Object.entries(EXAMPLES)) {
    const text = await help(verb);
    for (const example of examples) {
      assert.ok(lines(text).includes(`  ${asTyped(example)}`), example);
      for (const [flag] of example.matchAll(/(?<= )--?[a-z][\w-]*/g))
        assert.match(text, new RegExp(`[ ,]${flag}[ ,]`), example);
    }
  }
});

test('an unknown shell is refused with the shells that are known', async () => {
  const { code, err } = await run(['completion', 'tcsh']);
  assert.equal(code, 2);
  assert.match(err, /bash, zsh, fish/);
});

/** Under which name the command is shown, and that this name works. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { asTyped, commandName } from '../../src/cli/command-name.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const started = (script: string, PATH = '/usr/bin:/usr/local/bin', directory = '/tmp') => ({
  argv: ['/usr/bin/node', script],
  env: { PATH },
  directory,
});

test('in a checkout the command is the executable beside the build, from wherever it is typed', () => {
  const own = join(ROOT, 'backplane');
  assert.equal(commandName(started('/x/main.js', '', ROOT.replace(/\/$/, ''))), './backplane');
  assert.equal(commandName(started('/x/main.js')), own);
});

test('messages and examples show the command name that works here instead of the plain one', () => {
  const typed = (text: string) => asTyped(text, './backplane');
  assert.equal(typed('try "backplane observe --follow"'), 'try "./backplane observe --follow"');
  assert.equal(typed('source <(backplane completion bash)'), 'source <(./backplane completion bash)');
  assert.equal(typed('backplane nodes -o json'), './backplane nodes -o json');
  for (const text of ['/var/lib/backplane is full', 'the backplane agent', '"backplane"', '> _backplane x'])
    assert.equal(typed(text), text);
});

test('when installed the command is shown as it was typed, with its path where PATH does not find it', () => {
  const none = '/nowhere/backplane';
  assert.equal(commandName(started('/usr/local/bin/backplane'), none), 'backplane');
  assert.equal(commandName(started('/opt/my tools/bin/backplane'), none), "'/opt/my tools/bin/backplane'");
  assert.equal(commandName(started('/opt/b/dist/program/main.js'), none), 'node /opt/b/dist/program/main.js');
});

test('the executable runs the build from any directory and through links, or says how to build', async () => {
  const dir = scratchDirectory('name');
  const run = promisify(execFile);
  symlinkSync(join(ROOT, 'backplane'), join(dir, 'linked'));
  const { stdout } = await run(join(dir, 'linked'), ['--version'], { cwd: '/' });
  assert.match(stdout, /^\d+\.\d+\.\d+/);
  const bare = join(dir, "it's bare");
  mkdirSync(bare);
  copyFileSync(join(ROOT, 'backplane'), join(bare, 'backplane'));
  chmodSync(join(bare, 'backplane'), 0o755);
  await assert.rejects(
    run(join(bare, 'backplane'), ['nodes'], { cwd: '/' }),
    (error: Error & { stderr: string; code: number }) => {
      assert.equal(error.code, 1);
      return /^backplane: this checkout is not built yet: .*npm ci && npm run build/.test(error.stderr);
    },
  );
});

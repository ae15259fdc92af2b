/**
 * `npm test` runs everything; `npm run test:one -- PATH...` some files, named as in test/ or as in dist/test/. What
 * begins with a dash goes to `node --test`: `npm run test:one -- test/wire/frame/frame.test.ts --test-name-pattern=lanes`.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Catches what hangs; a test that waits for something gives up by itself, and says for what. */
const FILE_MS_MAX = 30 * 60_000;
/** More than cores, because tests also wait; with many more, each takes more of the machine than it saves. */
const CONCURRENCY = `--test-concurrency=${availableParallelism() * 2}`;
/** Debian's names of the packages that have what tests start as root. */
const TOOLS = {
  ip: 'iproute2',
  tc: 'iproute2',
  unshare: 'util-linux',
  taskset: 'util-linux',
  mount: 'mount',
  bash: 'bash',
  python3: 'python3',
  perl: 'perl-base',
  promtool: 'prometheus',
};

const args = process.argv.slice(2);
const flags = args.filter((arg) => arg.startsWith('-'));
const asked = args.filter((arg) => !arg.startsWith('-'));
const all = asked.length === 0;

if (process.env.npm_lifecycle_event === 'test:one' && all) fail('npm run test:one -- test/PATH.test.ts');
// The folder itself and not the link to it: a build beside the tests is not theirs.
const program = await build().catch((cause) => fail(cause.message));
const files = all ? everyTest(path.join(program, 'test')) : asked.map(compiled);
if (all) {
  installTools();
  run('npm', ['run', '--silent', 'lint']);
}
run(process.execPath, ['--test', `--test-timeout=${FILE_MS_MAX}`, CONCURRENCY, ...flags, ...files]);

function everyTest(folder) {
  const names = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return (
    names
      // Those of kernels/ run in kernels of their own (npm run test:kernels).
      .filter((name) => name.endsWith('.test.js') && !name.startsWith('kernels/'))
      .map((name) => path.join(folder, name))
      .sort()
  );
}

/** @param asked a test's source or what is made of it, from the project's folder or from here */
function compiled(asked) {
  const inProject = path.relative(ROOT, path.resolve(asked)).replace(/^(dist|\.dist-[^/]+)\//, '');
  const file = path.join(program, inProject.replace(/\.ts$/, '.js'));
  if (!file.endsWith('.test.js') || !fs.existsSync(file)) fail(`${asked} is no test: expected test/PATH.test.ts`);
  return file;
}

function installTools() {
  if (process.getuid?.() !== 0) return;
  const missing = Object.keys(TOOLS).filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((tool) => TOOLS[tool]))];
  console.error(`Installing ${packages.join(', ')}, which tests need (${missing.join(', ')}) …`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = `apt-get install -y ${packages.join(' ')} || { apt-get update && apt-get install -y ${packages.join(' ')}; }`;
  if (spawnSync('sh', ['-c', install], { env, stdio: ['ignore', 'ignore', 'pipe'] }).status !== 0)
    fail(`tests need ${missing.join(', ')}, which could not be installed: install ${packages.join(', ')}`);
}

function run(command, args) {
  const { status } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

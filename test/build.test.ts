/** A build beside a running bus, and a package, each made from a copy of the project: what is tested is not disturbed. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { scratchDirectory } from './harness/files/scratch-directory.js';
import { ownAddress } from './harness/own-address.js';
import { settled, until } from './harness/until.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const COPIED = [
  'src',
  'proto',
  'docs',
  'examples',
  'scripts',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'LICENSE',
];
const DIR = scratchDirectory('build');
const COPY = path.join(DIR, 'checkout');
const DIST = path.join(COPY, 'dist');

before(() => {
  for (const name of COPIED) {
    const filter = (file: string) => !file.startsWith(path.join(ROOT, 'src/wire/gen'));
    fs.cpSync(path.join(ROOT, name), path.join(COPY, name), { recursive: true, filter });
  }
  linkEach(path.join(ROOT, 'node_modules'), path.join(COPY, 'node_modules'));
  linkEach(path.join(ROOT, 'node_modules/.bin'), path.join(COPY, 'node_modules/.bin'));
});

/** A folder of its own with links: a build writes into node_modules/.bin. */
function linkEach(from: string, to: string): void {
  fs.mkdirSync(to, { recursive: true });
  for (const name of fs.readdirSync(from)) {
    if (!['.bin', '.cache', 'backplane'].includes(name)) fs.symlinkSync(path.join(from, name), path.join(to, name));
  }
}

interface Ran {
  readonly child: ChildProcess;
  readonly done: Promise<number | null>;
  out: string;
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = COPY): Ran {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const ran: Ran = { child, out: '', done: new Promise((resolve) => child.on('close', resolve)) };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      ran.out += text;
    });
  }
  return ran;
}

async function ends(ran: Ran, code = 0): Promise<string> {
  assert.equal(await ran.done, code, ran.out);
  return ran.out;
}

const build = () => run('npm', ['run', '--silent', 'build']);

/** Another program than before. */
function change(text = `// ${randomBytes(8).toString('hex')}\n`): void {
  fs.appendFileSync(path.join(COPY, 'src/cli/main.ts'), text);
}

/** So that it is in nobody's way. */
const apart = (): NodeJS.ProcessEnv => ({
  ...{ BACKPLANE_DATA_DIR: path.join(DIR, `data-${randomBytes(4).toString('hex')}`), BACKPLANE_SOURCE: 'synthetic' },
  ...{ BACKPLANE_GRPC_LISTEN: '127.0.0.1:0', BACKPLANE_HTTP_LISTEN: '127.0.0.1:0', BACKPLANE_LOG_LEVEL: 'silent' },
});

function up(args: readonly string[], cwd = COPY, env: NodeJS.ProcessEnv = {}): Ran {
  return run(process.execPath, [...args, 'up'], { ...apart(), ...env }, cwd);
}

/** Times that the node of `up` was ready. */
const starts = ({ out }: Ran) => out.match(/^Node /gm)?.length ?? 0;

function childrenOf(pid: number | undefined): number[] {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return children === '' ? [] : children.split(' ').map(Number);
}

function killAgent({ child }: Ran): void {
  process.kill(childrenOf(child.pid)[0]!, 'SIGKILL');
}

test('a running bus starts its agent again while builds run and after them, and commands work all the time', async (t) => {
  assert.match(await ends(build()), /^Building \(.*\) … done\n$/, 'said, because it takes a while');
  const first = fs.realpathSync(DIST);
  assert.match(await ends(build()), /^$/, 'nothing changed, so that there is nothing to do');
  const bus = up(['dist/program/main.js']);
  t.after(() => bus.child.kill('SIGKILL'));
  await until(
    'the bus is up',
    () => starts(bus) === 1,
    () => bus.out,
  );

  // V8 believes what it compiled: what a disk has damaged must not reach it.
  for (const name of fs.readdirSync(path.join(first, 'program')).filter((each) => /\.cjs\./.test(each))) {
    const file = path.join(first, 'program', name);
    const bytes = fs.readFileSync(file);
    fs.writeFileSync(file, bytes.fill(0xa5, bytes.length / 4, bytes.length / 2));
  }
  assert.match(await ends(run(process.execPath, ['dist/program/main.js', '--help'])), /observe/);

  // What is generated is not written again where it is the same: a compiler may be reading it.
  const generated = () => fs.statSync(path.join(COPY, 'src/wire/gen/event.ts')).ino;
  const before = generated();
  change();
  const builds = [build(), build()];
  await until(
    'a build has begun',
    () => unfinished().length > 0,
    () => builds.map(({ out }) => out).join(),
  );
  killAgent(bus);
  let commands = 0;
  while (builds.some(({ child }) => child.exitCode === null)) {
    assert.match(await ends(run(process.execPath, ['dist/program/main.js', '--version'])), /^\d+\.\d+\.\d+\n$/);
    commands += 1;
    await sleep(100);
  }
  assert.ok(commands > 0);
  for (const one of builds) await ends(one);
  assert.equal(generated(), before);
  assert.notEqual(fs.realpathSync(DIST), first);
  await until(
    'the agent killed during the build is there again',
    () => starts(bus) === 2,
    () => bus.out,
  );
  killAgent(bus);
  await until(
    'the agent killed after the build is there again',
    () => starts(bus) === 3,
    () => bus.out,
  );

  // However long ago it was replaced, a program that is in use stays; then it goes.
  const longAgo = new Date(0);
  fs.utimesSync(first, longAgo, longAgo);
  await ends(build());
  killAgent(bus);
  await until(
    'the agent is there again',
    () => starts(bus) === 4,
    () => bus.out,
  );
  assert.doesNotMatch(bus.out, /MODULE_NOT_FOUND/);
  bus.child.kill('SIGTERM');
  await ends(bus);
  await ends(build());
  assert.ok(!fs.existsSync(first));
});

test('what npm start has started ends when npm is told to', async (t) => {
  const npm = run('npm', ['start'], apart());
  await until(
    'the bus is up',
    () => starts(npm) === 1,
    () => npm.out,
  );
  const started = childrenOf(npm.child.pid).flatMap((pid) => [pid, ...childrenOf(pid)]);
  t.after(() => {
    for (const pid of started) if (fs.existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
  });
  npm.child.kill('SIGTERM');
  // Whatever is left of it has the pipes.
  await settled('its end', npm.done);
});

const unfinished = () => fs.readdirSync(COPY).filter((name) => name.startsWith('.dist-making-'));

test('after a build that fails, dist is still the program of the build before', async () => {
  const whole = fs.realpathSync(DIST);
  const source = fs.readFileSync(path.join(COPY, 'src/cli/main.ts'));
  change('export const NOT_A_NUMBER: number = "text";\n');
  assert.match(await ends(build(), 1), /main\.ts.*is not assignable/);
  assert.equal(fs.realpathSync(DIST), whole);
  fs.writeFileSync(path.join(COPY, 'src/cli/main.ts'), source);
  assert.deepEqual(unfinished(), []);
});

test('a package holds a program that runs and its licence, and leaves the checkout as before', async (t) => {
  await ends(build());
  const program = fs.realpathSync(DIST);
  const [{ filename, files }] = JSON.parse(
    (await ends(run('npm', ['pack', '--json', '--silent']))).replace(/^[^[]*/, ''),
  ) as [{ readonly filename: string; readonly files: readonly { readonly path: string }[] }];
  assert.equal(fs.realpathSync(DIST), program);
  const names = files.map((file) => file.path);
  for (const name of [
    'LICENSE',
    'dist/program/THIRD-PARTY-LICENSES.txt',
    'dist/program/main.js',
    'dist/descriptors/backplane.binpb',
    'dist/client/http.js',
    'dist/client/http.js.map',
    'examples/feed.ts',
    'proto/backplane/v1/event.proto',
  ])
    assert.ok(names.includes(name), name);
  assert.ok(!names.some((name) => /^(src|test|bench|dist\/(src|test)|scripts)\//.test(name)));

  // As `npm install` would put it, with what it depends on beside it.
  const installed = path.join(DIR, 'elsewhere/node_modules/backplane');
  linkEach(path.join(ROOT, 'node_modules'), path.join(DIR, 'elsewhere/node_modules'));
  fs.mkdirSync(installed);
  await ends(run('tar', ['-xzf', path.join(COPY, filename), '--strip-components=1', '-C', installed]));
  const { bin } = JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8')) as {
    bin: { backplane: string };
  };
  const main = path.join(installed, bin.backplane);
  fs.accessSync(main, fs.constants.X_OK);
  const cwd = path.join(DIR, 'elsewhere');
  assert.match(await ends(run(main, ['--version'], {}, cwd)), /^\d+\.\d+\.\d+\n$/);
  const place = { grpc: await ownAddress(), http: await ownAddress(), dataDir: path.join(DIR, 'data-of-package') };
  const bus = up([main], cwd, {
    ...{ BACKPLANE_GRPC_LISTEN: place.grpc, BACKPLANE_HTTP_LISTEN: place.http, BACKPLANE_DATA_DIR: place.dataDir },
  });
  t.after(() => bus.child.kill('SIGKILL'));
  await until(
    'the bus is up',
    () => starts(bus) === 1,
    () => bus.out,
  );
  await useLibrary(cwd, place);
  bus.child.kill('SIGTERM');
  await ends(bus);
});

/** Somebody has only the package: programs over both entries are compiled strictly, and those that end are run. */
async function useLibrary(cwd: string, bus: { grpc: string; http: string; dataDir: string }): Promise<void> {
  const guide = fs.readFileSync(path.join(ROOT, 'docs/clients.md'), 'utf8');
  const [programme = ''] = [...guide.matchAll(/^```ts\n(.*?)^```/gms)].map(([, text]) => text!);
  const examples = fs.readdirSync(path.join(ROOT, 'examples')).filter((name) => name.endsWith('.ts'));
  const short = programme
    .replace(/'broker:8484'/, 'broker')
    .replace(' tls: { ca },', '')
    .replace('60_000', '3_000')
    .replace('await batch.commit();', 'await batch.commit(); break;');
  const given = [
    'declare const process: { readonly env: Readonly<Record<string, string>> };',
    `const { broker = '', token } = process.env;`,
    `const deployId = 'deploy-1';`,
    `const save = (cursor: string) => console.log('saved', cursor);`,
    `const store = async (events: readonly object[]) => console.log('stored', events.length > 0);\n`,
  ].join('\n');
  fs.writeFileSync(path.join(cwd, 'package.json'), '{"type": "module"}');
  fs.writeFileSync(path.join(cwd, 'written.ts'), `const ca = '';\n${given}${programme}`);
  fs.writeFileSync(path.join(cwd, 'short.ts'), given + short);
  fs.writeFileSync(path.join(cwd, 'page.ts'), given + short.replace(/'backplane\/client'/, `'backplane/client/http'`));
  for (const name of examples) fs.copyFileSync(path.join(ROOT, 'examples', name), path.join(cwd, name));
  const compile = (...args: string[]) =>
    ends(
      run(
        path.join(ROOT, 'node_modules/.bin/tsc'),
        ['--strict', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2022,esnext.disposable,dom', ...args],
        {},
        cwd,
      ),
    );
  await Promise.all([
    compile('--types', 'node', '--skipLibCheck', 'written.ts', 'short.ts', ...examples),
    // Without a package beside this one, as for a page.
    compile('--types', '', 'page.ts'),
  ]);
  const token = fs.readFileSync(path.join(bus.dataDir, 'token'), 'utf8').trim();
  for (const [name, broker] of [
    ['short', bus.grpc],
    ['page', bus.http],
  ] as const) {
    const said = await ends(run(process.execPath, [`${name}.js`], { broker, token }, cwd));
    assert.match(said, /^saved \S{20,}$[\s\S]*^stored true$/m);
  }
}

/** The command line as a whole: wrong usage, help, settings from the environment, `config` and `decode`. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MAIN, run } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

const REFUSALS: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['an unknown verb', ['obsrve'], /^backplane: unknown command 'obsrve' \(Did you mean observe\?\)\n$/],
  ['an unknown flag', ['observe', '--folow'], /^backplane: unknown option '--folow' \(Did you mean --follow\?\)\n$/],
  ['a flag without its value', ['observe', '--topic'], /^backplane: option '-t, --topic <topic>' argument missing\n$/],
  [
    'a bad count',
    ['observe', '--last', '1.5'],
    /^backplane: --last must be a whole number from 1 to 10000, got "1.5"\n$/,
  ],
  [
    'too many',
    ['observe', '--last', '10001'],
    /^backplane: --last must be a whole number from 1 to 10000, got "10001"\n$/,
  ],
  [
    'an unknown format',
    ['observe', '-o', 'xml'],
    /'xml' is invalid\. Allowed choices are compact, json, jsonpb, table, dict\.\n$/,
  ],
  [
    'two limits',
    ['observe', '--first', '1', '--limit', '2'],
    /^backplane: --first 1 and --limit 2 mean the same: give one\n$/,
  ],
  [
    'cursor and window',
    ['observe', '--cursor', 'x', '--since', '1m'],
    /--cursor already says where to begin: leave out --since\n$/,
  ],
  [
    'an empty cursor',
    ['observe', '--cursor='],
    /^backplane: --cursor must not be empty: leave it out to begin anew\n$/,
  ],
  ['an empty node', ['observe', '--node='], /^backplane: --node must not be empty: leave it out for every node\n$/],
  ['an empty topic', ['observe', '-t', 'process,'], /^backplane: --topic must not be empty: .* every topic\n$/],
  ['an empty filter', ['observe', '--filter', ' '], /^backplane: --filter must not be empty: .* for every event\n$/],
  [
    'an unknown field',
    ['observe', '--field-mask', 'process.pidd'],
    /unknown field "process.pidd", did you mean "process.pid"\?\n$/,
  ],
  [
    'a bad broker',
    ['nodes', '--broker', 'nowhere'],
    /^backplane: brokers must hold host:port or host:port@zone items, got "nowhere" \(flag --broker\)\n$/,
  ],
  [
    'a bad setting',
    ['up', '--recorder-bytes-max', '12'],
    /recorder.bytesMax must be at least 1MiB, got "12" \(flag --recorder-bytes-max\)\n$/,
  ],
  [
    'a stray argument',
    ['status', 'x'],
    /^backplane: too many arguments for 'status'\. Expected 0 arguments but got 1\.\n$/,
  ],
  [
    'a listener that others can reach',
    ['broker', '--grpc-listen', '0.0.0.0:4', '--data-dir', '/proc/none'],
    /^backplane: grpc\.listen is 0\.0\.0\.0:4, which others can reach, .* --insecure or BACKPLANE_INSECURE=true\n$/,
  ],
  [
    'no such configuration',
    ['config', '--config', '/nowhere'],
    /^backplane: configuration file \/nowhere: there is no such file\n$/,
  ],
  ['a missing argument', ['decode'], /^backplane: missing required argument 'directory'\n$/],
  ['escapes', ['\x1b[31mup'], /^backplane: unknown command ' \[31mup'/],
];

for (const [name, args, expected] of REFUSALS) {
  test(`wrong usage exits 2 with one line: ${name}`, async () => {
    const { code, out, err } = await run(args);
    assert.match(err, expected);
    assert.equal(err.split('\n').length, 2);
    assert.equal(out, '');
    assert.equal(code, 2);
  });
}

test("a bad setting in the environment is refused by the variable's name", async () => {
  const { code, err } = await run(['status'], { BACKPLANE_BROKERS: 'x' });
  assert.equal(
    err,
    'backplane: brokers must hold host:port or host:port@zone items, got "x" (environment BACKPLANE_BROKERS)\n',
  );
  assert.equal(code, 2);
});

test('a subcommand takes its flags wherever they stand', async () => {
  const broker = ['--broker', '127.0.0.1:1'];
  for (const args of [
    ['nodes', 'set-budget', 'node-a', '--live-events', '5', ...broker],
    ['nodes', ...broker, 'set-budget', 'node-a', '--live-events', '5'],
  ]) {
    const { code, err } = await run(args);
    assert.match(err, /^backplane: no broker answers at 127\.0\.0\.1:1: /, args.join(' '));
    assert.equal(code, 1);
  }
});

test('without a broker a command exits with 1 and says what to do', async () => {
  for (const verb of ['observe', 'nodes', 'topics', 'subscriptions', 'status']) {
    const { code, out, err } = await run([verb, '--broker', '127.0.0.1:1']);
    assert.match(err, /^backplane: no broker answers at 127\.0\.0\.1:1: start one with "\S*backplane up".*\n$/);
    assert.equal(out, '');
    assert.equal(code, 1);
  }
});

test('help and version exit with 0, and a call without a verb does not', async () => {
  for (const args of [['--help'], ['help', 'observe'], ['observe', '--help']]) {
    const { code, out } = await run(args);
    assert.match(out, /^Usage: backplane/);
    assert.equal(code, 0);
  }
  assert.match((await run(['help', 'observe'])).out, /--follow[\s\S]*Exit codes: .* 4 incomplete/);
  assert.match((await run(['--version'])).out, /^\d+\.\d+\.\d+\n$/);
  const bare = await run([]);
  assert.match(bare.err, /^Usage: backplane/);
  assert.equal(bare.code, 2);
});

test('the version is told by the entry point alone, and a verb needs no part of the program but its own', () => {
  const dir = scratchDirectory('parts');
  const program = join(dir, 'dist/program');
  mkdirSync(program, { recursive: true });
  writeFileSync(join(dir, 'package.json'), '{ "version": "1.2.3" }');
  const has = (...names: string[]) => {
    for (const name of names) copyFileSync(join(dirname(MAIN), name), join(program, name));
  };
  const told = (...args: string[]) => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [join(program, 'main.js'), ...args]);
    return `${status} ${stdout}${stderr}`;
  };
  has('main.js', 'package.json');
  assert.equal(told('--version'), '0 1.2.3\n');
  assert.match(told('config', '--help'), /^1 /);
  has('local.cjs');
  assert.match(told('config', '--help'), /^0 Usage: backplane config/);
  assert.match(told('observe', '--help'), /^1 /);
});

test('the help of a command with settings names what their values are, and the choices', async () => {
  const help = async (verb: string) => (await run([verb, '--help'])).out.replace(/\s+/g, ' ');
  const agent = await help('agent');
  assert.match(agent, / --agent-guard-cpu <percent> percent of one core /);
  assert.match(agent, / --source <source> [^-]*\(one of auto, tracefs, procfs, synthetic; default auto\)/);
  assert.match(
    agent,
    / --log-level <level> [^-]*\(one of fatal, error, warn, info, debug, trace, silent; default info\)/,
  );
  assert.match(await help('broker'), / --log-fsync <when> [^-]*\(one of commit, interval, never; default commit\)/);
});

test('an unknown variable is warned of once', async () => {
  const { code, err } = await run(['config'], { BACKPLANE_DATADIR: '/d' });
  const warning = 'unknown variable BACKPLANE_DATADIR in the environment, did you mean "BACKPLANE_DATA_DIR"?';
  assert.equal(err, `backplane: ${warning}\n`);
  assert.equal(code, 0);
});

test('config prints the settings that are in force', async () => {
  const { code, out } = await run(['config', '--source', 'procfs'], { BACKPLANE_DATA_DIR: '/d' });
  assert.match(out, /^source: procfs # flag --source$/m);
  assert.match(out, /^ {2}dir: \/d # environment BACKPLANE_DATA_DIR$/m);
  assert.equal(code, 0);
});

test('decode prints a capture as JSON lines, and refuses a file that is no capture in one line', async () => {
  const capture = fileURLToPath(new URL('../../../test/fixtures/ftrace/lite-4k', import.meta.url));
  const { code, out } = await run(['decode', capture]);
  const first = JSON.parse(out.slice(0, out.indexOf('\n'))) as Record<string, unknown>;
  assert.deepEqual(Object.keys(first), ['time', 'cpu', 'event', 'pid', 'fields']);
  assert.equal(code, 0);
  const missing = await run(['decode', '/nowhere']);
  assert.match(missing.err, /^backplane: \/nowhere must be a capture's directory: it does not exist\n$/);
  assert.equal(missing.code, 1);
});

test('a command runs in a directory that was removed', () => {
  const inRemoved = 'cd "$1" && rmdir "$1" && shift && exec "$@"';
  const command = [process.execPath, MAIN, 'observe', '--folow'];
  const { stderr, status } = spawnSync('sh', ['-c', inRemoved, 'sh', scratchDirectory('gone'), ...command]);
  assert.equal(stderr.toString(), "backplane: unknown option '--folow' (Did you mean --follow?)\n");
  assert.equal(status, 2);
});

const HEAP = new URL('../../src/cli/process/heap.js', import.meta.url).href;

function inServer(code: string) {
  const begin = `import { setUpServer } from ${JSON.stringify(HEAP)}; setUpServer();`;
  const args = ['--input-type=module', '-e', begin + code];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { stdout, stderr };
}

test('this V8 knows the flags that servers set', () => {
  assert.deepEqual(inServer("process.stdout.write('set');"), { stdout: 'set', stderr: '' });
});

test('the young generation of a server stays small, also beside another thread', () => {
  const { stdout } = inServer(`
    import { once } from 'node:events';
    import v8 from 'node:v8';
    import { Worker } from 'node:worker_threads';
    const worker = new Worker('setInterval(() => {}, 1000)', { eval: true });
    await once(worker, 'online');
    let kept = [];
    for (let at = 0; at < 400_000; at++) {
      kept.push({ at, more: [at] });
      if (kept.length > 20_000) kept = [];
    }
    const young = v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
    process.stdout.write(String(young.space_size));
    process.exit();`);
  assert.ok(Number(stdout) < 8 * 2 ** 20, `${stdout} bytes`);
});

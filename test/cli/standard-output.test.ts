/** A stdout that takes nothing is told, by every verb; a reader that has gone is not; a stderr that takes nothing hurts nobody. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { command, MAIN, type Running, run } from '../harness/bus/command.js';

const CAPTURE = fileURLToPath(new URL('../../../test/fixtures/ftrace/lite-4k', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'backplane-output-'));
const QUIET_PORTS = { BACKPLANE_GRPC_LISTEN: '127.0.0.1:0', BACKPLANE_HTTP_LISTEN: '127.0.0.1:0' };
let broker: Running;
let env: Record<string, string>;

before(async () => {
  broker = command(['up'], {
    ...QUIET_PORTS,
    BACKPLANE_DATA_DIR: dir,
    BACKPLANE_SOURCE: 'synthetic',
    BACKPLANE_SYNTHETIC_RATE: '100',
    BACKPLANE_NODE_NAME: 'node-output',
    BACKPLANE_LOG_LEVEL: 'silent',
  });
  await broker.printed(/^Next, /m);
  const address = /listens on (\S+) /.exec(broker.out)?.[1] ?? '';
  env = { BACKPLANE_BROKERS: address, BACKPLANE_TOKEN_FILE: join(dir, 'token') };
  for (let nodes = ''; !nodes.includes('node-output'); ) nodes = (await run(['nodes'], env)).out;
});

after(async () => {
  broker.child.kill('SIGTERM');
  await broker.done;
  rmSync(dir, { recursive: true, force: true });
});

/** With streams that are files of this name. */
async function runInto(args: readonly string[], files: { out?: string; err?: string }, more = {}) {
  const opened = [files.out, files.err].map((file) => (file === undefined ? 'pipe' : openSync(file, 'w')));
  const environment = { PATH: process.env.PATH, TZ: 'UTC', ...env, ...more };
  const child = spawn(process.execPath, [MAIN, ...args], { env: environment, stdio: ['ignore', ...opened] as never });
  for (const fd of opened) if (typeof fd === 'number') closeSync(fd);
  const texts = { out: '', err: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    texts.out += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    texts.err += text;
  });
  return { child, texts, ended: once(child, 'close').then(([code]) => ({ code: code as number, ...texts })) };
}

const VERBS: readonly (readonly string[])[] = [
  ['nodes'],
  ['nodes', '-o', 'json'],
  ['topics'],
  ['status'],
  ['subscriptions'],
  ['nodes', 'set-budget', 'node-output', '--live-events', '5000'],
  ['doctor'],
  ['config'],
  ['decode', CAPTURE],
  ['observe', '--last', '2'],
  ['observe', '--print-plan'],
  ['--help'],
  ['observe', '--help'],
  ['help', 'nodes'],
  ['--version'],
];

const TOLD = 'backplane: stdout could not be written: no space left on the device (ENOSPC)\n';

for (const args of VERBS) {
  test(`with stdout on a full disk this fails in one line: ${args.join(' ').replace(CAPTURE, 'CAPTURE')}`, async () => {
    const { code, err } = await (await runInto(args, { out: '/dev/full' })).ended;
    assert.equal(err, TOLD);
    assert.equal(code, 1);
  });
}

for (const verb of ['broker', 'up']) {
  test(`${verb} with stdout on a full disk serves on, and fails when it ends`, async () => {
    const own = mkdtempSync(join(tmpdir(), 'backplane-output-'));
    const more = {
      ...QUIET_PORTS,
      BACKPLANE_DATA_DIR: own,
      BACKPLANE_SOURCE: 'synthetic',
      BACKPLANE_LOG_LEVEL: 'info',
    };
    const { child, ended } = await runInto([verb], { out: '/dev/full' }, more);
    // From then on a signal ends it in order, whatever it is about.
    while (!existsSync(join(own, 'token')) && child.exitCode === null) await sleep(20);
    child.kill('SIGTERM');
    const { code, err } = await ended;
    assert.match(err, /^backplane: stdout[^\n]*no space left[^\n]*$/im);
    assert.equal(code, 1);
    rmSync(own, { recursive: true, force: true });
  });
}

test('a reader that closes its pipe early causes neither a message nor a failure', async () => {
  for (const args of [['topics'], ['config'], ['decode', CAPTURE], ['observe', '--last', '5'], ['--help']]) {
    const line = `"$@" | head -n 1; echo "code \${PIPESTATUS[0]}"`;
    const child = spawn('bash', ['-c', line, 'bash', process.execPath, MAIN, ...args], {
      env: { PATH: process.env.PATH, ...env },
    });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    await once(child, 'close');
    assert.match(out, /^code 0$/m, `${args}: ${out}${err}`);
    assert.doesNotMatch(err, /EPIPE|unexpected|stdout/, `${args}`);
  }
});

test('a stderr that cannot be written to does not disturb the command', async () => {
  const { code, out } = await (await runInto(['topics'], { err: '/dev/full' })).ended;
  assert.equal(code, 0);
  assert.match(out, /^process /m);
  const wrong = await (await runInto(['nodes', '--nonsense'], { err: '/dev/full' })).ended;
  assert.equal(wrong.code, 2);
  const both = await (await runInto(['observe', '--last', '1'], { out: '/dev/full', err: '/dev/full' })).ended;
  assert.equal(both.code, 1);
});

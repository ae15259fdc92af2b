/** The token as whoever starts a bus and types commands meets it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { command, MAIN, run } from '../harness/bus/command.js';
import { scratchDirectory } from '../harness/files/scratch-directory.js';

function directory(): string {
  const dir = scratchDirectory('token');
  return dir;
}

async function start(t: TestContext, dir: string, args: readonly string[] = [], verb = 'broker') {
  const broker = command([verb, ...args], {
    BACKPLANE_DATA_DIR: dir,
    BACKPLANE_GRPC_LISTEN: '127.0.0.1:0',
    BACKPLANE_HTTP_LISTEN: '127.0.0.1:0',
    BACKPLANE_SOURCE: 'synthetic',
    BACKPLANE_NODE_NAME: 'node-token',
    XDG_RUNTIME_DIR: dir,
  });
  t.after(() => broker.child.kill('SIGKILL'));
  await broker.printed(verb === 'up' ? /^Next, /m : /listening on .*\n/);
  const [, grpc = '', http = ''] = /(\S+) \(gRPC\) and (http:\S+)/.exec(broker.out) ?? [];
  return { broker, grpc, http };
}

test('commands find the token of a running broker by its address, from any directory', async (t) => {
  const dir = directory();
  const { broker, grpc } = await start(t, dir);
  const found = await run(['status', '--broker', grpc], { XDG_RUNTIME_DIR: dir });
  assert.deepEqual([found.err, found.code], ['', 0]);
  broker.child.kill('SIGTERM');
  assert.equal((await broker.done).code, 0);
  const notes = process.geteuid?.() === 0 ? '/run/backplane' : join(dir, 'backplane');
  const left = readdirSync(notes).filter((name) => name.startsWith(`${grpc}@`));
  assert.deepEqual(left, []);
});

test('a refused token is one line that names file, owner and variable, and following it helps', async (t) => {
  const dir = directory();
  const { grpc } = await start(t, dir);
  const elsewhere = { BACKPLANE_DATA_DIR: join(dir, 'none'), BACKPLANE_TOKEN: 'A'.repeat(43) };
  for (const args of [
    ['status'],
    ['nodes'],
    ['observe', '--last', '2'],
    ['nodes', 'set-budget', '*', '--live-events', '1'],
  ]) {
    const { code, out, err } = await run([...args, '--broker', grpc], elsewhere);
    assert.equal(code, 2, err);
    assert.equal(out, '');
    const file = join(dir, 'token');
    assert.ok(err.startsWith(`backplane: another token came: the token of this broker is in ${file}, owned by `), err);
    assert.match(err, /, mode 0600: run as \S+, or set BACKPLANE_TOKEN_FILE \(BACKPLANE_TOKEN was sent\)\n$/);
  }
  const named = await run(['status', '--broker', grpc], { BACKPLANE_TOKEN_FILE: join(dir, 'token') });
  assert.deepEqual([named.err, named.code], ['', 0]);
  const flag = await run(['status', '--broker', grpc, '--token-file', join(dir, 'token')]);
  assert.deepEqual([flag.err, flag.code], ['', 0]);
  const inEnvironment = { BACKPLANE_TOKEN: readFileSync(join(dir, 'token'), 'utf8') };
  const given = await run(['status', '--broker', grpc], inEnvironment);
  assert.deepEqual([given.err, given.code], ['', 0]);
  const missing = await run(['status', '--broker', grpc], { BACKPLANE_TOKEN_FILE: join(dir, 'none') });
  assert.equal(missing.code, 2);
  assert.match(missing.err, /^backplane: the token file \S+ cannot be read: there is no such file\n$/);
});

test('another user can neither read nor change anything', {
  skip: process.geteuid?.() === 0 ? false : 'needs root to be somebody else',
}, async (t) => {
  const dir = directory();
  const { grpc, http } = await start(t, dir);
  // The directory itself may be entered: what counts is the file.
  chmodSync(dir, 0o755);
  for (const args of [
    ['observe', '--last', '2'],
    ['nodes', 'set-budget', '*', '--live-events', '1'],
  ]) {
    const env = { PATH: process.env.PATH, BACKPLANE_DATA_DIR: dir, XDG_RUNTIME_DIR: dir };
    const nobody = spawn(process.execPath, [MAIN, ...args, '--broker', grpc], { uid: 65_534, gid: 65_534, env });
    let told = '';
    nobody.stderr.setEncoding('utf8').on('data', (text: string) => {
      told += text;
    });
    const [code] = await once(nobody, 'close');
    assert.equal(code, 2, told);
    assert.match(told, /^backplane: no token came: .*owned by root, mode 0600: run as root/);
  }
  assert.equal((await fetch(`${http}/v1/events?follow=true`)).status, 401);
});

test('up passes the token to its agent, and neither prints it', async (t) => {
  const dir = directory();
  const { broker, grpc } = await start(t, dir, [], 'up');
  const token = readFileSync(join(dir, 'token'), 'utf8').trim();
  const env = { BACKPLANE_TOKEN_FILE: join(dir, 'token') };
  for (let nodes = ''; !nodes.includes('node-token'); ) nodes = (await run(['nodes', '--broker', grpc], env)).out;
  for (const pid of [broker.child.pid, ...children(broker.child.pid!)])
    assert.ok(!readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(token));
  broker.child.kill('SIGTERM');
  const { code, out, err } = await broker.done;
  assert.equal(code, 0);
  assert.ok(!`${out}${err}`.includes(token));
});

function children(pid: number): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
}

test('--no-token lets everybody in, and each start says so', async (t) => {
  const dir = directory();
  for (const verb of ['broker', 'up']) {
    const { broker, grpc, http } = await start(t, dir, ['--no-token'], verb);
    assert.match(broker.out, /^No token is wanted \(--no-token\): everybody who can connect may /m);
    assert.equal((await run(['status', '--broker', grpc])).code, 0);
    assert.equal((await fetch(`${http}/v1/nodes`)).status, 200);
    broker.child.kill('SIGTERM');
    await broker.done;
  }
  assert.ok(!readdirSync(dir).includes('token'));
});

test('config says where the token comes from but not its value, and its output can be started from', async () => {
  const dir = directory();
  const token = 'S'.repeat(43);
  const { out, err } = await run(['config', '--no-token'], {
    BACKPLANE_TOKEN: token,
    BACKPLANE_TOKEN_FILE: '/x/token',
  });
  assert.equal(err, '');
  assert.ok(!out.includes(token));
  assert.match(out, /^# BACKPLANE_TOKEN is set in the environment/);
  assert.match(out, /^token:\n {2}file: \/x\/token # environment BACKPLANE_TOKEN_FILE$/m);
  assert.match(out, /^broker:\n {2}token: false # flag --no-token$/m);
  writeFileSync(join(dir, 'config.yaml'), out);
  const again = await run(['config', '--config', join(dir, 'config.yaml')]);
  assert.match(again.out, /^ {2}token: false # file /m);
  assert.match((await run(['config'], { BACKPLANE_BROKER_TOKEN: 'false' })).out, /^ {2}token: false # environment/m);
  assert.match((await run(['config'])).out, /^ {2}token: true # default$/m);
});

test('a broker whose token others can read does not start, and says what to do', async () => {
  const dir = directory();
  writeFileSync(join(dir, 'token'), `${'T'.repeat(43)}\n`, { mode: 0o644 });
  mkdirSync(join(dir, 'run'));
  const env = { BACKPLANE_DATA_DIR: dir, BACKPLANE_GRPC_LISTEN: '127.0.0.1:0', BACKPLANE_HTTP_LISTEN: '127.0.0.1:0' };
  const { code, err } = await run(['broker'], env);
  assert.equal(code, 1);
  assert.match(
    err,
    /^backplane: the token in \S+ can be read by others \(mode 0644\): set its mode to 0600, or remove it/,
  );
});

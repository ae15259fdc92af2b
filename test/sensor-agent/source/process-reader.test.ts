/** /proc as it is. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX } from '../../../src/limits.js';
import { ProcessReader } from '../../../src/sensor-agent/source/process-reader.js';
import { ttyName } from '../../../src/sensor-agent/source/process-text.js';
import { scratchDirectory } from '../../harness/files/scratch-directory.js';
import { firstLine } from '../../harness/first-line.js';
import { until } from '../../harness/until.js';

test('a program whose name ends as the kernel marks what was removed has its name, and one that was removed has no mark', async (t) => {
  const dir = scratchDirectory('deleted');
  const reader = new ProcessReader();
  for (const [name, removed] of [
    ['app (deleted)', false],
    ['app', true],
    ['other (deleted)', true],
  ] as const) {
    const file = join(dir, name);
    copyFileSync('/bin/sleep', file);
    const child = spawn(file, ['60'], { stdio: 'ignore' });
    t.after(() => child.kill('SIGKILL'));
    await once(child, 'spawn');
    await until('its program', () => reader.snapshot(child.pid!)?.args?.[0] === file);
    if (removed) rmSync(file);
    assert.equal(reader.snapshot(child.pid!)?.executablePath, file);
  }
});

test('a process is read exactly, even with hostile names', async (t) => {
  const reader = new ProcessReader();
  const args = ['-c', 'printf ") S 1 (" >/proc/self/comm; echo up; read line', 'a b', 'ü', ''];
  const child = spawn('bash', args, { cwd: '/', stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  const seen = reader.snapshot(child.pid!)!;
  assert.deepEqual(seen.args, ['bash', ...args]);
  assert.equal(seen.argsTruncated, undefined);
  assert.equal(seen.comm, ') S 1 (');
  assert.equal(seen.parentPid, process.pid);
  assert.equal(seen.workingDirectory, '/');
  assert.equal(seen.uid, process.geteuid!());
  assert.match(seen.executablePath!, /bash/);
  assert.ok(seen.cgroup!.startsWith('/'));
  assert.ok(seen.startTimeNs! > 0n);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(reader.snapshot(child.pid!), undefined);
});

test('arguments are bounded in bytes and number', async (t) => {
  const reader = new ProcessReader();
  for (const extra of [Array.from({ length: 3000 }, () => 'x'), ['y'.repeat(100_000)]]) {
    const child = spawn('sh', ['-c', 'echo up; read line', ...extra], { stdio: ['pipe', 'pipe', 'ignore'] });
    t.after(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    const args = reader.snapshot(child.pid!)!.args!;
    assert.ok(args.length <= ARGUMENTS_MAX);
    assert.ok(args.join('').length <= ARGUMENTS_BYTES_MAX);
    assert.equal(args[0], 'sh');
    assert.equal(reader.snapshot(child.pid!)!.argsTruncated, true);
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

test('the scan finds this process with its threads', () => {
  const own = [...new ProcessReader().scan()].find(({ pid }) => pid === process.pid);
  assert.ok(own!.threads!.length > 0);
  assert.ok(!own!.threads!.includes(process.pid));
});

test('a terminal has the name of its device', () => {
  const device = (major: number, minor: number) => (minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12);
  const named = { '': 0, 'pts/3': device(136, 3), 'pts/1000': device(136, 1000), 'pts/258': device(137, 2) };
  const others = { tty1: device(4, 1), ttyS0: device(4, 64), hvc0: device(229, 0), '250:7': device(250, 7) };
  for (const [name, number] of Object.entries({ ...named, ...others })) assert.equal(ttyName(number), name);
});

/** Starts a shell in a terminal of its own, and says what that is. */
const IN_TERMINAL = `
import os, pty
pid, terminal = pty.fork()
if pid == 0: os.execv('/bin/sh', ['sh', '-c', 'echo 4711 >/proc/self/loginuid; tty; read line'])
said = ''
while '/dev/' not in said or '\\n' not in said[said.index('/dev/'):]: said += os.read(terminal, 100).decode()
print(pid, said[said.index('/dev/'):].strip(), flush=True)
input()
`;

test('who logged in, and at which terminal', async (t) => {
  const reader = new ProcessReader();
  const child = spawn('python3', ['-c', IN_TERMINAL], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [pid, terminal] = (await firstLine(child.stdout)).split(' ');
  const { tty, loginUid } = reader.look(Number(pid))!;
  assert.equal(`/dev/${tty}`, terminal);
  const own = readFileSync('/proc/self/loginuid', 'utf8');
  // Where somebody had logged in, only who may change that does.
  assert.ok(loginUid === 4711 || String(loginUid) === own, `${loginUid}`);
});

/**
 * Every kind of event, each at least once and by its content, from programs of every kind: run on each kernel, whole as
 * in the smoke. Tests of single things are beside (run.ts says which).
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { syscallNumber } from '../../../src/architecture/architecture.js';
import { allDefinitions } from '../../../src/sensor-agent/source/probe/definitions.js';
import { findTracefs } from '../../../src/sensor-agent/source/tracefs/mount.js';
import { Bus, Command, type EventLine, type Observer } from '../../harness/bus/bus.js';
import { type Call, OWN_MACHINE, tinyProgram } from '../../harness/kernel/tiny-program.js';
import { until } from '../../harness/until.js';

let bus: Bus;
let dir = '';
before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'backplane-events-'));
  bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'lite,file,security', BACKPLANE_AGENT_GUARD_CPU: '0' });
});
after(async () => {
  await bus.destroy();
  rmSync(dir, { recursive: true, force: true });
});

function program(name: string, content: string | Buffer): string {
  const path = join(dir, name);
  writeFileSync(path, content, { mode: 0o755 });
  return path;
}

/** Runs a program to its end; returns its pid. */
function run(path: string, ...args: string[]): number {
  const { pid, error, status, stderr } = spawnSync(path, args);
  assert.equal(status, 0, `${path}: ${error?.message ?? stderr}`);
  return pid;
}

const execOf = (pid: number | undefined, argument: string) => (event: EventLine) =>
  event.type === 'process.exec' &&
  event.process?.pid === pid &&
  event.process?.commandArgs?.includes(argument) === true;

/** i386: poll(NULL, 0, milliseconds) */
const POLL_I386 = 168;

test('programs of every kind come with their arguments: dynamic, static, 32-bit, scripts and scripts of scripts', async (t) => {
  const observer = await bus.follow('--filter', 'event.type == "process.exec"');
  const mark = randomBytes(8).toString('hex');
  const script = program('script', '#!/bin/sh -e\nexit 0\n');
  const nested = program('nested', `#!${script}\nnothing\n`);
  const longLived: Call = [POLL_I386, 0, 0, 2_000];
  const kinds: readonly (readonly [string, string])[] = [
    ['dynamic', '/usr/bin/true'],
    ['static', program('static', tinyProgram(OWN_MACHINE!, []))],
    // Looked up while it lives.
    ...(process.arch === 'x64' ? [['32-bit', program('32-bit', tinyProgram('i386', [longLived]))] as const] : []),
  ];
  for (const [kind, path] of kinds) {
    const args = [`${mark}-${kind}`, '', 'zwei Wörter'];
    if (kind === '32-bit' && spawnSync(path).status !== 0) {
      t.diagnostic('this kernel starts no 32-bit programs');
      continue;
    }
    const pid = run(path, ...args);
    const { process: seen } = await observer.sees(execOf(pid, args[0]!));
    assert.deepEqual(seen!.commandArgs, [path, ...args], kind);
    assert.equal(seen!.executable!.path, path, kind);
  }
  for (const path of [script, nested]) {
    const pid = run(path, mark);
    const { process: seen } = await observer.sees(execOf(pid, path));
    // One that ends at once is known by the name that it was started with.
    assert.ok([path, '/usr/bin/dash', '/usr/bin/bash'].includes(seen!.executable!.path), seen!.executable!.path);
    assert.deepEqual(seen!.commandArgs, ['/bin/sh', '-e', script, ...(path === nested ? [nested] : []), mark]);
  }
  await observer.stop('SIGINT');
});

test('forks, renames, signals and ends are told of the processes that they are of', async () => {
  const observer = await bus.follow(
    '--field-mask',
    'process.pid,process.parent_pid,process.comm,signal,process.exit_code',
  );
  const shell = spawn('sh', ['-c', 'sleep 60 & kill -USR1 $$'], { stdio: 'ignore' });
  const { pid } = shell;
  assert.deepEqual(await once(shell, 'exit'), [null, 'SIGUSR1']);
  const of = (type: string) => (event: EventLine) => event.type === type && event.process?.parentPid === pid;
  const { process: forked } = await observer.sees(of('process.fork'));
  await observer.sees(({ type, process: one }) => type === 'process.rename' && one?.pid === pid && one?.comm === 'sh');
  const signal = await observer.sees(
    ({ type, signal: one }) => type === 'process.signal' && one?.targetPid === pid && one?.name === 'SIGUSR1',
  );
  assert.equal(signal.process!.pid, pid);
  await observer.sees(({ type, process: one }) => type === 'process.exit' && one?.pid === pid);
  process.kill(forked!.pid, 'SIGKILL');
  const killed = await observer.sees(({ type, process: one }) => type === 'process.exit' && one?.pid === forked!.pid);
  assert.equal(killed.process!.exitCode, undefined);
  await observer.stop('SIGINT');
});

test('a connection is told at both its ends, with who connected and who accepted', async () => {
  const observer = await bus.follow('--topic', 'network');
  const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const program = `require('net').connect(${port}, '127.0.0.1').resume()`;
  const client = spawn(process.execPath, ['-e', program], { stdio: 'ignore' });
  await once(client, 'exit');
  server.close();
  const on = (type: string, end: 'local' | 'peer', pid: number | undefined) => (event: EventLine) =>
    event.type === `network.tcp.${type}` && event.network?.[end].port === port && event.process?.pid === pid;
  await observer.sees(on('connect', 'peer', client.pid));
  await observer.sees(on('accept', 'local', process.pid));
  await observer.sees(on('close', 'peer', client.pid));
  await observer.sees(on('close', 'local', process.pid));
  await observer.stop('SIGINT');
});

/** By name; where this architecture has only the newer one that does the same, that. */
function call(name: string, ...args: Arguments): Call {
  const number = syscallNumber(name);
  if (number !== undefined) return [number, ...args];
  const [newer, ...given] = NEWER[name]!(args);
  return [syscallNumber(newer)!, ...given];
}

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const EMPTY_PATH = 0x1000;
const O_CREAT_WRITE = 0o101;
const O_TRUNC = 0o1000;

/** As the libraries of an architecture without the older calls make them. */
const NEWER: Readonly<Record<string, (args: Arguments) => readonly [string, ...Arguments]>> = {
  open: (args) => ['openat', AT_FDCWD, ...args],
  creat: ([path, mode]) => ['openat', AT_FDCWD, path!, O_CREAT_WRITE | O_TRUNC, mode!],
  rename: ([from, to]) => ['renameat', AT_FDCWD, from!, AT_FDCWD, to!],
  link: ([from, to]) => ['linkat', AT_FDCWD, from!, AT_FDCWD, to!, 0],
  symlink: ([target, path]) => ['symlinkat', target!, AT_FDCWD, path!],
  mkdir: (args) => ['mkdirat', AT_FDCWD, ...args],
  chmod: (args) => ['fchmodat', AT_FDCWD, ...args],
  chown: (args) => ['fchownat', AT_FDCWD, ...args, 0],
  lchown: (args) => ['fchownat', AT_FDCWD, ...args, AT_SYMLINK_NOFOLLOW],
  rmdir: ([path]) => ['unlinkat', AT_FDCWD, path!, AT_REMOVEDIR],
  unlink: ([path]) => ['unlinkat', AT_FDCWD, path!, 0],
};

const PID = 0x7fff_fff0;
const CLONE_NEWUTS = 0x0400_0000;
type Arguments = readonly (number | string)[];
/** Each call of the profile `security`; most fail, which is told alike. */
const SECURITY_CALLS: Readonly<Record<string, Arguments>> = {
  ptrace: [16, PID, 0, 0],
  mount: ['source', '/nowhere', 'tmpfs', 0, 0],
  umount: ['/nowhere', 2],
  pivot_root: ['/nowhere', '/nowhere'],
  open_tree: [-1, '/nowhere', 1],
  fsmount: [-1, 1, 1],
  fspick: [-1, '/nowhere', 1],
  mount_setattr: [-1, '/nowhere', 0, 0, 0],
  setns: [-1, CLONE_NEWUTS],
  unshare: [CLONE_NEWUTS],
  bpf: [999, 0, 0],
  memfd_create: ['named', 1],
  process_vm_readv: [PID, 0, 0, 0, 0, 0],
  process_vm_writev: [PID, 0, 0, 0, 0, 0],
  setuid: [0],
  setgid: [0],
  setreuid: [0, 0],
  setregid: [0, 0],
  setresuid: [0, 0, 0],
  setresgid: [0, 0, 0],
  kill: [PID, 0],
  tkill: [PID, 0],
  tgkill: [PID, PID, 0],
};

/** Arguments that are numbers, as an event has them. */
function numbers(args: readonly unknown[] = []): string[] {
  return args.map((arg) => String(BigInt.asIntN(32, BigInt(typeof arg === 'string' ? arg : Number(arg)))));
}

test('every call that gains or uses privilege is told, with its arguments', async () => {
  const observer = await bus.follow('--topic', 'security');
  const calls = Object.entries(SECURITY_CALLS).map(([name, args]) =>
    call(name === 'umount' ? 'umount2' : name, ...args),
  );
  const pid = run(program('privileged', tinyProgram(OWN_MACHINE!, calls)));
  const last = Object.keys(SECURITY_CALLS).at(-1);
  await observer.sees(({ type, process: one }) => one?.pid === pid && type === `security.${last}`);
  const own = observer.events.filter(({ process: one }) => one?.pid === pid);
  for (const [name, args] of Object.entries(SECURITY_CALLS)) {
    // mount_setattr is newer than the oldest of these kernels.
    if (!existsSync(join(findTracefs() ?? '', 'events/syscalls', `sys_enter_${name}`))) continue;
    const [event, ...others] = own.filter(({ type }) => type === `security.${name}`);
    assert.ok(event, `security.${name} is not told`);
    assert.deepEqual(others, [], name);
    const told = event.syscall?.args?.slice(0, args.length) ?? [];
    const isNumber = (at: number) => typeof args[at] !== 'string';
    assert.deepEqual(
      numbers(told.filter((_arg, at) => isNumber(at))),
      numbers(args.filter((_arg, at) => isNumber(at))),
    );
  }
  await observer.stop('SIGINT');
});

/** A module that the image has of this kernel, beside it. */
const MODULE = `/modules/${release()}/dummy.ko`;
const O_NONBLOCK = 0o4000;

test('a module is told as it is loaded and as it goes', {
  skip: existsSync(MODULE) ? false : 'no module of this kernel is at hand',
}, async () => {
  const observer = await bus.follow('--topic', 'security', '--filter', 'event.type.startsWith("security.module")');
  // open(2) gives the lowest descriptor, finit_module(2) and delete_module(2) take it and its name.
  const calls = [call('open', MODULE, 0), call('finit_module', 3, '', 0), call('delete_module', 'dummy', O_NONBLOCK)];
  const pid = run(program('loader', tinyProgram(OWN_MACHINE!, calls)));
  for (const type of ['security.module_load', 'security.module_free']) {
    const event = await observer.sees((each) => each.type === type && each.process?.pid === pid);
    assert.equal(event.raw?.fields['name'], 'dummy');
  }
  await observer.stop('SIGINT');
});

/** The operation that each call does; openat2 refuses what it is given. */
function fileCalls(at: (name: string) => string): readonly (readonly [string, Call])[] {
  return [
    ['open', call('open', at('a'), O_CREAT_WRITE, 0o600)],
    ['open', call('openat', AT_FDCWD, at('a'), 0, 0)],
    ['open', call('creat', at('b'), 0o600)],
    ['open', call('openat2', AT_FDCWD, at('a'), 0, 0)],
    ['rename', call('rename', at('b'), at('c'))],
    ['rename', call('renameat', AT_FDCWD, at('c'), AT_FDCWD, at('d'))],
    ['rename', call('renameat2', AT_FDCWD, at('d'), AT_FDCWD, at('e'), 0)],
    ['link', call('link', at('a'), at('f'))],
    ['link', call('linkat', AT_FDCWD, at('a'), AT_FDCWD, at('g'), 0)],
    ['symlink', call('symlink', 'target', at('h'))],
    ['symlink', call('symlinkat', 'target', AT_FDCWD, at('i'))],
    ['mkdir', call('mkdir', at('j'), 0o700)],
    ['mkdir', call('mkdirat', AT_FDCWD, at('k'), 0o700)],
    ['chmod', call('chmod', at('a'), 0o640)],
    ['chmod', call('fchmod', 3, 0o644)],
    ['chmod', call('fchmodat', AT_FDCWD, at('a'), 0o600)],
    ['chown', call('chown', at('a'), 1, 2)],
    ['chown', call('fchown', 3, -1, 3)],
    ['chown', call('lchown', at('h'), 4, -1)],
    ['chown', call('fchownat', AT_FDCWD, at('a'), 5, 6, 0)],
    ['chown', call('fchownat', 3, '', 7, 8, EMPTY_PATH)],
    ['truncate', call('truncate', at('a'), 5)],
    ['truncate', call('ftruncate', 3, 6)],
    ['rmdir', call('rmdir', at('j'))],
    ['rmdir', call('unlinkat', AT_FDCWD, at('k'), AT_REMOVEDIR)],
    ['unlink', call('unlink', at('e'))],
    ['unlink', call('unlinkat', AT_FDCWD, at('f'), 0)],
  ];
}

test('every operation on files is told, by every call that there is for it', async () => {
  const observer = await bus.follow('--topic', 'file');
  const at = (name: string) => join(dir, name);
  const calls = fileCalls(at);
  const pid = run(
    program('files', tinyProgram(OWN_MACHINE!, [...calls.map(([, made]) => made), call('open', at('last'), 0, 0)])),
  );
  await until(
    'its last open',
    () => observer.events.filter(({ type, process: one }) => one?.pid === pid && type === 'file.open').length === 5,
    () => observer.events.length,
  );
  const probed = operations();
  // Where its probe is not, the removal of a directory by unlinkat is an unlink.
  const typed = calls.map(([name, [number]]) =>
    name === 'rmdir' && number === syscallNumber('unlinkat') && !probed.includes(name) ? 'unlink' : name,
  );
  const own = observer.events.filter(({ process: one, type }) => one?.pid === pid && type !== 'file.open');
  assert.deepEqual(
    own.map(({ type }) => type),
    typed.filter((name) => name !== 'open').map((name) => `file.${name}`),
  );
  const file = (type: string) => own.filter((event) => event.type === type).map((event) => event.file!);
  assert.deepEqual(
    file('file.chown').map(({ ownerId, groupId }) => [ownerId, groupId].map(String)),
    [
      ['1', '2'],
      ['-1', '3'],
      ['4', '-1'],
      ['5', '6'],
      ['7', '8'],
    ],
  );
  assert.deepEqual(
    file('file.truncate').map(({ size }) => String(size)),
    ['5', '6'],
  );
  assert.deepEqual(
    file('file.chmod').map(({ mode }) => Number(mode)),
    [0o640, 0o644, 0o600],
  );
  const paths = (type: string) =>
    file(type).map(({ path, pathMissed, newPath }) => (pathMissed ? 'missed' : newPath || path));
  const known = (name: string, ...wanted: string[]) => wanted.map((each) => (probed.includes(name) ? each : 'missed'));
  assert.deepEqual(paths('file.chmod'), known('chmod', at('a'), at('a'), at('a')));
  assert.deepEqual(paths('file.chown'), known('chown', at('a'), at('a'), at('h'), at('a'), at('a')));
  assert.deepEqual(paths('file.truncate'), [...known('truncate', at('a')), ...known('ftruncate', at('a'))]);
  assert.deepEqual(paths('file.rename'), known('rename', at('c'), at('d'), at('e')));
  assert.deepEqual(paths('file.link'), known('link', at('f'), at('g')));
  assert.deepEqual(paths('file.symlink'), known('symlink', at('h'), at('i')));
  assert.deepEqual(paths('file.mkdir'), known('mkdir', at('j'), at('k')));
  await observer.stop('SIGINT');
});

/** Nobody may have waited for one that has ended. */
function lives(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z');
  } catch {
    return false;
  }
}

/** Operations whose paths this kernel's agent has. */
function operations(): string[] {
  const all = allDefinitions(findTracefs() ?? '') ?? [];
  return all.flatMap((event) => /^backplane_.*_recorded\/path_(.*)$/.exec(event)?.[1] ?? []);
}

test('what was recorded is in history after kill -9, with what the kernel recorded meanwhile, and nothing is left behind', async () => {
  const mark = randomBytes(8).toString('hex');
  const shell = (name: string) => spawnSync('/usr/bin/true', [`${mark}-${name}`]).pid;
  const before = await bus.follow('--filter', 'event.type == "process.exec"');
  const pids = [shell('before')];
  await before.sees(execOf(pids[0], `${mark}-before`));
  const agent = await bus.agentPid();
  // Whoever goes on without `up` ends in order.
  process.kill(agent, 'SIGSTOP');
  // Its agent has its pipes, too: both are ended before anybody waits.
  const ended = bus.up.stop('SIGKILL');
  process.kill(agent, 'SIGKILL');
  await ended;
  await until('its end', () => !lives(agent));
  pids.push(shell('meanwhile'));
  await bus.start({ BACKPLANE_AGENT_PROFILES: 'lite,file,security', BACKPLANE_AGENT_GUARD_CPU: '0' });
  const later = await bus.follow('--filter', 'event.type == "process.exec"');
  pids.push(shell('behind'));
  await later.sees(execOf(pids[2], `${mark}-behind`));
  const history: Observer = bus.observe(
    '--topic',
    'process',
    '--since',
    '1h',
    '--filter',
    'event.type == "process.exec"',
  );
  assert.equal(await history.exited, 0, history.stderr);
  for (const [at, name] of ['before', 'meanwhile', 'behind'].entries()) {
    const found = history.events.filter(
      ({ process: one }) => one?.pid === pids[at] && one?.executable?.path === '/usr/bin/true',
    );
    assert.equal(found.length, 1, `${name}: ${history.stderr}`);
    if (name !== 'meanwhile') assert.deepEqual(found[0]!.process!.commandArgs, ['/usr/bin/true', `${mark}-${name}`]);
  }
  await bus.up.stop();
  const tracefs = findTracefs()!;
  assert.deepEqual(readdirSync(join(tracefs, 'instances')), []);
  assert.deepEqual(allDefinitions(tracefs), []);
  const doctor = new Command(['doctor', '-o', 'json']);
  await doctor.exited;
  const checks = doctor.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; state: string });
  for (const name of ['trace instances left behind', 'probes left behind', 'tracefs', 'arguments of programs'])
    assert.equal(checks.find((check) => check.name === name)?.state, 'ok', doctor.said);
});

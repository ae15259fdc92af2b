/** Paths of file operations as the kernel was given them: where it has kprobes. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { allDefinitions } from '../../../src/sensor-agent/source/probe/definitions.js';
import { Bus, cannotTrace, type EventLine } from '../../harness/bus/bus.js';
import { cannotProbeKernel, liveTracefs } from '../../harness/kernel/live-kernel.js';
import { until } from '../../harness/until.js';

const skip = cannotTrace || cannotProbeKernel();
const ROUNDS = 50;

let bus: Bus;
let dir = '';
before(async () => {
  if (skip) return;
  dir = mkdtempSync(join(tmpdir(), 'backplane-paths-'));
  // In an emulator everything costs twenty times as much: without a bound on it.
  bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'lite,file', BACKPLANE_AGENT_GUARD_CPU: '0' });
});
after(async () => {
  if (skip) return;
  await bus.destroy();
  rmSync(dir, { recursive: true, force: true });
});

/** Opens and closes at once, so that nobody could read a link meanwhile; then each operation on names. */
const PROGRAM = `
  const fs = require('node:fs');
  const [dir, rounds] = [process.argv[1], Number(process.argv[2])];
  for (let at = 0; at < rounds; at++) {
    const file = fs.openSync(dir + '/file-' + at, 'w');
    fs.ftruncateSync(file, at);
    fs.fchmodSync(file, 0o600);
    fs.closeSync(file);
    fs.chmodSync(dir + '/file-' + at, 0o640);
    fs.lchownSync(dir + '/file-' + at, 0, at);
    fs.renameSync(dir + '/file-' + at, dir + '/moved-' + at);
    fs.linkSync(dir + '/moved-' + at, dir + '/linked-' + at);
    fs.symlinkSync('target-' + at, dir + '/symbolic-' + at);
    fs.mkdirSync(dir + '/made-' + at);
    fs.rmdirSync(dir + '/made-' + at);
    fs.unlinkSync(dir + '/linked-' + at);
    try { fs.openSync(dir + '/none-' + at); } catch {}
  }
  process.chdir(dir);
  fs.mkdirSync('relative');
  const kept = fs.openSync('moved-1');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  fs.closeSync(fs.openSync(dir + '/last', 'w'));
`;

/** Operations whose paths this kernel's agent has. */
function operations(): string[] {
  const all = allDefinitions(liveTracefs().path) ?? [];
  return all.flatMap((event) => /^backplane_.*_recorded\/path_(.*)$/.exec(event)?.[1] ?? []);
}

/** Before 6.1 some functions are handed the program's own address of the path. */
function operationsAtLeast(): string[] {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  // Nobody else here truncates by path.
  const tried = existsSync('/usr/bin/perl') ? ['truncate'] : [];
  const always = ['open', 'unlink', 'rmdir', 'chmod', 'chown', 'ftruncate', ...tried];
  return major > 6 || (major === 6 && minor >= 1) ? [...always, 'rename', 'mkdir', 'link', 'symlink'] : always;
}

/** What was done, in order, as it is to be told where the paths are known. */
function expected(): string[] {
  const each = Array.from({ length: ROUNDS }, (_, at) => [
    `file.open ${dir}/file-${at}`,
    `file.truncate ${dir}/file-${at}`,
    `file.chmod ${dir}/file-${at}`,
    `file.chmod ${dir}/file-${at}`,
    `file.chown ${dir}/file-${at}`,
    `file.rename ${dir}/file-${at} ${dir}/moved-${at}`,
    `file.link ${dir}/moved-${at} ${dir}/linked-${at}`,
    `file.symlink target-${at} ${dir}/symbolic-${at}`,
    `file.mkdir ${dir}/made-${at}`,
    `file.rmdir ${dir}/made-${at}`,
    `file.unlink ${dir}/linked-${at}`,
    `file.open ${dir}/none-${at} failed -2`,
  ]);
  const all = [...each.flat(), 'file.mkdir relative', 'file.open moved-1', `file.open ${dir}/last`];
  const known = operations();
  return all.filter((line) => known.includes(/^file\.(\S+)/.exec(line)![1]!.replace(/^truncate$/, 'ftruncate')));
}

function ofProcess(events: readonly EventLine[], pid: number): EventLine[] {
  return events.filter((event) => event.process?.pid === pid && event.file !== undefined);
}

function told(events: readonly EventLine[], pid: number): string[] {
  const ours = (path = '') => path.startsWith(dir) || path === 'relative' || path === 'moved-1';
  return ofProcess(events, pid)
    .filter(({ file }) => ours(file!.path) || ours(file!.newPath))
    .map(({ type, file }) => {
      const { path = '', newPath = '', descriptor = 0, pathResolved } = file!;
      const failed = type === 'file.open' && descriptor < 0 ? `failed ${descriptor}` : '';
      // A relative path is told as what its descriptor led to, where the agent came to look in time.
      const given = pathResolved === true && type === 'file.open' ? path.replace(`${dir}/`, '') : path;
      return [type, given, newPath, failed].filter((word) => word !== '').join(' ');
    });
}

/** Whatever has a path or none. */
function counts(events: readonly EventLine[], pid: number): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { type } of ofProcess(events, pid)) if (type !== 'file.open') found[type] = (found[type] ?? 0) + 1;
  return found;
}

test('every path is told as it was given, of files closed at once too, once, live as in history', {
  skip,
}, async () => {
  const known = operations();
  for (const operation of operationsAtLeast()) assert.ok(known.includes(operation), `${operation} has no probe`);
  const observer = await bus.follow('--topic', 'file');
  const { pid, status, stderr } = spawnSync(process.execPath, ['-e', PROGRAM, dir, String(ROUNDS)]);
  assert.equal(status, 0, String(stderr));
  await observer.sees(({ file, process: by }) => by?.pid === pid && file?.path === `${dir}/last`);
  await observer.stop('SIGINT');
  const history = bus.observe('--topic', 'file', '--since', '1h', '--filter', `process.pid == ${pid}`);
  assert.equal(await history.exited, 0, history.stderr);
  for (const { events } of [observer, history]) {
    assert.deepEqual(told(events, pid), expected());
    const changes = { 'file.truncate': ROUNDS, 'file.chmod': 2 * ROUNDS, 'file.chown': ROUNDS };
    const once = {
      ...changes,
      'file.rename': ROUNDS,
      'file.link': ROUNDS,
      'file.symlink': ROUNDS,
      'file.unlink': ROUNDS,
    };
    assert.deepEqual(counts(events, pid), { ...once, 'file.mkdir': ROUNDS + 1, 'file.rmdir': ROUNDS });
  }
});

test('a failed open is told with its own path, whatever was opened before and is not asked for', { skip }, async () => {
  const observer = await bus.follow('--topic', 'file', '--filter', 'event.type == "file.open" && file.descriptor < 0');
  const program = `const fs = require('node:fs'); const [dir] = process.argv.slice(1);
    fs.closeSync(fs.openSync(dir + '/found', 'w'));
    try { fs.openSync(''); } catch {}
    require('node:child_process').spawnSync(dir + '/no-such-program');
    try { fs.openSync(dir + '/not-found'); } catch {}`;
  const { pid, status, stderr } = spawnSync(process.execPath, ['-e', program, dir]);
  assert.equal(status, 0, String(stderr));
  await observer.sees(({ file, process: by }) => by?.pid === pid && file?.path === `${dir}/not-found`);
  assert.ok(!ofProcess(observer.events, pid).some(({ file }) => file!.path === `${dir}/found`));
  await observer.stop('SIGINT');
});

test('a file deeper than what the kernel copies names of is told without its path, and one in a mount with both', {
  skip,
}, async () => {
  const mount = join(dir, 'mounted');
  const deep = join(mount, ...Array.from({ length: 8 }, (_, at) => `d${at}`));
  mkdirSync(mount);
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', mount]).status, 0);
  try {
    mkdirSync(deep, { recursive: true });
    const observer = await bus.follow('--topic', 'file', '--filter', 'event.type == "file.chmod"');
    const program = `const fs = require('node:fs'); const [deep, mount] = process.argv.slice(1);
      fs.mkdirSync(deep + '/e');
      fs.writeFileSync(deep + '/e/f', '');
      fs.chmodSync(deep + '/e/f', 0o600);
      fs.chmodSync(deep, 0o700);
      fs.chmodSync(mount, 0o755);`;
    const { pid, status, stderr } = spawnSync(process.execPath, ['-e', program, deep, mount]);
    assert.equal(status, 0, String(stderr));
    await observer.sees((event) => event.process?.pid === pid && event.file?.path === mount);
    assert.deepEqual(
      ofProcess(observer.events, pid).map(({ file }) => [file!.path ?? '', file!.pathMissed === true]),
      [
        ['', true],
        [deep, false],
        [mount, false],
      ],
    );
    await observer.stop('SIGINT');
  } finally {
    spawnSync('umount', ['--lazy', mount]);
  }
});

test('a path with more bytes than a record has room for is said to be missed, and never another one told', {
  skip,
}, async () => {
  const deep = join(dir, ...Array.from({ length: 16 }, (_, at) => `${at}`.padStart(250, 'x')));
  mkdirSync(deep, { recursive: true });
  const observer = await bus.follow('--topic', 'file');
  const program = `const fs = require('node:fs'); const [dir, long] = process.argv.slice(1);
    fs.closeSync(fs.openSync(dir + '/before', 'w'));
    fs.closeSync(fs.openSync(long, 'w'));
    fs.renameSync(dir + '/before', long);
    fs.unlinkSync(long);
    fs.closeSync(fs.openSync(dir + '/behind', 'w'));`;
  const file = join(deep, 'y'.repeat(4_094 - deep.length));
  assert.equal(Buffer.byteLength(file), 4_095);
  const { pid, status, stderr } = spawnSync(process.execPath, ['-e', program, dir, file]);
  assert.equal(status, 0, String(stderr));
  await observer.sees((event) => event.process?.pid === pid && event.file?.path === `${dir}/behind`);
  const own = ofProcess(observer.events, pid);
  const from = own.findIndex((event) => event.type === 'file.open' && event.file?.path === `${dir}/before`);
  const between = own.slice(
    from + 1,
    own.findIndex((event) => event.file?.path === `${dir}/behind`),
  );
  assert.deepEqual(
    between.map(({ type }) => type),
    ['file.open', 'file.rename', 'file.unlink'],
  );
  const [opened, renamed, unlinked] = between.map((event) => event.file!);
  for (const one of [opened!, unlinked!]) assert.ok(one.path === file || one.pathMissed === true, one.path);
  assert.ok(renamed!.pathMissed === true || renamed!.newPath === file, renamed!.newPath);
  assert.ok([undefined, `${dir}/before`].includes(renamed!.path), renamed!.path);
  await observer.stop('SIGINT');
});

/** Whether the agent's trace instance has the returns of opens switched on. */
async function recordsOpens(): Promise<boolean> {
  const fds = `/proc/${await bus.agentPid()}/fd`;
  const links = readdirSync(fds).map((fd) => {
    try {
      return readlinkSync(`${fds}/${fd}`);
    } catch {
      return '';
    }
  });
  const instance = links
    .map((link) => /^(.*\/instances\/backplane-[^/]+(?<!-exec))\/per_cpu/.exec(link)?.[1])
    .find(Boolean);
  assert.ok(instance, 'its trace instance');
  return readFileSync(`${instance}/events/syscalls/sys_exit_openat/enable`, 'utf8').startsWith('1');
}

test('an open that returns while nobody asks leaves its path to no later one', { skip }, async () => {
  const [first, second, last] = ['fifo-1', 'fifo-2', 'behind-fifos'].map((name) => join(dir, name));
  for (const fifo of [first!, second!]) assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
  const asked = ['--topic', 'file', '--filter', 'event.type == "file.open"'];
  const before = await bus.follow(...asked);
  const program = `const fs = require('node:fs'); const [first, second, last] = process.argv.slice(1);
    fs.closeSync(fs.openSync(first));
    fs.closeSync(fs.openSync(second));
    fs.closeSync(fs.openSync(last, 'w'));`;
  const child = spawn(process.execPath, ['-e', program, first!, second!, last!], { stdio: 'inherit' });
  const ended = once(child, 'exit');
  // Linux before 5.16 says where a thread waits in its stack only.
  const files = ['wchan', 'stack'].map((name) => `/proc/${child.pid}/${name}`).filter((file) => existsSync(file));
  const where = () => files.map((file) => readFileSync(file, 'utf8')).join();
  const waitsIn = (call: string) =>
    until(`it waits in ${call}`, () => /fifo_open|wait_for_partner/.test(where()), where);
  await waitsIn('the first');
  await before.stop('SIGINT');
  await until('events switched off', async () => !(await recordsOpens()));
  writeFileSync(first!, '');
  await waitsIn('the second');
  const behind = await bus.follow(...asked);
  writeFileSync(second!, '');
  assert.deepEqual(await ended, [0, null]);
  await behind.sees(({ process: by, file }) => by?.pid === child.pid && file?.path === last);
  const own = ofProcess(behind.events, child.pid!).map(({ file }) => file!.path);
  // Without what the kernel had copied of it the second is told by its link, or as missed.
  assert.ok(own.indexOf(last) > 0 && !own.includes(first), `${own}`);
  await behind.stop('SIGINT');
});

test('a file in another mount namespace is told with that, and one in a mount that is in none without a path', {
  skip: skip || (spawnSync('perl', ['-e', '1']).status === 0 ? false : 'perl is missing: it makes the calls'),
}, async () => {
  const observer = await bus.follow('--topic', 'file', '--filter', 'event.type == "file.chmod"');
  const mount = join(dir, 'elsewhere');
  mkdirSync(mount);
  const inside = `mount -t tmpfs tmpfs ${mount} && echo > ${mount}/f && perl -e 'chmod 0600, shift' ${mount}/f && echo && read -r _; exit 0`;
  const shell = spawn('unshare', ['--mount', 'sh', '-c', inside], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [ready] = await Promise.race([once(shell.stdout, 'data'), once(shell, 'exit')]);
  assert.equal(String(ready), '\n');
  const other = statSync(`/proc/${shell.pid}/ns/mnt`).ino;
  chmodSync(`/proc/${shell.pid}/root${mount}/f`, 0o640);
  shell.stdin.end();
  await once(shell, 'close');
  writeFileSync(join(dir, 'here'), '');
  // fsopen, fsconfig, fsmount: a mount that is nowhere yet.
  const detached = `
    my $fs = syscall(430, my $type = "tmpfs", 0); $fs >= 0 or die "fsopen: $!";
    syscall(431, $fs, 6, 0, 0, 0) == 0 or die "fsconfig: $!";
    my $mount = syscall(432, $fs, 0, 0); $mount >= 0 or die "fsmount: $!";
    open(my $file, '>', "/proc/self/fd/$mount/f") or die "open: $!";
    chmod(0641, $file) or die "chmod: $!";
    chmod(0642, $ARGV[0]) or die "chmod: $!";`;
  const { pid, status, stderr } = spawnSync('perl', ['-e', detached, join(dir, 'here')]);
  assert.equal(status, 0, String(stderr));
  await observer.sees((event) => event.process?.pid === pid && event.file?.path === join(dir, 'here'));
  const told = observer.events.flatMap(({ file, process: by }) => {
    const isOurs = by?.pid === pid || file?.path === `${mount}/f`;
    return isOurs ? [[Number(file!.mode).toString(8), file!.path, file!.mountNamespace]] : [];
  });
  assert.deepEqual(told, [
    ['600', `${mount}/f`, other],
    ['640', `${mount}/f`, other],
    ['641', undefined, undefined],
    ['642', join(dir, 'here'), undefined],
  ]);
  await observer.stop('SIGINT');
});

/** The process table follows forks, execs, exits and scans. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProcessState } from '../../../src/sensor-agent/timeline/process-state.js';
import { ProcessTable } from '../../../src/sensor-agent/timeline/process-table.js';

test('a child inherits, an exec replaces, and a process that exited is remembered for a while', () => {
  const table = new ProcessTable();
  table.adopt(
    { pid: 10, parentPid: 1, comm: 'sh', executablePath: '/bin/sh', args: ['sh'], uid: 7, threads: [11] },
    5n,
  );
  assert.equal(table.of(11), table.of(10));
  const child = table.fork(20, table.ensure(11), 10, 'sh', 99n);
  assert.deepEqual([child.uid, child.parentPid, child.args, child.createdWallNs], [7, 10, ['sh'], 99n]);
  const started = table.exec(20, '/bin/ls', { pid: 20, parentPid: 10, comm: 'ls', args: ['ls', '-l'], uid: 8 });
  assert.deepEqual([started.path, started.args, started.uid, started.createdWallNs], ['/bin/ls', ['ls', '-l'], 8, 99n]);
  assert.deepEqual(table.of(10)!.args, ['sh']);
  table.exit(20, started, true);
  assert.equal(table.of(20), started);
});

test('an exec whose arguments nobody read says so, and drops the old ones', () => {
  const table = new ProcessTable();
  table.exec(5, '/a', { pid: 5, parentPid: 1, comm: 'a', args: ['a'] });
  const missed = table.exec(5, '/b', undefined);
  assert.deepEqual([missed.args, missed.argsMissed, missed.path], [undefined, true, '/b']);
});

test('arguments that were cut are marked so until the next exec', () => {
  const table = new ProcessTable();
  const read = { pid: 5, parentPid: 1, comm: 'a', args: ['a'] };
  table.adopt({ ...read, executablePath: '/a', argsTruncated: true }, 5n);
  const truncated = (process: ProcessState) => table.context(process, 5, undefined).commandArgsTruncated;
  assert.equal(truncated(table.of(5)!), true);
  assert.equal(truncated(table.exec(5, '/b', read)), undefined);
  assert.equal(truncated(table.exec(5, '/b', { ...read, argsTruncated: true })), true);
});

test('a reused pid is not forgotten with its first owner', () => {
  const table = new ProcessTable();
  const parent = table.ensure(1);
  table.exit(7, table.fork(7, parent, 1, 'a', 1n), true);
  const second = table.fork(7, parent, 1, 'b', 2n);
  for (let pid = 100; pid < 2_000; pid += 1) table.exit(pid, table.fork(pid, parent, 1, 'x', 3n), true);
  assert.equal(table.of(7), second);
  assert.equal(table.of(100), undefined);
});

test('a scan after a loss corrects the process table', () => {
  const second = 1_000_000_000n;
  const table = new ProcessTable();
  const parent = table.ensure(1);
  // A task that was met without its fork, one whose exec was lost, one whose pid another has by now.
  table.ensure(10);
  table.fork(20, parent, 1, 'sh', 5n * second);
  table.exec(20, '/bin/sh', { pid: 20, args: ['sh'] });
  table.fork(30, parent, 1, 'old', 6n * second);
  table.addThread(31, table.of(30)!);
  const untouched = table.fork(40, parent, 1, 'cat', 7n * second);
  untouched.path = '/bin/cat';
  untouched.args = ['cat'];

  const seen = (pid: number, path: string) =>
    ({ pid, parentPid: 9, comm: path.slice(5), executablePath: path, args: [path], uid: 3 }) as const;
  table.adopt(seen(10, '/bin/ten'), 2n * second);
  table.adopt(seen(20, '/bin/ls'), 5n * second + 9_000_000n);
  table.adopt({ ...seen(30, '/bin/new'), threads: [31] }, 8n * second);
  table.adopt(seen(40, '/bin/cat'), 7n * second);

  const fields = (pid: number) => {
    const { parentPid, path, args, createdWallNs } = table.of(pid)!;
    return [parentPid, path, args, createdWallNs];
  };
  assert.deepEqual(fields(10), [9, '/bin/ten', ['/bin/ten'], 2n * second]);
  assert.deepEqual(fields(20), [1, '/bin/ls', ['/bin/ls'], 5n * second]);
  assert.deepEqual(fields(30), [9, '/bin/new', ['/bin/new'], 8n * second]);
  assert.equal(table.of(31), table.of(30));
  assert.deepEqual(fields(40), [1, '/bin/cat', ['cat'], 7n * second]);
  assert.equal(table.of(40)!.uid, 3);
});

test('a saved process table is the same after loading', () => {
  const table = new ProcessTable();
  table.adopt({ pid: 10, parentPid: 1, comm: 'sh', executablePath: '/bin/sh', threads: [11, 12] }, 5n);
  table.fork(20, table.ensure(11), 10, 'sh', 99n);
  const saved = table.save();
  const other = new ProcessTable();
  other.load(saved);
  assert.deepEqual(other.save(), saved);
  assert.equal(other.of(12), other.of(10));
});

test('who is above a process is told by name where somebody asks, nearest first, and no more than eight', () => {
  const table = new ProcessTable();
  table.adopt({ pid: 1, comm: 'init', executablePath: '/sbin/init', args: ['init'], uid: 0 }, 1n);
  for (let pid = 2; pid <= 20; pid += 1) table.fork(pid, table.ensure(pid - 1), pid - 1, 'init', BigInt(pid));
  for (let pid = 2; pid < 20; pid += 1) table.exec(pid, `/bin/p${pid}`, { pid, args: [`p${pid}`, 'x'] });
  const named = { userName: (uid: number) => (uid === 0 ? 'root' : undefined) };
  const usual = table.context(table.of(20)!, 20, undefined);
  assert.deepEqual(usual.ancestors, undefined);
  assert.deepEqual(usual.parent, { pid: 19, executable: { path: '/bin/p19', name: 'p19', deleted: undefined } });
  const { ancestors, parent, user } = table.context(table.of(20)!, 20, named);
  assert.deepEqual(ancestors, ['p19', 'p18', 'p17', 'p16', 'p15', 'p14', 'p13', 'p12']);
  assert.deepEqual([parent?.commandArgs, parent?.creationTimeNs], [['p19', 'x'], 19n]);
  assert.deepEqual(user, { id: 0, name: 'root' });
  assert.deepEqual(table.context(table.of(3)!, 3, named).ancestors, ['p2', 'init']);
  // A pid that was used again may lead around.
  table.fork(1, table.ensure(5), 5, 'init', 30n);
  assert.ok(table.context(table.of(20)!, 20, named).ancestors!.length <= 8);
  assert.deepEqual(table.context(table.of(2)!, 2, named).ancestors, ['p5', 'p5', 'p4', 'p3']);
});

test('what a child has of its parent is inferred until somebody reads it, or the kernel tells it', () => {
  const table = new ProcessTable();
  const read = { workingDirectory: '/a', uid: 0, cgroup: '/x' };
  const fork = (pid: number) => table.fork(pid, table.of(10)!, 10, 'sh', 9n);
  const inferred = (pid: number) => table.context(table.of(pid)!, pid, undefined).inferred;
  table.exec(10, '/bin/sh', { pid: 10, executablePath: '/bin/dash', args: ['sh'], ...read });
  assert.equal(inferred(10), undefined);
  fork(20);
  assert.deepEqual(inferred(20), ['working_directory', 'user', 'cgroup']);
  table.follows = { users: true, cgroups: true };
  fork(21);
  assert.deepEqual(inferred(21), ['working_directory']);
  table.userChanged(table.of(20)!, 5);
  table.moved(table.of(20)!, 0, '/y');
  assert.deepEqual(inferred(20), ['working_directory']);
  // Nobody saw the program, or where its file is.
  table.exec(21, 'bin/tool', undefined);
  assert.deepEqual(inferred(21), ['working_directory', 'user', 'executable']);
  table.readAgain({ pid: 20, workingDirectory: '/b', uid: 6, loginUid: 1000, tty: 'pts/3' }, undefined);
  const { workingDirectory, user, cgroup, inferred: left } = table.context(table.of(20)!, 20, undefined);
  assert.deepEqual([workingDirectory, user?.id, cgroup?.path, left], ['/b', 6, '/y', undefined]);
  // Another process has the pid by now.
  table.readAgain({ pid: 20, uid: 7, workingDirectory: '/c' }, 10_000_000_000n);
  assert.equal(table.of(20)!.uid, 6);
});

test('the user that the kernel tells at an exec holds, whatever /proc says a moment later', () => {
  const table = new ProcessTable();
  table.follows = { users: true, cgroups: true };
  const started = (uid: number) => table.exec(10, '/bin/x', { pid: 10, executablePath: '/bin/x', args: ['x'], uid });
  assert.equal(started(3).uid, 3);
  table.userChanged(table.of(10)!, 0);
  assert.equal(started(3).uid, 0);
  assert.equal(started(4).uid, 4);
});

test('a child begins in its own cgroup where it is put there, which nobody tells', () => {
  const table = new ProcessTable();
  table.follows = { users: true, cgroups: true };
  table.adopt({ pid: 10, cgroup: '/docker/x', containerId: 'x', cgroups: undefined }, 1n);
  assert.equal(table.fork(20, table.of(10)!, 10, 'sh', 2n).containerId, 'x');
  const { containerId, cgroup } = table.fork(21, table.of(10)!, 10, 'sh', 2n, true);
  assert.deepEqual([containerId, cgroup], [undefined, undefined]);
});

test('a program that starts itself anew by its link has its path, which is inferred', () => {
  const table = new ProcessTable();
  table.exec(10, '/bin/sh', { pid: 10, executablePath: '/bin/busybox', args: ['sh'] });
  const again = table.exec(10, '/proc/self/exe', undefined);
  assert.equal(again.path, '/bin/busybox');
  assert.equal(table.exec(10, '/proc/10/exe', undefined).path, '/bin/busybox');
  assert.equal(table.exec(10, '/proc/11/exe', undefined).path, '/proc/11/exe');
});

test('who logged in and where comes where somebody names it, and is inherited', () => {
  const table = new ProcessTable();
  table.adopt({ pid: 10, loginUid: 7, tty: 'pts/3' }, 1n);
  table.adopt({ pid: 11, loginUid: 4_294_967_295, tty: '' }, 1n);
  table.fork(20, table.of(10)!, 10, 'sh', 2n);
  const named = { userName: (uid: number) => `user${uid}` };
  const { loginUser, tty } = table.context(table.of(20)!, 20, named);
  assert.deepEqual([loginUser, tty], [{ id: 7, name: 'user7' }, 'pts/3']);
  const usual = table.context(table.of(20)!, 20, undefined);
  assert.deepEqual([usual.loginUser, usual.tty], [undefined, undefined]);
  const nobody = table.context(table.of(11)!, 11, named);
  assert.deepEqual([nobody.loginUser, nobody.tty], [undefined, '']);
});

test('an orphan has the parent that took it in, once it is looked at', () => {
  const table = new ProcessTable();
  for (const pid of [1, 50]) table.adopt({ pid, comm: 'init' }, 1n);
  const parent = table.fork(10, table.of(50)!, 50, 'sh', 2n);
  table.fork(20, parent, 10, 'sh', 3n);
  table.readAgain({ pid: 20, parentPid: 50 }, 3n);
  assert.equal(table.of(20)!.parentPid, 10, 'the one that forked it lives');
  table.exit(10, parent, true);
  table.readAgain({ pid: 20, parentPid: 50 }, 3n);
  assert.equal(table.of(20)!.parentPid, 50);
});

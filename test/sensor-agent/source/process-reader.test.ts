/** /proc as it is, and the forms cgroup paths take. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX } from '../../../src/limits.js';
import { ProcessReader } from '../../../src/sensor-agent/source/process-reader.js';
import { cgroupOf, containerId } from '../../../src/sensor-agent/source/process-text.js';
import { until } from '../../harness/until.js';

const ID = '0123456789abcdef'.repeat(4);
const OTHER = 'fedcba9876543210'.repeat(4);
const TASK = '00112233445566778899aabbccddeeff';

test('container ids are found in the forms that runtimes write', () => {
  for (const path of [
    `/docker/${ID}`,
    `/system.slice/docker-${ID}.scope`,
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-${ID}.scope`,
    `/kubepods/besteffort/pod2f5ab2c0-1f1e-4a8c-8d5f-0e9b3d0d0d0d/${ID}`,
    `/kubepods.slice/crio-${ID}.scope`,
    `/machine.slice/libpod-${ID}.scope/container`,
    `/docker/${OTHER}/docker/${ID}`,
    `/machine.slice/libpod-${ID}.scope/libpod-conmon-${OTHER}.scope`,
    `/kubelet/kubepods/pod1.slice:cri-containerd:${ID}`,
  ]) {
    assert.equal(containerId(path), ID, path);
  }
  for (const path of [
    '/',
    '/system.slice/sshd.service',
    `/docker/${ID}0`,
    `/docker/${ID.slice(1)}`,
    `/crio-conmon-${ID}.scope`,
    `/system.slice/${ID}.service`,
    `/system.slice/${ID}-0123456789abcdef.service`,
    `/user.slice/${TASK}/${OTHER.slice(0, 32)}-12`,
  ]) {
    assert.equal(containerId(path), undefined, path);
  }
});

test("a task of ECS has its container's name", () => {
  assert.equal(containerId(`/ecs/${TASK}/${TASK}-1234567890`), `${TASK}-1234567890`);
});

test('where both versions of cgroups are mounted, a container is found in either', () => {
  const both = (v1: string, v2: string) => `3:cpu:/\n2:pids:${v1}\n1:name=systemd:/system.slice\n0::${v2}\n`;
  const service = '/system.slice/containerd.service';
  assert.deepEqual(cgroupOf(both(`/docker/${ID}`, service)), { path: `/docker/${ID}`, containerId: ID });
  assert.deepEqual(cgroupOf(both(service, `/docker/${ID}`)), { path: `/docker/${ID}`, containerId: ID });
  assert.deepEqual(cgroupOf(both(`/docker/${OTHER}`, `/docker/${ID}`)), { path: `/docker/${ID}`, containerId: ID });
  assert.deepEqual(cgroupOf(both('/', service)), { path: service, containerId: undefined });
  assert.deepEqual(cgroupOf(both('/a/b/c/d/e/f/g', '/')), { path: '/a/b/c/d/e/f/g', containerId: undefined });
  assert.deepEqual(cgroupOf('0::/\n'), { path: '/', containerId: undefined });
  assert.equal(cgroupOf(''), undefined);
});

test('a program whose name ends as the kernel marks what was removed has its name, and one that was removed has no mark', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'backplane-deleted-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
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

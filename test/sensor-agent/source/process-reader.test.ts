/** /proc as it is, and the forms cgroup paths take. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX } from '../../../src/limits.js';
import { ProcessReader } from '../../../src/sensor-agent/source/process-reader.js';
import { containerId } from '../../../src/sensor-agent/source/process-text.js';

const ID = '0123456789abcdef'.repeat(4);
const OTHER = 'fedcba9876543210'.repeat(4);

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
  ]) {
    assert.equal(containerId(path), ID, path);
  }
  for (const path of [
    '/',
    '/system.slice/sshd.service',
    `/docker/${ID}0`,
    `/docker/${ID.slice(1)}`,
    `/crio-conmon-${ID}.scope`,
  ]) {
    assert.equal(containerId(path), undefined, path);
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

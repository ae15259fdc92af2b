/** The forms that cgroup paths take, and which of a process's is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupMoved, cgroupOf, containerId, withoutUnified } from '../../../src/sensor-agent/source/cgroups.js';

const ID = '0123456789abcdef'.repeat(4);
const OTHER = 'fedcba9876543210'.repeat(4);
const TASK = '00112233445566778899aabbccddeeff';
const UUID = '6f265890-3165-4fab-9b52-8d2a0f00c0de';
const BUILD = 'k3v0x9m2u7r1t5w8y4z6a0b1c';

test('container ids are found in the forms that runtimes write', () => {
  for (const path of [
    `/docker/${ID}`,
    `/system.slice/docker-${ID}.scope`,
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-${ID}.scope`,
    `/kubepods/besteffort/pod2f5ab2c0-1f1e-4a8c-8d5f-0e9b3d0d0d0d/${ID}`,
    `/kubepods.slice/crio-${ID}.scope`,
    `/kubepods.slice/kubepods-pod${UUID.replaceAll('-', '_')}.slice/crio-${ID}.scope/container`,
    `/machine.slice/libpod-${ID}.scope/container`,
    `/machine.slice/machine-libpod_pod_${OTHER}.slice/libpod-${ID}.scope/container`,
    `/libpod_parent/libpod_pod_${OTHER}/libpod-${ID}`,
    `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container`,
    `/user.slice/user-1000.slice/user@1000.service/user.slice/docker-${ID}.scope`,
    `/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-${ID}.scope/init.scope`,
    `/system.slice/web.service/libpod-payload-${ID}`,
    `/system.slice/k3s.service/kubepods/burstable/pod${UUID}/${ID}`,
    `/nomad.slice/share.slice/docker-${ID}.scope`,
    `/docker/${OTHER}/docker/${ID}`,
    `/docker/${OTHER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice/cri-containerd-${ID}.scope`,
    `/docker/${ID}/init.scope`,
    `/docker/${ID}/system.slice/sshd.service`,
    `/lxc.payload.web/docker/${ID}`,
    `/machine.slice/libpod-${ID}.scope/libpod-conmon-${OTHER}.scope`,
    `/kubelet/kubepods/pod1.slice:cri-containerd:${ID}`,
    `/ecs/${TASK}/${ID}`,
    `/ecstasks.slice/ecstasks-${TASK}.slice/docker-${ID}.scope`,
  ]) {
    assert.equal(containerId(path), ID, path);
  }
});

test('what is no container, or watches one from outside, has no id', () => {
  for (const path of [
    '/',
    '/system.slice/sshd.service',
    `/docker/${ID}0`,
    `/docker/${ID.slice(1)}`,
    `/crio-conmon-${ID}.scope`,
    `/machine.slice/libpod-conmon-${ID}.scope`,
    `/machine.slice/machine-libpod_pod_${OTHER}.slice/libpod-conmon-${ID}.scope`,
    `/libpod_parent/libpod_pod_${OTHER}`,
    `/system.slice/${ID}.service`,
    `/system.slice/${ID}-0123456789abcdef.service`,
    `/user.slice/${TASK}/${OTHER.slice(0, 32)}-12`,
    '/lxc.monitor.web',
    '/lxc.monitor/web',
    '/machine.slice/systemd-nspawn@web.service/supervisor',
    '/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator',
    `/kubepods/burstable/pod${UUID}`,
    `/user.slice/${UUID}`,
    '/user.slice/buildkitd.service',
  ]) {
    assert.equal(containerId(path), undefined, path);
  }
});

test('runtimes with names of their own have them', () => {
  for (const [path, id] of [
    [`/ecs/${TASK}/${TASK}-1234567890`, `${TASK}-1234567890`],
    [`/ecs/cluster/${TASK}/${TASK}-1234567890`, `${TASK}-1234567890`],
    ['/lxc/web', 'web'],
    ['/lxc/web/system.slice/sshd.service', 'web'],
    ['/lxc.payload/web', 'web'],
    ['/lxc.payload.web-2/init.scope', 'web-2'],
    ['/machine.slice/systemd-nspawn@web.service/payload/system.slice/sshd.service', 'web'],
    ['/machine.slice/machine-my\\x2dweb.scope/payload', 'my-web'],
    ['/garden/6f265890-3165-7fab-6b52-8d2a', '6f265890-3165-7fab-6b52-8d2a'],
    ['/system.slice/garden.service/garden/6f265890-3165-7fab-6b52-8d2a', '6f265890-3165-7fab-6b52-8d2a'],
    [`/buildkit/${BUILD}`, BUILD],
    [`/docker/${ID}/buildkit/${BUILD}`, BUILD],
    [`/system.slice/buildkit-${BUILD}.scope`, BUILD],
    [`/nomad/${UUID}`, UUID],
    [`/nomad.slice/share.slice/${UUID}.redis.scope`, `${UUID}.redis`],
    [`/mesos/${UUID}`, UUID],
  ] as const) {
    assert.equal(containerId(path), id, path);
  }
});

const told = (text: string) => {
  const { cgroup, containerId: id } = cgroupOf(text)!;
  return [cgroup, id];
};

test('where both versions of cgroups are mounted, a container is found in either', () => {
  const both = (v1: string, v2: string) => `3:cpu:/\n2:pids:${v1}\n1:name=systemd:/system.slice\n0::${v2}\n`;
  const service = '/system.slice/containerd.service';
  assert.deepEqual(told(both(`/docker/${ID}`, service)), [`/docker/${ID}`, ID]);
  assert.deepEqual(told(both(service, `/docker/${ID}`)), [`/docker/${ID}`, ID]);
  assert.deepEqual(told(both(`/docker/${OTHER}`, `/docker/${ID}`)), [`/docker/${ID}`, ID]);
  assert.deepEqual(told(both('/', service)), [service, undefined]);
  assert.deepEqual(told(both('/a/b/c/d/e/f/g', '/')), ['/a/b/c/d/e/f/g', undefined]);
  assert.deepEqual(told('0::/\n'), ['/', undefined]);
  assert.deepEqual(told('0::/a:b\n'), ['/a:b', undefined]);
  assert.equal(cgroupOf(''), undefined);
});

test('a move within one hierarchy is told as reading all of them again would tell it', () => {
  const text = (v1: string, systemd: string, v2: string) => `2:pids:${v1}\n1:name=systemd:${systemd}\n0::${v2}\n`;
  const paths = ['/', '/system.slice/a.service', '/system.slice/a-longer.service', `/docker/${ID}`, `/docker/${OTHER}`];
  for (const before of [
    ['/', '/', '/'],
    [paths[1], paths[1], paths[1]],
    [paths[3], paths[3], paths[1]],
  ] as string[][])
    for (const path of paths)
      for (const hierarchy of [0, 1, 2]) {
        const [v1 = '', systemd = '', v2 = ''] = before;
        const after = [v1, systemd, v2];
        after[2 - hierarchy] = path;
        const moved = cgroupMoved(cgroupOf(text(v1, systemd, v2))!, hierarchy, path);
        assert.deepEqual(moved, cgroupOf(text(after[0]!, after[1]!, after[2]!)), `${before} ${hierarchy} ${path}`);
      }
  assert.deepEqual(cgroupMoved({}, 0, `/docker/${ID}`).containerId, ID);
  assert.equal(cgroupMoved(cgroupOf(`0::/docker/${ID}\n`)!, 0, '/').containerId, undefined);
  assert.equal(withoutUnified(cgroupOf(`0::/docker/${ID}\n`)!), undefined);
  assert.equal(withoutUnified(cgroupOf(text('/', '/a', `/docker/${ID}`))!)?.cgroup, '/a');
});

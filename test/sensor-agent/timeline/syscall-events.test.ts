/** System calls as typed events, from values as the kernel's formats give them. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FieldValues } from '../../../src/sensor-agent/source/pages/decoder.js';
import {
  isOthersEvent,
  onDemandParts,
  onDemandType,
  openedDescriptor,
} from '../../../src/sensor-agent/timeline/syscall-events.js';
import { CATALOGUE } from '../../../src/subscriptions/pushdown/catalogue.js';
import { TOPICS } from '../../../src/wire/event/event.js';
import { liveTracefs } from '../../harness/kernel/live-kernel.js';

const live = liveTracefs();

test('registers are exact: pointers, flags, negative numbers, all ones', () => {
  const args = [1n, 0xffff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 0xffff_ffffn, 2n ** 53n + 1n, 0n];
  const { syscall } = onDemandParts('sys_enter', { id: 39n, args });
  assert.deepEqual(syscall!.args, [1n, -1n, -(2n ** 63n), 0xffff_ffffn, 2n ** 53n + 1n, 0n]);
  assert.equal(syscall!.id, 39n);
  assert.equal(syscall!.returned, false);
  const exit = onDemandParts('sys_exit', { id: -1n, ret: -38n }).syscall!;
  assert.deepEqual(exit, { id: -1n, name: '', args: [], result: -38n, returned: true });
});

test('a call of the security profile has its arguments in order', () => {
  assert.equal(onDemandType('sys_enter_tgkill'), 'security.tgkill');
  const values = { __syscall_nr: 1_000_000, tgid: 10n, pid: 11n, sig: 9n };
  const { syscall } = onDemandParts('sys_enter_tgkill', values);
  const call = { id: 1_000_000n, name: 'tgkill', args: [10n, 11n, 9n], result: 0n, returned: false, targetPid: 10 };
  assert.deepEqual(syscall, call);
});

test('what a call is to do, and to whom, is told from as many bits as the kernel reads', () => {
  const told = (name: string, values: FieldValues) => {
    const { command, targetPid } = onDemandParts(`sys_enter_${name}`, { __syscall_nr: 1_000_000, ...values }).syscall!;
    return [command, targetPid];
  };
  const high = 0xdead_beef_0000_0000n;
  assert.deepEqual(told('bpf', { cmd: high | 5n, uattr: 1n, size: 2n }), ['BPF_PROG_LOAD', undefined]);
  assert.deepEqual(told('bpf', { cmd: 0x1_0005n }), ['BPF_PROG_LOAD', undefined]);
  assert.deepEqual(told('bpf', { cmd: 4711n }), [undefined, undefined]);
  assert.deepEqual(told('ptrace', { request: 16n, pid: high | 42n }), ['PTRACE_ATTACH', 42]);
  assert.deepEqual(told('ptrace', { request: 0x4206n, pid: 42n }), ['PTRACE_SEIZE', 42]);
  assert.deepEqual(told('ptrace', { request: high | 16n, pid: 42n }), [undefined, 42]);
  assert.deepEqual(told('ptrace', { request: 0n, pid: 42n }), ['PTRACE_TRACEME', undefined]);
  assert.deepEqual(told('kill', { pid: 0xffff_ffffn, sig: 9n }), [undefined, -1]);
  const { syscall } = onDemandParts('sys_enter', { id: process.arch === 'arm64' ? 129n : 62n, args: [7n, 9n, 0n] });
  assert.equal(syscall!.targetPid, 7);
});

test('a call on a file has its directory, flags and mode, and says that the path is not known', () => {
  const values = { __syscall_nr: 263, dfd: 0xffff_ff9cn, pathname: 0x7ffcn, flag: 0x200n };
  const file = { path: '', pathMissed: true, descriptor: -100, flags: 0x200, mode: 0 };
  assert.deepEqual(onDemandParts('sys_enter_unlinkat', values), { file });
});

test('an open has its descriptor and path, and a failed open its error', () => {
  const file = { path: '', pathMissed: true, descriptor: 7, flags: 0, mode: 0 };
  assert.deepEqual(onDemandParts('sys_exit_openat', { ret: 7n }), { file });
  const resolved = { ...file, path: '/a', pathMissed: false, pathResolved: true };
  assert.deepEqual(onDemandParts('sys_exit_creat', { ret: 7n }, { link: '/a' }), { file: resolved });
  assert.deepEqual(onDemandParts('sys_exit_open', { ret: -13n }), { file: { ...file, descriptor: -13 } });
  assert.equal(openedDescriptor('sys_exit_openat2', { ret: 9n }), 9);
  assert.equal(openedDescriptor('sys_exit_open', { ret: -2n }), -2);
  assert.equal(openedDescriptor('sys_enter_unlinkat', { ret: 9n }), undefined);
});

test('what the kernel was given at an open is told as given, but for a relative path whose descriptor leads somewhere', () => {
  const told = (path: string, ret: bigint, link?: string) => {
    const { file } = onDemandParts('sys_exit_openat', { ret }, { given: { path, flags: 0o1102, mode: 0o644 }, link });
    return [file!.path, file!.pathMissed, file!.pathResolved === true, file!.descriptor, file!.flags, file!.mode];
  };
  assert.deepEqual(told('/a/l', 7n, '/b'), ['/a/l', false, false, 7, 0o1102, 0o644]);
  assert.deepEqual(told('l', 7n, '/b/l'), ['/b/l', false, true, 7, 0o1102, 0o644]);
  for (const same of ['./l', '../b/l', 'c/../l', 'c/.././l']) assert.equal(told(same, 7n, '/b/l')[0], '/b/l', same);
  for (const folder of ['.', '..', './', '../..']) assert.equal(told(folder, 7n, '/b')[0], '/b', folder);
  assert.equal(told('d/', 7n, '/b/d')[0], '/b/d');
  // Another file's by the time it was read, or renamed.
  for (const other of ['/b/m', '/b/ll', '/l/m', '/'])
    assert.deepEqual(told('l', 7n, other).slice(0, 3), ['l', false, false], other);
  assert.deepEqual(told('l', 7n), ['l', false, false, 7, 0o1102, 0o644]);
  assert.deepEqual(told('/none', -2n), ['/none', false, false, -2, 0o1102, 0o644]);
  assert.deepEqual(told('', 7n, '/b'), ['/b', false, true, 7, 0o1102, 0o644]);
  assert.equal(openedDescriptor('path_open', { path: '/a' }), undefined);
  assert.equal(openedDescriptor('sys_enter_openat', { dfd: 1n }), undefined);
});

test('a name that is made, moved or removed has its paths, directory, flags and mode', () => {
  assert.equal(onDemandType('call_rename'), 'file.rename');
  const rename = { directory: 0xffff_ff9cn, new_directory: 5n, flags: 1n };
  const file = { pathMissed: false, descriptor: -100, flags: 0, mode: 0 };
  assert.deepEqual(onDemandParts('call_rename', rename, { given: { path: 'a', newPath: '/b' } }), {
    file: { ...file, path: 'a', newPath: '/b', flags: 1 },
  });
  assert.deepEqual(onDemandParts('call_mkdir', { directory: 7n, mode: 0o755n }, { given: { path: 'd' } }), {
    file: { ...file, path: 'd', descriptor: 7, mode: 0o755 },
  });
  // A record that had no room, or a second path that had none.
  for (const [given, path] of [
    [undefined, ''],
    [{ path: 'a' }, 'a'],
  ] as const)
    assert.deepEqual(onDemandParts('call_rename', rename, { given }), {
      file: { ...file, path, pathMissed: true, flags: 1 },
    });
});

test('a change of a file has what it is to have, and where the file is', () => {
  const file = { path: '/f', pathMissed: false, pathResolved: true, descriptor: -100, flags: 0, mode: 0 };
  const given = { path: '/f', resolved: true };
  assert.deepEqual(onDemandParts('call_chmod', { mode: 0o4755n }, { given }), { file: { ...file, mode: 0o4755 } });
  const owners = { owner: -1n, group: 0xffff_fffen };
  assert.deepEqual(onDemandParts('call_chown', owners, { given }), {
    file: { ...file, ownerId: -1, groupId: 0xffff_fffe },
  });
  assert.deepEqual(onDemandParts('call_ftruncate', { size: 2n ** 40n }, { given }), {
    file: { ...file, size: 2n ** 40n },
  });
  const unknown = { path: '', pathMissed: true, descriptor: -100, flags: 0, mode: 0 };
  assert.deepEqual(onDemandParts('call_chmod', { mode: 1n }, { given: { path: '', resolved: true } }), {
    file: { ...unknown, mode: 1 },
  });
  assert.deepEqual(onDemandParts('sys_enter_chown', { filename: 1n, user: 0n, group: 0xffff_ffffn }), {
    file: { ...unknown, ownerId: 0, groupId: -1 },
  });
  assert.deepEqual(onDemandParts('sys_enter_truncate', { path: 1n, length: 5n }), { file: { ...unknown, size: 5n } });
});

test('of a function that truncates for all, only what has a file and is no open is told', () => {
  assert.ok(isOthersEvent('call_ftruncate', { size: 0n, attributes: 0x8060n, file: 1n }));
  assert.ok(isOthersEvent('call_ftruncate', { size: 0n, attributes: 0n, file: 0n }));
  assert.ok(!isOthersEvent('call_ftruncate', { size: 0n, attributes: 0x60n, file: 1n }));
  assert.ok(!isOthersEvent('call_ftruncate', { size: 0n }));
});

test('older file calls start from the working directory', () => {
  const file = { path: '', pathMissed: true, descriptor: -100, flags: 0, mode: 0o600 };
  assert.deepEqual(onDemandParts('sys_enter_chmod', { filename: 1n, mode: 0o600n }), { file });
});

test("a module event has the fields of its trace event, and the module's name", () => {
  const { raw, object } = onDemandParts('module_load', { taints: 0, name: 'nbd' });
  assert.deepEqual(raw, { name: 'module_load', fields: { taints: '0', name: 'nbd' } });
  assert.deepEqual(object, { name: 'nbd', nameMissed: false });
});

test('the catalogue and the topics list the same event types', () => {
  const types = Object.entries(TOPICS).flatMap(([topic, { types }]) => (topic === 'host' ? [] : types));
  assert.deepEqual([...CATALOGUE.keys()].sort(), types.toSorted());
});

test('fields that the catalogue names exist in the formats of this kernel', { skip: live.skip }, () => {
  let checked = 0;
  for (const { traceEvent, raw, args } of CATALOGUE.values()) {
    if (traceEvent === undefined) continue;
    const [group, name] = traceEvent.split('/') as [string, string];
    const directory = join(live.path, 'events', group);
    let names: string[] = [];
    try {
      names = readdirSync(directory);
    } catch {
      // A kernel without modules has no events of them.
    }
    if (!names.includes(name)) continue;
    const format = readFileSync(join(directory, name, 'format'), 'utf8');
    for (const { field } of [...raw.values(), ...args]) {
      assert.match(format, new RegExp(`field:[^;]*\\b${field}(\\[\\d+\\])?;`), `${traceEvent} ${field}`);
      checked++;
    }
  }
  assert.ok(checked > 0);
});

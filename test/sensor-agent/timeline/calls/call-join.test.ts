/** Which call a name belongs to, and what is told of it, from events as the kernel's formats give them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CALL_JOIN_THREADS_MAX, FILE_PATHS_BYTES_MAX } from '../../../../src/limits.js';
import type { FieldValues } from '../../../../src/sensor-agent/source/pages/decoder.js';
import { CallJoin } from '../../../../src/sensor-agent/timeline/calls/call-join.js';
import { onDemandParts, onDemandType, returnedParts } from '../../../../src/sensor-agent/timeline/syscall-events.js';

const ALL = () => true;
const PLACE = {
  space: 0xffff_8881_0000_0000n,
  number: 7,
  r0: 1n,
  d0_0: 2n,
  n0_0: 'mnt',
  d0_1: 1n,
  r1: 1n,
  d1_0: 1n,
  m1: 7n,
  m2: 7n,
};
const memfdBegins = ['sys_enter_memfd_create', { __syscall_nr: 1_000_000, uname: 0x7ffcn, flags: 1n }] as const;
const memfdReturns = ['sys_exit_memfd_create', { __syscall_nr: 1_000_000, ret: 5n }] as const;
const mountBegins = [
  'sys_enter_mount',
  { __syscall_nr: 1_000_000, dev_name: 1n, dir_name: 2n, type: 3n, flags: 4n, data: 0n },
] as const;
const mountReturns = ['sys_exit_mount', { __syscall_nr: 1_000_000, ret: -2n }] as const;

type Step = readonly [string, object] | 'loss' | 'exit';

/** What each event that is one tells; in one thread unless a step says another. */
function told(steps: readonly (Step | readonly [number, Step])[], has: (event: string) => boolean = ALL) {
  const join = new CallJoin();
  join.begin(has);
  return steps.flatMap((given) => {
    const [thread, step] = typeof given[0] === 'number' ? (given as readonly [number, Step]) : [7, given as Step];
    if (step === 'loss') join.clear();
    if (step === 'exit') join.forget(thread);
    if (typeof step === 'string') return [];
    const [name, values] = step as readonly [string, FieldValues];
    const type = onDemandType(name)!;
    if (join.follow(thread, name, type, values)) return [];
    return [
      name.startsWith('sys_exit_') ? returnedParts(join.take(thread, type), values) : onDemandParts(name, values),
    ];
  });
}

const named = (name: string) => ['name_memfd', { name: `memfd:${name}` }] as const;

test('a call is told once, as it returns, with its arguments, its result and what it named', () => {
  const syscall = { id: 1_000_000n, name: 'memfd_create', args: [0x7ffcn, 1n], result: 5n, returned: true };
  assert.deepEqual(told([memfdBegins, named('a'), memfdReturns]), [
    { syscall, object: { name: 'a', nameMissed: false } },
  ]);
  const huge = ['name_memfd_huge', { name: 'memfd:' }] as const;
  assert.deepEqual(told([memfdBegins, huge, memfdReturns]), [{ syscall, object: { name: '', nameMissed: false } }]);
  // The kernel refused it before, copied something else, or could not copy it.
  const missed = { name: '', nameMissed: true };
  for (const between of [[], [['name_memfd', { name: 'i915' }]], [['name_memfd', { name: '(fault)' }]]] as const)
    assert.deepEqual(told([memfdBegins, ...between, memfdReturns]), [{ syscall, object: missed }]);
});

test('without such probes a call is told as it begins, and no return of it', () => {
  const [event, ...more] = told([memfdBegins, memfdReturns], () => false);
  assert.deepEqual(
    [event!.syscall!.returned, event!.syscall!.args, event!.object],
    [false, [0x7ffcn, 1n], { name: '', nameMissed: true }],
  );
  assert.deepEqual(more, []);
});

test("a name is only that of its own thread's call, and of its own kind", () => {
  const names = (steps: Parameters<typeof told>[0]) => told(steps).map(({ object }) => object!.name);
  assert.deepEqual(names([memfdBegins, named('a'), named('b'), memfdReturns]), ['a']);
  assert.deepEqual(names([named('driver'), memfdBegins, memfdReturns]), ['']);
  assert.deepEqual(
    names([memfdBegins, [8, memfdBegins], [8, named('eight')], named('seven'), memfdReturns, [8, memfdReturns]]),
    ['seven', 'eight'],
  );
  assert.deepEqual(names([memfdBegins, named('a'), 'exit', memfdReturns]), ['']);
  // What began before events were lost is told without what is not known of it.
  const [event] = told([memfdBegins, named('a'), 'loss', memfdReturns]);
  assert.deepEqual([event!.object!.nameMissed, event!.syscall!.args, event!.syscall!.result], [true, [], 5n]);
  const [mount] = told([mountBegins, named('a'), ['name_fsopen', { type: 'tmpfs' }], mountReturns]);
  assert.deepEqual(mount!.mount, { source: '', target: '', type: '', missed: true });
});

test('what is mounted where is told whole, or said to be missed', () => {
  const mount = (names: object, place: object | undefined, begin: object = {}) => {
    const at = place === undefined ? [] : [['place_mount', place] as const];
    const [name, values] = mountBegins;
    const steps = [[name, { ...values, ...begin }] as const, ['name_mount', names] as const, ...at, mountReturns];
    return told(steps)[0]!.mount!;
  };
  const whole = { source: '/dev/sda1', target: '/mnt', type: 'ext4', missed: false };
  assert.deepEqual(mount({ source: '/dev/sda1', type: 'ext4' }, PLACE), whole);
  assert.deepEqual(mount({ source: '/dev/sda1', type: 'ext4' }, undefined), { ...whole, target: '', missed: true });
  // A program need not give them.
  const none = { source: '(fault)', type: '(fault)' };
  assert.deepEqual(mount(none, PLACE), { source: '', target: '/mnt', type: '', missed: true });
  assert.equal(mount(none, PLACE, { dev_name: 0n, type: 0n }).missed, false);
  const long = mount({ source: 's'.repeat(4_000), type: 't'.repeat(4_000) }, PLACE);
  assert.ok(long.missed && long.source.length + long.type.length <= FILE_PATHS_BYTES_MAX);
});

test('of the new interface each call tells its part', () => {
  const call = (name: string, begin: object, ...between: (readonly [string, object])[]) => {
    const steps = [[`sys_enter_${name}`, begin] as const, ...between, [`sys_exit_${name}`, { ret: 3n }] as const];
    const [event, ...more] = told(steps);
    assert.deepEqual(more, []);
    return event!;
  };
  const parts = { source: '', target: '', type: '', missed: false };
  assert.deepEqual(call('fsopen', { _fs_name: 1n, flags: 0n }, ['name_fsopen', { type: 'xfs' }]).mount, {
    ...parts,
    type: 'xfs',
  });
  const config = (cmd: bigint, ...between: (readonly [string, object])[]) =>
    call('fsconfig', { fd: 3n, cmd, _key: 0n, _value: 0n, aux: 0n }, ...between);
  const made = ['name_fsconfig', { source: '(fault)', type: 'tmpfs' }] as const;
  assert.deepEqual(config(0xffff_ffff_0000_0006n, made).mount, { ...parts, type: 'tmpfs' });
  assert.deepEqual(config(6n).mount, { ...parts, missed: true });
  assert.deepEqual([config(1n).mount, config(1n).syscall!.command], [undefined, 'FSCONFIG_SET_STRING']);
  const move = { from_dfd: 5n, from_pathname: 1n, to_dfd: 0xffff_ff9cn, to_pathname: 2n, flags: 4n };
  const from = ['name_move_mount', { source: '/dev/sdb', type: 'xfs' }] as const;
  assert.deepEqual(call('move_mount', move, from, ['place_move_mount', PLACE]).mount, {
    ...{ source: '/dev/sdb', target: '/mnt', type: 'xfs', missed: false },
  });
  assert.deepEqual(call('umount', { name: 1n, flags: 0n }, ['place_umount', PLACE]).mount, {
    ...parts,
    target: '/mnt',
  });
});

test('threads that never return are forgotten', () => {
  const join = new CallJoin();
  join.begin(ALL);
  const [name, values] = memfdBegins;
  for (let thread = 0; thread <= CALL_JOIN_THREADS_MAX; thread++)
    join.follow(thread, name, 'security.memfd_create', values);
  assert.equal(join.take(0, 'security.memfd_create').begin, undefined);
  assert.notEqual(join.take(1, 'security.memfd_create').begin, undefined);
});

/** What calls of the profile security are to do, to whom, and what they name: the latter where the kernel copies it. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { syscallNumber } from '../../../src/architecture/architecture.js';
import { Bus, cannotTrace, type EventLine } from '../../harness/bus/bus.js';
import { cannotProbeKernel } from '../../harness/kernel/live-kernel.js';

const NAMES = [
  ...['ptrace', 'mount', 'umount2', 'memfd_create', 'bpf', 'process_vm_readv'],
  ...['move_mount', 'fsopen', 'fsconfig', 'fsmount'],
];
const perl = spawnSync('perl', ['-e', '1']).status === 0;
const skip = cannotTrace || (perl ? false : 'perl is missing: it makes the calls');
const skipNames = skip || cannotProbeKernel();
const MARK = randomBytes(4).toString('hex');

let bus: Bus;
let dir = '';
before(async () => {
  if (skip) return;
  dir = mkdtempSync(join(tmpdir(), 'backplane-names-'));
  bus = await Bus.start({ BACKPLANE_AGENT_PROFILES: 'lite,security', BACKPLANE_AGENT_GUARD_CPU: '0' });
});
after(async () => {
  if (skip) return;
  await bus.destroy();
  rmSync(dir, { recursive: true, force: true });
});

/** Makes calls by number, of copies of its arguments, as perl gives the address of a text. */
const CALLS = `
  my %number = (${NAMES.flatMap((name) => [name, syscallNumber(name)]).join(', ')});
  sub call { my ($name, @given) = @_; return syscall($number{$name}, @given); }
`;
/** The last call of each program: when it was told everything before it was. Its flags are no other's here. */
const END_FLAGS = 3;
const ENDS = `call('memfd_create', "end-${MARK}", ${END_FLAGS});`;

/** Runs a program in perl; `prefix`: what starts it, as the same process. */
function run(program: string, prefix: readonly string[] = [], args: readonly string[] = []): number {
  const [command = '', ...rest] = [...prefix, 'perl', '-e', `${CALLS}${program}${ENDS}`, ...args];
  const { pid, status, stderr } = spawnSync(command, rest);
  assert.equal(status, 0, String(stderr));
  return pid;
}

/** The events of a program but for its last, live and, the same, in history; of these calls only. */
async function seen(calls: readonly string[], start: () => number): Promise<EventLine[]> {
  const types = ['memfd_create', ...calls].map((call) => `"security.${call}"`).join(', ');
  const asked = `event.type in [${types}]`;
  const observer = await bus.follow('--topic', 'security', '--filter', asked);
  try {
    const pid = start();
    const ends = ({ type, syscall, process: by }: EventLine) =>
      type === 'security.memfd_create' && by?.pid === pid && syscall?.args?.[1] === String(END_FLAGS);
    await observer.sees(ends);
    const own = observer.events.filter(({ process: by }) => by?.pid === pid);
    const history = bus.observe(
      '--topic',
      'security',
      '--since',
      '1h',
      '--filter',
      `${asked} && process.pid == ${pid}`,
    );
    assert.equal(await history.exited, 0, history.stderr);
    assert.deepEqual(history.events, own);
    return own.slice(0, -1);
  } finally {
    await observer.stop('SIGINT');
  }
}

test('what ptrace, bpf and kill are to do is told by name, with the pid that they name, on every kernel', {
  skip,
}, async () => {
  const sleeper = spawn('sleep', ['infinity'], { stdio: 'ignore' });
  const target = sleeper.pid!;
  const program = `
    my $target = shift(@ARGV) + 0;
    call('ptrace', 16, $target, 0, 0) == 0 or die "attach: $!";
    waitpid($target, 0x40000000);
    call('ptrace', 17, $target, 0, 0) == 0 or die "detach: $!";
    call('ptrace', 4711, $target, 0, 0);
    call('ptrace', 0, $target, 0, 0);
    my $none = "\\0" x 128;
    call('bpf', 11, $none, length $none);
    call('bpf', 4711, $none, length $none);
    call('process_vm_readv', $target, 0, 0, 0, 0, 0);
    kill(0, $target);
    kill(0, -$target);
  `;
  try {
    const events = await seen(['ptrace', 'bpf', 'kill', 'process_vm_readv'], () => run(program, [], [String(target)]));
    const told = events.flatMap(({ type, syscall }) => {
      const { command, targetPid } = syscall ?? {};
      return [[type.slice('security.'.length), command, targetPid].filter((part) => part !== undefined).join(' ')];
    });
    assert.deepEqual(told, [
      `ptrace PTRACE_ATTACH ${target}`,
      `ptrace PTRACE_DETACH ${target}`,
      `ptrace ${target}`,
      'ptrace PTRACE_TRACEME',
      'bpf BPF_PROG_GET_NEXT_ID',
      'bpf',
      `process_vm_readv ${target}`,
      `kill ${target}`,
      `kill ${-target}`,
    ]);
    const filter = `syscall.command == "PTRACE_ATTACH" && syscall.target_pid == ${target}`;
    const history = bus.observe('--topic', 'security', '--since', '1h', '--filter', filter);
    assert.equal(await history.exited, 0, history.stderr);
    assert.deepEqual(
      history.events.map(({ syscall }) => syscall!.command),
      ['PTRACE_ATTACH'],
    );
  } finally {
    sleeper.kill('SIGKILL');
    await once(sleeper, 'close');
  }
});

test('calls of the newer way to mount are seen, whether or not the kernel says what they name', { skip }, async () => {
  const program = `
    call('fsopen', "none-${MARK}", 0);
    call('fsconfig', -1, 7, 0, 0, 0);
    call('move_mount', -1, "", -100, "/none-${MARK}", 4);
  `;
  const events = await seen(['fsopen', 'fsconfig', 'move_mount'], () => run(program));
  const told = events.map(({ type, syscall, mount }) => ({ type, syscall, mount }));
  assert.deepEqual(
    told.map(({ type, syscall }) => [type, syscall!.name, syscall!.args!.length, syscall!.command]),
    [
      ['security.fsopen', 'fsopen', 2, undefined],
      ['security.fsconfig', 'fsconfig', 5, 'FSCONFIG_CMD_RECONFIGURE'],
      ['security.move_mount', 'move_mount', 5, undefined],
    ],
  );
  const [opened, configured, moved] = told;
  if (cannotProbeKernel()) assert.deepEqual(opened!.mount, { missed: true });
  else assert.deepEqual([opened!.mount, opened!.syscall!.result], [{ type: `none-${MARK}` }, '-19']);
  assert.equal(configured!.mount, undefined);
  assert.deepEqual(moved!.mount, { missed: true });
});

const MOUNTING = ['mount', 'umount', 'fsopen', 'fsconfig', 'move_mount'];
/** As the old interface has it, through links, on mounts, of directories that are bound, relative, and refused. */
const MOUNTS = `
  my $dir = shift @ARGV;
  mkdir "$dir/$_" for qw(old bound new deep);
  call('mount', "source-${MARK}", "$dir/old", 'tmpfs', 4, 0) == 0 or die "mount: $!";
  mkdir "$dir/old/$_" for qw(a a/b);
  symlink 'old/a', "$dir/link";
  call('mount', "sub-${MARK}", "$dir/link/b", 'tmpfs', 0, 0) == 0 or die "mount through a link: $!";
  call('mount', "$dir/old/a", "$dir/bound", 0, 0x1000, 0) == 0 or die "bind: $!";
  mkdir "$dir/bound/inner";
  chdir "$dir/bound";
  call('mount', "relative-${MARK}", 'inner', 'tmpfs', 0, 0) == 0 or die "relative: $!";
  call('umount2', 'inner', 0) == 0 or die "umount: $!";
  call('mount', "none-${MARK}", "$dir/none", 'tmpfs', 0, 0);
  call('mount', "none-${MARK}", "$dir/new", "none-${MARK}", 0, 0);
  my $new = call('fsopen', 'tmpfs', 0);
  call('fsconfig', $new, 1, 'source', "new-${MARK}", 0) == 0 or die "fsconfig: $!";
  call('fsconfig', $new, 6, 0, 0, 0) == 0 or die "create: $!";
  my $made = call('fsmount', $new, 0, 0);
  call('move_mount', $made, '', -100, "$dir/new", 4) == 0 or die "move_mount: $!";
  my $place = "$dir/deep";
  for (1 .. 8) {
    call('mount', "deep-${MARK}", $place, 'tmpfs', 0, 0) == 0 or die "deep: $!";
    $place .= '/deep';
    mkdir $place;
  }
`;

test('what is mounted where is told by the old and the new interface, as the kernel has it, live as in history', {
  skip: skipNames,
}, async () => {
  const events = await seen(MOUNTING, () => run(MOUNTS, ['unshare', '--mount'], [dir]));
  const told = events.flatMap(({ type, mount, syscall }) => {
    if (mount === undefined) return [];
    const { source = '-', target = '-', type: filesystem = '-', missed } = mount;
    const result = Number(syscall!.result ?? 0) < 0 ? [syscall!.result] : [];
    return [[type.slice(9), source, target, filesystem, ...(missed ? ['missed'] : []), ...result].join(' ')];
  });
  // unshare has made all mounts private before.
  const from = told.findIndex((line) => line.includes(`source-${MARK}`));
  const deep = told.findIndex((line) => line.includes(`deep-${MARK}`));
  assert.deepEqual(told.slice(from, deep), [
    `mount source-${MARK} ${dir}/old tmpfs`,
    `mount sub-${MARK} ${dir}/old/a/b tmpfs`,
    `mount ${dir}/old/a ${dir}/bound -`,
    `mount relative-${MARK} ${dir}/bound/inner tmpfs`,
    `umount - ${dir}/bound/inner -`,
    'mount - - - missed -2',
    `mount none-${MARK} ${dir}/new none-${MARK} -19`,
    'fsopen - - tmpfs',
    `fsconfig new-${MARK} - tmpfs`,
    `move_mount new-${MARK} ${dir}/new tmpfs`,
  ]);
  // Mounts on mounts are followed some way, and what is further is not told wrong.
  const places = told.slice(deep).map((line) => line.split(' ')[2]);
  const known = places.filter((place) => place !== '-');
  assert.equal(places.length, 8);
  assert.ok(known.length >= 2, places.join(' '));
  assert.deepEqual(
    known,
    known.map((_, at) => `${dir}${'/deep'.repeat(at + 1)}`),
  );
  const target = `mount.target == "${dir}/old" && mount.source == "source-${MARK}" && mount.type == "tmpfs"`;
  const history = bus.observe('--topic', 'security', '--since', '1h', '--filter', target);
  assert.equal(await history.exited, 0, history.stderr);
  assert.equal(history.events.length, 1);
});

test('a memfd is told with its name and the call with its result, live as in history', {
  skip: skipNames,
}, async () => {
  const program = `
    call('memfd_create', "plain-${MARK}", 1) > 0 or die "memfd: $!";
    call('memfd_create', '', 0) > 0 or die "memfd without a name: $!";
    call('memfd_create', 'x' x 250, 0);
    call('memfd_create', "huge-${MARK}", 4);
  `;
  const events = await seen([], () => run(program));
  const told = events.map(({ object, syscall }) => {
    const failed = Number(syscall!.result ?? 0) < 0;
    return [object!.name ?? '', object!.nameMissed === true, syscall!.returned, failed].join(' ');
  });
  const huge = told.splice(3, 1)[0]!;
  assert.deepEqual(told, [`plain-${MARK} false true false`, ' false true false', ' true true true']);
  // Not every kernel has huge pages: it says so before it looks at the name.
  assert.ok([`huge-${MARK} false true false`, `huge-${MARK} false true true`, ' true true true'].includes(huge), huge);
});

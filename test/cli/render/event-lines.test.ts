/** Events in the compact format: every type, the arguments and results of system calls, names of parents. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BusEvent, type NetworkContext, TOPICS } from '../../../src/wire/event/event.js';
import { BASH, CURL, V4, wireEvent } from '../../harness/bus/event-fixture.js';
import { lines, show } from '../../harness/shown-lines.js';

process.env.TZ = 'UTC';

const V6 = {
  ...V4,
  type: 'ipv6',
  local: { address: '::', port: 80 },
  peer: { address: '2001:db8::1', port: 9 },
} as const;

const UDP: NetworkContext = {
  type: 'ipv4',
  transport: 'udp',
  local: { address: '', port: 5555 },
  peer: { address: '10.0.0.1', port: 53 },
};

const NAMED = { pathMissed: false, descriptor: -100, flags: 0, mode: 0 };

/** What the registers 123, -1, a pointer and the lowest number are to each call. */
const SECURITY_ARGUMENTS: Readonly<Record<string, string>> = {
  ptrace: '123, -1, 0x7ffc00000000, 0x8000000000000000',
  mount: '(string not readable), (string not readable), (string not readable), 0x8000000000000000',
  umount: '(string not readable), MNT_FORCE|MNT_DETACH|MNT_EXPIRE|UMOUNT_NOFOLLOW|0xfffffff0',
  fsopen: '(string not readable), FSOPEN_CLOEXEC|0xfffffffe',
  fsconfig: '123, -1, (string not readable), 0x8000000000000000',
  move_mount: '123, (string not readable), 0, (string not readable)',
  ...{ pivot_root: '(string not readable), (string not readable)', fsmount: '123, -1, 0x7ffc00000000' },
  ...{ open_tree: '123, (string not readable), 0x7ffc00000000', fspick: '123, (string not readable), 0x7ffc00000000' },
  mount_setattr: '123, (string not readable), 0x7ffc00000000, 0x8000000000000000',
  setns:
    '123, CLONE_NEWTIME|CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_PIDFD|CLONE_PTRACE|CLONE_VFORK|' +
    'CLONE_PARENT|CLONE_THREAD|CLONE_NEWNS|CLONE_SYSVSEM|CLONE_SETTLS|CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID|' +
    'CLONE_DETACHED|CLONE_UNTRACED|CLONE_CHILD_SETTID|CLONE_NEWCGROUP|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWUSER|' +
    'CLONE_NEWPID|CLONE_NEWNET|CLONE_IO|0x7f',
  unshare: '0x7b',
  bpf: '123, 0xffffffffffffffff, 140720308486144',
  memfd_create: '(string not readable), MFD_CLOEXEC|MFD_ALLOW_SEALING|MFD_HUGETLB|MFD_NOEXEC_SEAL|MFD_EXEC|0xffffffe0',
  process_vm_readv: '123, 0xffffffffffffffff, 140720308486144, 0x8000000000000000',
  process_vm_writev: '123, 0xffffffffffffffff, 140720308486144, 0x8000000000000000',
  ...{ setuid: '123', setgid: '123' },
  ...{ setreuid: '123, -1', setregid: '123, -1' },
  setresuid: '123, -1, 0',
  setresgid: '123, -1, 0',
  kill: '123, -1',
  tkill: '123, -1',
  tgkill: '123, -1, 0',
};

const GOLDEN: readonly (readonly [string, Partial<BusEvent>, string])[] = [
  [
    'process.exec',
    { process: CURL },
    "exec           root /usr/bin/curl curl -s 'https://example.org/a b' pid 123 ← 100",
  ],
  [
    'process.exec',
    { process: { ...CURL, user: { id: 1000 }, redactions: 2 }, container: { id: 'abcdef0123456789abcdef' } },
    "exec           1000 /usr/bin/curl curl -s 'https://example.org/a b' (2 redacted) pid 123 ← 100 in abcdef012345",
  ],
  [
    'process.exec',
    { process: { pid: 6, comm: 'long', commandArgs: ['long', 'a'], commandArgsTruncated: true, redactions: 1 } },
    'exec           ? long long a … (1 redacted) pid 6',
  ],
  [
    'process.exec',
    { process: { pid: 5, comm: 'gone', commandArgsMissed: true } },
    'exec           ? gone (arguments missed) pid 5',
  ],
  ['process.fork', { process: BASH }, 'fork           root bash pid 100 ← 1'],
  ['process.fork', { process: { ...BASH, threadId: 104 } }, 'fork           root bash pid 100 thread 104 ← 1'],
  ['process.exit', { process: BASH }, 'exit           root bash pid 100 ← 1'],
  [
    'process.rename',
    { process: { ...BASH, comm: 'worker/1', previousComm: 'a b' } },
    "rename         root 'a b' → worker/1 pid 100 ← 1",
  ],
  [
    'process.signal',
    { process: BASH, signal: { number: 15, name: 'SIGTERM', targetPid: 123, targetComm: 'sleep', code: 0, result: 0 } },
    'signal         SIGTERM bash[100] → sleep[123]',
  ],
  [
    'process.signal',
    { process: BASH, signal: { number: 40, name: '', targetPid: 1, targetComm: 'init', code: 0, result: 1 } },
    'signal         signal 40 bash[100] → init[1] (ignored)',
  ],
  ['network.tcp.connect', { process: CURL, network: V4 }, 'tcp connect    10.0.0.1:443 ← 10.0.0.2:5555 curl[123]'],
  ['network.tcp.accept', { process: CURL, network: V4 }, 'tcp accept     10.0.0.2:5555 ← 10.0.0.1:443 curl[123]'],
  ['network.tcp.listen', { process: CURL, network: V6 }, 'tcp listen     [::]:80 curl[123]'],
  ['network.tcp.close', { process: CURL, network: V6 }, 'tcp close      [::]:80 – [2001:db8::1]:9 curl[123]'],
  ['network.tcp.close', { network: V4 }, 'tcp close      10.0.0.2:5555 – 10.0.0.1:443'],
  ['network.udp.connect', { process: CURL, network: UDP }, 'udp connect    10.0.0.1:53 ← ?:5555 curl[123]'],
  [
    'network.udp.connect',
    { process: CURL, network: { ...UDP, failed: true } },
    'udp connect    10.0.0.1:53 ← ?:5555 failed curl[123]',
  ],
  [
    'network.udp.send',
    { process: CURL, network: { ...UDP, datagrams: 1 } },
    'udp send       10.0.0.1:53 ← ?:5555 curl[123]',
  ],
  [
    'network.udp.send',
    { process: CURL, network: { ...UDP, peer: { address: '::1', port: 0 }, datagrams: 12 } },
    'udp send       [::1]:? ← ?:5555 12 datagrams curl[123]',
  ],
  [
    'network.dns.query',
    { process: CURL, network: UDP, dns: { question: { name: 'a\\.b.example', type: 'AAAA' } } },
    "dns query      AAAA 'a\\.b.example' 10.0.0.1:53 ← ?:5555 curl[123]",
  ],
  [
    'network.dns.query',
    { process: CURL, network: UDP, dns: { question: { name: '***.example', type: 'TXT' }, redactions: 1 } },
    "dns query      TXT '***.example' (1 redacted) 10.0.0.1:53 ← ?:5555 curl[123]",
  ],
  [
    'network.dns.query',
    { network: UDP, dns: { questionMissed: true } },
    'dns query      (question missed) 10.0.0.1:53 ← ?:5555',
  ],
  ...TOPICS['security']!.types.map((type): readonly [string, Partial<BusEvent>, string] => {
    const name = type.slice('security.'.length);
    const syscall = { id: 1n, name, args: [123n, -1n, 0x7ffc_0000_0000n, -(2n ** 63n)], result: 0n, returned: false };
    // A call that no table knows: small numbers as such, pointers in hexadecimal.
    const known = SECURITY_ARGUMENTS[name];
    const text = `${name}(${known ?? '123, -1, 0x7ffc00000000, 0x8000000000000000'}) bash[100]`;
    return [type, { process: BASH, syscall }, `${name.replace('process_', '').padEnd(13)}  ${text}`];
  }),
  [
    'security.mount',
    {
      process: BASH,
      syscall: { id: 165n, name: 'mount', args: [1n, 2n, 0n, 0x1000n, 0n], result: -2n, returned: true },
      mount: { source: '/a b', target: '/mnt', type: '', missed: false },
    },
    "mount          mount('/a b', /mnt, NULL, MS_BIND, NULL) = -2 ENOENT bash[100]",
  ],
  [
    'security.fsconfig',
    {
      process: BASH,
      syscall: { id: 431n, name: 'fsconfig', args: [3n, 6n, 0n, 0n, 0n], result: 0n, returned: true },
      mount: { source: '/dev/sda1', target: '', type: 'ext4', missed: false },
    },
    'fsconfig       fsconfig(3, FSCONFIG_CMD_CREATE, NULL, NULL, 0) = 0 source /dev/sda1 type ext4 bash[100]',
  ],
  [
    'security.move_mount',
    {
      process: BASH,
      syscall: { id: 429n, name: 'move_mount', args: [5n, 1n, -100n, 2n, 4n], result: 0n, returned: true },
      mount: { source: '/dev/sda1', target: '/mnt', type: 'ext4', missed: false },
    },
    'move_mount     move_mount(5, (string not readable), AT_FDCWD, /mnt, MOVE_MOUNT_F_EMPTY_PATH) = 0 source /dev/sda1 ' +
      'type ext4 bash[100]',
  ],
  [
    'security.memfd_create',
    {
      process: BASH,
      syscall: { id: 319n, name: 'memfd_create', args: [1n, 1n], result: 5n, returned: true },
      object: { name: 'x', nameMissed: false },
    },
    'memfd_create   memfd_create(x, MFD_CLOEXEC) = 5 bash[100]',
  ],
  // It had begun before it was asked for.
  [
    'security.memfd_create',
    {
      process: BASH,
      syscall: { id: 319n, name: 'memfd_create', args: [], result: 5n, returned: true },
      object: { name: 'x', nameMissed: false },
    },
    'memfd_create   memfd_create = 5 name x bash[100]',
  ],
  [
    'syscall.enter',
    { process: BASH, syscall: { id: 9999n, name: '', args: [], result: 0n, returned: false } },
    'syscall enter  syscall 9999() bash[100]',
  ],
  [
    'syscall.exit',
    { process: BASH, syscall: { id: 0n, name: 'read', args: [], result: -11n, returned: true } },
    'syscall exit   read = -11 EAGAIN bash[100]',
  ],
  [
    'file.open',
    { process: BASH, file: { path: '/etc/shadow', pathMissed: false, descriptor: 3, flags: 0, mode: 0 } },
    'file open      /etc/shadow as 3 bash[100]',
  ],
  [
    'file.open',
    { process: BASH, file: { path: '', pathMissed: true, descriptor: -13, flags: 0, mode: 0 } },
    'file open      failed: EACCES bash[100]',
  ],
  [
    'file.unlink',
    { process: BASH, file: { path: '', pathMissed: true, descriptor: -100, flags: 512, mode: 0 } },
    'file unlink    (path unknown) flags AT_REMOVEDIR bash[100]',
  ],
  [
    'file.rename',
    { process: BASH, file: { path: '', pathMissed: true, descriptor: 7, flags: 0, mode: 0 } },
    'file rename    (path unknown) from descriptor 7 bash[100]',
  ],
  [
    'file.open',
    { process: BASH, file: { path: '/none', pathMissed: false, descriptor: -2, flags: 0o1101, mode: 0o644 } },
    'file open      /none failed: ENOENT bash[100]',
  ],
  [
    'file.open',
    { process: BASH, file: { path: '/new', pathMissed: false, descriptor: 3, flags: 0o1101, mode: 0o644 } },
    'file open      /new as 3 O_WRONLY|O_CREAT|O_TRUNC bash[100]',
  ],
  [
    'file.rename',
    { process: BASH, file: { ...NAMED, path: 'a', newPath: '/b c' } },
    "file rename    a → '/b c' bash[100]",
  ],
  [
    'file.chown',
    { process: BASH, file: { ...NAMED, path: '/f', pathResolved: true, ownerId: 0, groupId: -1 } },
    'file chown     /f owner 0 bash[100]',
  ],
  [
    'file.truncate',
    { process: BASH, file: { ...NAMED, path: '/f', pathResolved: true, size: 0n, mountNamespace: 7 } },
    'file truncate  /f in mount namespace 7 to 0 bytes bash[100]',
  ],
  ['file.link', { process: BASH, file: { ...NAMED, path: '/a', newPath: 'b' } }, 'file link      /a → b bash[100]'],
  [
    'file.symlink',
    { process: BASH, file: { ...NAMED, path: '../a', newPath: '/b' } },
    'file symlink   ../a → /b bash[100]',
  ],
  [
    'file.mkdir',
    { process: BASH, file: { ...NAMED, path: '/d', mode: 0o755 } },
    'file mkdir     /d mode 0755 bash[100]',
  ],
  ['file.rmdir', { process: BASH, file: { ...NAMED, path: '/d' } }, 'file rmdir     /d bash[100]'],
  [
    'file.chmod',
    { process: BASH, file: { ...NAMED, path: '/etc/x y', mode: 0o755 } },
    "file chmod     '/etc/x y' mode 0755 bash[100]",
  ],
  ['file.chmod', { process: BASH, file: { ...NAMED, path: '/f' } }, 'file chmod     /f mode 0 bash[100]'],
  [
    'host.start',
    { notice: { reason: 'started', message: 'recording 6 trace events', source: 'tracefs' } },
    'host start     started recording 6 trace events (tracefs)',
  ],
  [
    'host.loss',
    { notice: { reason: 'kernel_overrun', message: '', lost: 412, source: 'tracefs' } },
    'host loss      kernel_overrun 412 events lost (tracefs)',
  ],
  [
    'host.loss',
    { notice: { reason: 'killed', message: '', lostUnknown: true, source: '' } },
    'host loss      killed an unknown number of events lost',
  ],
  [
    'host.stop',
    { notice: { reason: 'stopped', message: 'the agent was stopped', source: 'procfs' } },
    'host stop      stopped the agent was stopped (procfs)',
  ],
  [
    'host.degraded',
    { notice: { reason: 'blind', message: 'no tracefs', source: 'procfs' } },
    'host degraded  blind no tracefs (procfs)',
  ],
];

test('compact shows every event type in one line', () => {
  for (const [type, rest, expected] of GOLDEN) {
    assert.equal(
      show(lines('compact').line, wireEvent(type, rest)),
      `2026-11-23 10:02:03.123456Z node-a  ${expected}\n`,
    );
  }
  const shown = new Set(GOLDEN.map(([type]) => type));
  for (const type of Object.values(TOPICS).flatMap((topic) => topic.types))
    assert.ok(shown.has(type), `${type} is not tested`);
});

/** Registers as the kernel has them: 64 bits, of which an int is the lower half. */
const CALLS: readonly (readonly [string, readonly bigint[], string])[] = [
  ['kill', [0xffff_de4an, 0n], 'kill(-8630, 0)'],
  ['kill', [-1n, 9n], 'kill(-1, SIGKILL)'],
  ['tgkill', [1n, 2n, 34n], 'tgkill(1, 2, SIGRTMIN)'],
  ['tkill', [7n, 64n], 'tkill(7, SIGRTMIN+30)'],
  [
    'mount',
    [0x557c_0000_1234n, 0x557c_0000_2000n, 0n, 278_528n, 0n],
    'mount((string not readable), (string not readable), NULL, MS_REC|MS_PRIVATE, NULL)',
  ],
  ['mount', [0n, 0n, 0n, 0xc0ed_0021n, 0n], 'mount(NULL, NULL, NULL, MS_RDONLY|MS_REMOUNT, NULL)'],
  ['umount2', [0x1000_0000n, 2n], 'umount2((string not readable), MNT_DETACH)'],
  ['unshare', [131_072n], 'unshare(CLONE_NEWNS)'],
  ['unshare', [0x1002_0080n], 'unshare(CLONE_NEWTIME|CLONE_NEWNS|CLONE_NEWUSER)'],
  ['setns', [5n, 0x4000_0000n], 'setns(5, CLONE_NEWNET)'],
  ['clone', [0x11n, 0n, 0n, 0n, 0n, 7n], 'clone(SIGCHLD, NULL, NULL, NULL, NULL)'],
  ['clone', [0x2000_0011n, 0n, 0n, 0n, 0n], 'clone(CLONE_NEWPID|SIGCHLD, NULL, NULL, NULL, NULL)'],
  ['ptrace', [16n, 77n, 0n, 0n], 'ptrace(PTRACE_ATTACH, 77, NULL, 0)'],
  ['ptrace', [0x4206n, 77n, 0n, 1n], 'ptrace(PTRACE_SEIZE, 77, NULL, 1)'],
  ['bpf', [5n, 0x7ffc_0000_0000n, 128n], 'bpf(BPF_PROG_LOAD, 0x7ffc00000000, 128)'],
  ['bpf', [99n, 0n, 0n], 'bpf(99, NULL, 0)'],
  ['memfd_create', [0x1000_0000n, 3n], 'memfd_create((string not readable), MFD_CLOEXEC|MFD_ALLOW_SEALING)'],
  ['setresuid', [0xffff_ffffn, 0n, 1000n], 'setresuid(-1, 0, 1000)'],
  ['prctl', [38n, 1n, 0n, 0n, 0n, 9n], 'prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)'],
  [
    'openat',
    [0xffff_ff9cn, 0x1000_0000n, 0x241n, 0o644n, 1n, 2n],
    'openat(AT_FDCWD, (string not readable), O_WRONLY|O_CREAT|O_TRUNC, 0644)',
  ],
  ['openat', [3n, 0x1000_0000n, 0x9_0000n, 0n], 'openat(3, (string not readable), O_RDONLY|O_DIRECTORY|O_CLOEXEC, 00)'],
  ['nosuch', [1n, 0x7ffc_0000_0000n, -5n], 'nosuch(1, 0x7ffc00000000, -5)'],
  ['constructor', [1n], 'constructor(1)'],
];

test('arguments of system calls show pids, signals, flags and unread strings as such', () => {
  for (const [name, args, expected] of CALLS) {
    const id = name === 'openat' ? 257n : 1n;
    const event = wireEvent('syscall.enter', {
      process: BASH,
      syscall: { id, name, args, result: 0n, returned: false },
    });
    const shown = show(lines('compact').line, event);
    assert.equal(shown.slice(shown.indexOf(name)), `${expected} bash[100]\n`);
    const table = show(lines('table').line, event);
    assert.ok(table.includes(expected), table);
  }
});

test('results of system calls name their error', () => {
  const shown = [-1n, -38n, -4095n, -4096n, 0n, 7n].map((result) => {
    const event = wireEvent('syscall.exit', { syscall: { id: 0n, name: 'x', args: [], result, returned: true } });
    return /x = (.*) \?\n$/.exec(show(lines('compact').line, event))?.[1];
  });
  assert.deepEqual(shown, ['-1 EPERM', '-38 ENOSYS', '-4095', '-4096', '0', '7']);
});

test('a raw kernel event shows its fields, escaped', () => {
  const raw = wireEvent('sched.switch', {
    process: BASH,
    raw: { name: 'sched_switch', fields: { prev: 'a b', 'x\x1b': '\x1b[0m' } },
  });
  assert.equal(
    show(lines('compact').line, raw),
    "2026-11-23 10:02:03.123456Z node-a  sched switch   sched_switch prev='a b' x\\x1b=$'\\x1b[0m' bash[100]\n",
  );
});

test('a parent is named once its own event was seen, and forgotten when it ends', () => {
  const { line } = lines('compact');
  show(line, wireEvent('process.fork', { process: { pid: 123, parentPid: 100, comm: 'bash' } }));
  assert.match(show(line, wireEvent('process.exec', { process: CURL })), /pid 123 ← bash 100\n$/);
  show(line, wireEvent('process.exit', { process: BASH }));
  assert.match(show(line, wireEvent('process.exec', { process: CURL })), /pid 123 ← 100\n$/);
});

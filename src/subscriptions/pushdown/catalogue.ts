/**
 * Every event type that a node can be asked for: the trace events it is made
 * of, the profile that allows it, and which filter fields stand in the raw
 * entry as they are. What a filter can be pushed down to follows from here,
 * on the broker (the plan) and on the agent (kernel filters, raw predicates).
 */

/** `lite` is always recorded; the others only while somebody asks, where the operator allows them. */
export const PROFILES = ['lite', 'security', 'file', 'syscall'] as const;
export type Profile = (typeof PROFILES)[number];

/** Where a filter field stands in the raw entry: a field of the format file, or one element of an array. */
export interface RawRef {
  readonly field: string;
  readonly element?: number;
}

export interface PathPoint {
  readonly name: string;
  /** Whether the trace events are not needed beside it. */
  readonly tellsAll: boolean;
}

export interface CatalogueEntry {
  readonly type: string;
  readonly profile: Profile;
  /** `group/event` whose entries become events of this type. */
  readonly traceEvent: string;
  /** Trace events that must be enabled too, because the entry alone lacks some of the data. */
  readonly alsoTraced: readonly string[];
  /** An event of the agent's own, a probe in the kernel, that has the path: where there is none, it is not known. */
  readonly pathPoint: PathPoint | undefined;
  /** Filter field -> its place in the entry. The values are equal as 64-bit integers, always. */
  readonly raw: ReadonlyMap<string, RawRef>;
  /** A sentence that says which of these events cannot be seen. */
  readonly blindSpot: string | undefined;
}

function entry(
  type: string,
  profile: Profile,
  traceEvent: string,
  raw: Readonly<Record<string, RawRef>> = {},
  more: {
    readonly alsoTraced?: readonly string[];
    readonly pathPoint?: PathPoint;
    readonly blindSpot?: string;
  } = {},
): CatalogueEntry {
  const { alsoTraced = [], pathPoint, blindSpot } = more;
  return { type, profile, traceEvent, raw: new Map(Object.entries(raw)), alsoTraced, pathPoint, blindSpot };
}

const PORTS = { 'network.local.port': { field: 'sport' }, 'network.peer.port': { field: 'dport' } };
const SOCKETS = 'sock/inet_sock_set_state';

const LITE: readonly CatalogueEntry[] = [
  entry('process.exec', 'lite', 'sched/sched_process_exec', { 'process.pid': { field: 'pid' } }),
  entry('process.fork', 'lite', 'task/task_newtask', { 'process.pid': { field: 'pid' } }),
  entry('process.exit', 'lite', 'sched/sched_process_exit'),
  entry('process.rename', 'lite', 'task/task_rename'),
  entry('process.signal', 'lite', 'signal/signal_generate', {
    'signal.number': { field: 'sig' },
    'signal.code': { field: 'code' },
    'signal.result': { field: 'result' },
  }),
  entry('network.tcp.connect', 'lite', SOCKETS, PORTS),
  entry('network.tcp.accept', 'lite', SOCKETS, PORTS),
  entry('network.tcp.listen', 'lite', SOCKETS, PORTS),
  entry('network.tcp.close', 'lite', SOCKETS, PORTS),
];

/** System calls of the security profile and their arguments, as their format files name them. */
const SECURITY_CALLS: Readonly<Record<string, readonly string[]>> = {
  ptrace: ['request', 'pid', 'addr', 'data'],
  mount: ['dev_name', 'dir_name', 'type', 'flags', 'data'],
  umount: ['name', 'flags'],
  setns: ['fd', 'flags'],
  unshare: ['unshare_flags'],
  bpf: ['cmd', 'uattr', 'size'],
  memfd_create: ['uname', 'flags'],
  process_vm_readv: ['pid', 'lvec', 'liovcnt', 'rvec', 'riovcnt', 'flags'],
  process_vm_writev: ['pid', 'lvec', 'liovcnt', 'rvec', 'riovcnt', 'flags'],
  setuid: ['uid'],
  setgid: ['gid'],
  setreuid: ['ruid', 'euid'],
  setregid: ['rgid', 'egid'],
  setresuid: ['ruid', 'euid', 'suid'],
  setresgid: ['rgid', 'egid', 'sgid'],
  kill: ['pid', 'sig'],
  tkill: ['pid', 'sig'],
  tgkill: ['tgid', 'pid', 'sig'],
};

const SECURITY: readonly CatalogueEntry[] = [
  ...Object.entries(SECURITY_CALLS).map(([name, args]) =>
    entry(`security.${name}`, 'security', `syscalls/sys_enter_${name}`, argumentRefs(args)),
  ),
  entry('security.module_load', 'security', 'module/module_load'),
  entry('security.module_free', 'security', 'module/module_free'),
];

function argumentRefs(args: readonly string[]): Record<string, RawRef> {
  return Object.fromEntries(args.map((field, index) => [`syscall.arg${index}`, { field }]));
}

const SYSCALL: readonly CatalogueEntry[] = [
  entry('syscall.enter', 'syscall', 'raw_syscalls/sys_enter', {
    'syscall.id': { field: 'id' },
    ...Object.fromEntries([0, 1, 2, 3, 4, 5].map((element) => [`syscall.arg${element}`, { field: 'args', element }])),
  }),
  entry('syscall.exit', 'syscall', 'raw_syscalls/sys_exit', {
    'syscall.id': { field: 'id' },
    'syscall.result': { field: 'ret' },
  }),
];

const NO_PATH =
  'the path is known where the kernel has kprobes ("doctor" says so): elsewhere only the numbers of unlink, rename and the ' +
  'like are; of chmod everywhere';
const LINK_LATER =
  'without kprobes the path of an open is the link of its descriptor, read some milliseconds after the call returned: a file ' +
  'that was closed by then has no path, one whose descriptor was given away and reused by a thread within that time may have ' +
  "the later one's; what io_uring and open_by_handle_at open is not seen";

const FILE: readonly CatalogueEntry[] = [
  entry(
    'file.open',
    'file',
    'syscalls/sys_exit_openat',
    { 'file.descriptor': { field: 'ret' } },
    {
      alsoTraced: calls('exit', 'open', 'openat2', 'creat'),
      pathPoint: { name: 'path_open', tellsAll: false },
      blindSpot: LINK_LATER,
    },
  ),
  changed('file.unlink', 'path_unlink', 'unlinkat', 'unlink'),
  changed('file.rmdir', 'path_rmdir', 'rmdir'),
  changed('file.rename', 'path_rename', 'renameat2', 'rename', 'renameat'),
  changed('file.mkdir', 'path_mkdir', 'mkdirat', 'mkdir'),
  changed('file.link', 'path_link', 'linkat', 'link'),
  changed('file.symlink', 'path_symlink', 'symlinkat', 'symlink'),
  changed('file.chmod', undefined, 'fchmodat', 'fchmodat2', 'chmod', 'fchmod'),
];

/** Names are changed: told as the call begins, by its trace event or by the point. */
function changed(type: string, point: string | undefined, call: string, ...others: readonly string[]): CatalogueEntry {
  const pathPoint = point === undefined ? {} : { pathPoint: { name: point, tellsAll: true } };
  const more = { alsoTraced: calls('enter', ...others), blindSpot: NO_PATH, ...pathPoint };
  return entry(type, 'file', `syscalls/sys_enter_${call}`, {}, more);
}

function calls(side: 'enter' | 'exit', ...names: readonly string[]): readonly string[] {
  return names.map((name) => `syscalls/sys_${side}_${name}`);
}

/** Costs for a node, as measured on Linux 6.18, for people. */
export const EVENT_COSTS = {
  lite: 'no cost to the workload that could be measured; 1 % of a core for every 33,000 recorded events/s',
  syscall:
    'while any such event is on every system call of every process takes 55-71 ns more (18-21 % on dd bs=1); one that is ' +
    'recorded about 300 ns more, one that the filter leaves out 70-200 ns',
} as const;

/** By event type. Types of the topic `host` are the agent's own and not here. */
export const CATALOGUE: ReadonlyMap<string, CatalogueEntry> = new Map(
  [...LITE, ...SECURITY, ...SYSCALL, ...FILE].map((each) => [each.type, each]),
);

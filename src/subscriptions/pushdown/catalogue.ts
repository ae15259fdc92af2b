/**
 * Every event type that a node can be asked for: the trace events it is made
 * of, the profile that allows it, and which filter fields stand in the raw
 * entry as they are. What a filter can be pushed down to follows from here,
 * on the broker (the plan) and on the agent (kernel filters, raw predicates).
 */

/** `lite` is always recorded; the others only while somebody asks, where the operator allows them. */
export const PROFILES = ['lite', 'security', 'file', 'syscall'] as const;
export type Profile = (typeof PROFILES)[number];

const PATH_EVENT = 'path_';
const CALL_EVENT = 'call_';

/** Where a filter field stands in the raw entry: a field of the format file, or one element of an array. */
export interface RawRef {
  readonly field: string;
  readonly element?: number;
}

/**
 * Names of the agent's own probes, whatever the kernel's function: `path_unlink` has the paths of an operation, and
 * `call_unlink` the numbers of its call.
 */
export function pathEvent(operation: string): string {
  return PATH_EVENT + operation;
}

export function callEvent(operation: string): string {
  return CALL_EVENT + operation;
}

export function isPathEvent(name: string): boolean {
  return name.startsWith(PATH_EVENT);
}

export function isCallEvent(name: string): boolean {
  return name.startsWith(CALL_EVENT);
}

/** Probes of the agent's own (source/paths/path-points.ts), by name; trace events are `group/event`. */
export interface PathPoint {
  /** Has the paths. */
  readonly name: string;
  /** The events that it is joined with, by thread. */
  readonly beside: readonly string[];
  /** Trace events that are not needed where these are. */
  readonly instead: readonly string[];
}

export interface CatalogueEntry {
  readonly type: string;
  readonly profile: Profile;
  /** `group/event` whose entries become events of this type. */
  readonly traceEvent: string;
  /** Trace events that must be enabled too, because the entry alone lacks some of the data. */
  readonly alsoTraced: readonly string[];
  /** How the paths are had where the kernel has kprobes; elsewhere they are not known, or looked up. */
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
  'paths are known where the kernel copies them (kprobes; "doctor" says of what): elsewhere only the numbers of unlink, ' +
  'rename and the like are';
const NOT_DEEP =
  ', and of chmod, chown and ftruncate what has at most eight names below its mount; of a truncate by path, none';
const LINK_LATER =
  'where the kernel does not copy it ("doctor" says so) the path of an open is the link of its descriptor, read some milliseconds after the call returned: a file ' +
  'that was closed by then has no path, one whose descriptor was given away and reused by a thread within that time may have ' +
  "the later one's; what io_uring and open_by_handle_at open is not seen";

/** What was given belongs to the open that had begun, and has not returned. */
const OPENS_BEGIN = calls('enter', 'openat', 'open', 'openat2', 'creat');

const FILE: readonly CatalogueEntry[] = [
  entry(
    'file.open',
    'file',
    'syscalls/sys_exit_openat',
    { 'file.descriptor': { field: 'ret' } },
    {
      alsoTraced: calls('exit', 'open', 'openat2', 'creat'),
      pathPoint: { name: pathEvent('open'), beside: OPENS_BEGIN, instead: [] },
      blindSpot: LINK_LATER,
    },
  ),
  named('unlink', 'unlinkat', 'unlink'),
  named('rmdir', 'rmdir'),
  named('rename', 'renameat2', 'rename', 'renameat'),
  named('mkdir', 'mkdirat', 'mkdir'),
  named('link', 'linkat', 'link'),
  named('symlink', 'symlinkat', 'symlink'),
  named('chmod', 'fchmodat', 'fchmodat2', 'chmod', 'fchmod'),
  named('chown', 'fchownat', 'chown', 'lchown', 'fchown'),
  entry(
    'file.truncate',
    'file',
    'syscalls/sys_enter_ftruncate',
    {},
    {
      alsoTraced: calls('enter', 'truncate'),
      pathPoint: {
        name: pathEvent('ftruncate'),
        beside: [callEvent('ftruncate')],
        instead: calls('enter', 'ftruncate'),
      },
      blindSpot: NO_PATH + NOT_DEEP,
    },
  ),
];

/** What is done to a file by its name: told as the call begins, by its trace event or by the probes. */
function named(operation: string, call: string, ...others: readonly string[]): CatalogueEntry {
  const [traceEvent = '', ...alsoTraced] = calls('enter', call, ...others);
  return entry(
    `file.${operation}`,
    'file',
    traceEvent,
    {},
    {
      alsoTraced,
      pathPoint: {
        name: pathEvent(operation),
        beside: [callEvent(operation)],
        instead: [traceEvent, ...alsoTraced],
      },
      blindSpot: operation.startsWith('ch') ? NO_PATH + NOT_DEEP : NO_PATH,
    },
  );
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

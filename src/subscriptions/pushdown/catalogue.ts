/**
 * Every event type that a node can be asked for: the trace events it is made
 * of, the profile that allows it, and which filter fields stand in the raw
 * entry as they are. What a filter can be pushed down to follows from here,
 * on the broker (the plan) and on the agent (kernel filters, raw predicates).
 */
import type { RawExpr } from './raw-expr.js';

/** `lite` is always recorded; the others only while somebody asks, where the operator allows them. */
export const PROFILES = ['lite', 'security', 'file', 'udp', 'syscall'] as const;
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

/**
 * Probes of the agent's own (source/paths/path-points.ts, source/calls/call-points.ts), by name; trace events are
 * `group/event`.
 */
export interface PathPoint {
  /** Has the paths, or what else a call names. */
  readonly name: string;
  /** The events that it is joined with, by thread. */
  readonly beside: readonly string[];
  /** Trace events that are not needed where these are. */
  readonly instead: readonly string[];
  /** Of another call that does the same, which may be there or not. */
  readonly second?: PathPoint;
}

export interface CatalogueEntry {
  readonly type: string;
  readonly profile: Profile;
  /** `group/event` whose entries become events of this type; undefined where only `probes` tell it. */
  readonly traceEvent: string | undefined;
  /** Trace events that must be enabled too, because the entry alone lacks some of the data. */
  readonly alsoTraced: readonly string[];
  /** How the paths, or what else is named, are had where the kernel has kprobes; elsewhere they are not known, or looked up. */
  readonly pathPoint: PathPoint | undefined;
  /** Names of the agent's own probes that tell it instead of all these, where the kernel takes them. */
  readonly probes: readonly string[];
  /** Filter field -> its place in the entry. The values are equal as 64-bit integers, always. */
  readonly raw: ReadonlyMap<string, RawRef>;
  /** Of a system call's begin: the fields that have its arguments, in order. */
  readonly args: readonly RawRef[];
  /** A sentence that says which of these events cannot be seen, whatever the kernel has. */
  readonly blindSpot: string | undefined;
  /** What cannot be seen besides where the kernel takes no probes: a sentence that names that condition. */
  readonly blindWithoutProbes: string | undefined;
}

function entry(
  type: string,
  profile: Profile,
  traceEvent: string | undefined,
  raw: Readonly<Record<string, RawRef>> = {},
  more: {
    readonly args?: readonly RawRef[];
    readonly alsoTraced?: readonly string[];
    readonly pathPoint?: PathPoint;
    readonly probes?: readonly string[];
    readonly blindSpot?: string;
    readonly blindWithoutProbes?: string;
  } = {},
): CatalogueEntry {
  const { args = [], alsoTraced = [], pathPoint, probes = [], blindSpot, blindWithoutProbes } = more;
  const refs = new Map(Object.entries(raw));
  return { type, profile, traceEvent, raw: refs, args, alsoTraced, pathPoint, probes, blindSpot, blindWithoutProbes };
}

/** All of a type's. */
export function pathPointsOf({ pathPoint }: CatalogueEntry): readonly PathPoint[] {
  if (pathPoint === undefined) return [];
  return pathPoint.second === undefined ? [pathPoint] : [pathPoint, pathPoint.second];
}

/** `group/event` of what is traced for a type where the kernel takes no probes. */
export function tracedEvents({ traceEvent, alsoTraced }: CatalogueEntry): readonly string[] {
  return traceEvent === undefined ? alsoTraced : [traceEvent, ...alsoTraced];
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
  pivot_root: ['new_root', 'put_old'],
  open_tree: ['dfd', 'filename', 'flags'],
  fsmount: ['fs_fd', 'flags', 'attr_flags'],
  fspick: ['dfd', 'path', 'flags'],
  mount_setattr: ['dfd', 'path', 'flags', 'uattr', 'usize'],
  setns: ['fd', 'flags'],
  unshare: ['unshare_flags'],
  bpf: ['cmd', 'uattr', 'size'],
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

/** Those that name something: their arguments, and the agent's own probes that have what they name. */
const NAMING_CALLS: Readonly<Record<string, { args: readonly string[]; points: readonly [string, ...string[]] }>> = {
  mount: { args: ['dev_name', 'dir_name', 'type', 'flags', 'data'], points: ['name_mount', 'place_mount'] },
  umount: { args: ['name', 'flags'], points: ['place_umount'] },
  fsopen: { args: ['_fs_name', 'flags'], points: ['name_fsopen'] },
  fsconfig: { args: ['fd', 'cmd', '_key', '_value', 'aux'], points: ['name_fsconfig'] },
  move_mount: {
    args: ['from_dfd', 'from_pathname', 'to_dfd', 'to_pathname', 'flags'],
    points: ['name_move_mount', 'place_move_mount'],
  },
  memfd_create: { args: ['uname', 'flags'], points: ['name_memfd', 'name_memfd_huge'] },
};
const NO_NAME =
  'what it names is known where the kernel has kprobes and describes itself ("doctor" says of what): elsewhere the ' +
  'numbers of the call are, and of pointers their addresses';

const SECURITY: readonly CatalogueEntry[] = [
  ...Object.entries(SECURITY_CALLS).map(([name, args]) =>
    entry(`security.${name}`, 'security', `syscalls/sys_enter_${name}`, argumentRefs(args), { args: refs(args) }),
  ),
  // Their entries are not filtered: which of them belong to a return has to be known of all.
  ...Object.entries(NAMING_CALLS).map(([name, { args, points }]) => {
    const [point, ...beside] = points;
    const pathPoint = { name: point, beside: [...beside, `syscalls/sys_exit_${name}`], instead: [] };
    const more = { args: refs(args), pathPoint, blindWithoutProbes: NO_NAME };
    return entry(`security.${name}`, 'security', `syscalls/sys_enter_${name}`, {}, more);
  }),
  entry('security.module_load', 'security', 'module/module_load'),
  entry('security.module_free', 'security', 'module/module_free'),
];

function refs(fields: readonly string[]): readonly RawRef[] {
  return fields.map((field) => ({ field }));
}

function argumentRefs(args: readonly string[]): Record<string, RawRef> {
  return Object.fromEntries(args.map((field, index) => [`syscall.arg${index}`, { field }]));
}

const REGISTERS = [0, 1, 2, 3, 4, 5].map((element) => ({ field: 'args', element }));

const SYSCALL: readonly CatalogueEntry[] = [
  entry(
    'syscall.enter',
    'syscall',
    'raw_syscalls/sys_enter',
    {
      'syscall.id': { field: 'id' },
      ...Object.fromEntries(REGISTERS.map((ref) => [`syscall.arg${ref.element}`, ref])),
    },
    { args: REGISTERS },
  ),
  entry('syscall.exit', 'syscall', 'raw_syscalls/sys_exit', {
    'syscall.id': { field: 'id' },
    'syscall.result': { field: 'ret' },
  }),
];

const NO_PATH =
  'paths are known where the kernel copies them (kprobes; "doctor" says of what): elsewhere only the numbers of unlink, ' +
  'rename and the like are';
const NOT_DEEP = 'a path of chmod, chown or truncate with more than eight names below its mount is not known';
const LINK_LATER =
  'where the kernel does not copy it ("doctor" says so) the path of an open is the link of its descriptor, read some ' +
  'milliseconds after the call returned: a file that was closed by then has no path, one whose descriptor got another ' +
  "file without an open (dup2, a file passed over a socket) may have that one's";
const OTHER_OPENS = 'what io_uring and open_by_handle_at open is not seen';

/** They have the flags. What was given belongs to the open that had begun and has not returned, and its descriptor may be there. */
const OPENS_BEGIN = calls('enter', 'openat', 'open', 'openat2', 'creat');

const FILE: readonly CatalogueEntry[] = [
  entry(
    'file.open',
    'file',
    'syscalls/sys_exit_openat',
    { 'file.descriptor': { field: 'ret' } },
    {
      alsoTraced: [...calls('exit', 'open', 'openat2', 'creat'), ...OPENS_BEGIN],
      pathPoint: { name: pathEvent('open'), beside: [], instead: [] },
      blindSpot: OTHER_OPENS,
      blindWithoutProbes: LINK_LATER,
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
        second: {
          name: pathEvent('truncate'),
          beside: [callEvent('truncate')],
          instead: calls('enter', 'truncate'),
        },
      },
      blindSpot: NOT_DEEP,
      blindWithoutProbes: NO_PATH,
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
      ...(operation.startsWith('ch') ? { blindSpot: NOT_DEEP } : {}),
      blindWithoutProbes: NO_PATH,
    },
  );
}

function calls(side: 'enter' | 'exit', ...names: readonly string[]): readonly string[] {
  return names.map((name) => `syscalls/sys_${side}_${name}`);
}

/**
 * Without kprobes: the routes that the kernel looks up for datagrams, and what says in which call it did. In the order in
 * which they are switched on, the reverse of that off: a route of which the call is not seen would be taken for another's.
 */
const ROUTES = [
  'syscalls/sys_exit_connect',
  'syscalls/sys_enter_connect',
  'sock/sock_send_length',
  'fib/fib_table_lookup',
  'fib6/fib6_table_lookup',
];
const NO_ROUTE =
  'where the kernel has no kprobes ("doctor" says so) datagrams are known by the routes that it looks up for them: not ' +
  'what connected sockets send, nor to multicast and unspecified addresses, and an address that a socket was not given is absent';
const NO_QUESTIONS = 'there are none where the kernel has no kprobes ("doctor" says so)';
const PORT_53 = 'of questions asked of DNS only those in datagrams to port 53 are seen, not those by TCP, TLS or HTTPS';

const UDP: readonly CatalogueEntry[] = [
  datagrams('network.udp.connect', ['udp_connect', 'udp_connect6'], NO_ROUTE),
  datagrams('network.udp.send', ['udp_send', 'udp_send6', 'udp_end', 'udp_end6'], NO_ROUTE),
  entry(
    'network.dns.query',
    'udp',
    undefined,
    {},
    { probes: ['udp_query', 'udp_query6'], blindSpot: PORT_53, blindWithoutProbes: NO_QUESTIONS },
  ),
];

function datagrams(type: string, probes: readonly string[], blindWithoutProbes: string): CatalogueEntry {
  const [traceEvent, ...alsoTraced] = ROUTES;
  return entry(type, 'udp', traceEvent, {}, { alsoTraced, probes, blindWithoutProbes });
}

const UDP_PROTOCOL = 17n;
/** Ports stand in packets with the higher byte first. */
const DNS_PORT_IN_PACKETS = 0x3500n;
/** The first byte of an IPv4 header without options; behind options the port is elsewhere. */
const NO_OPTIONS = 0x45n;
/** include/net/flow.h: the interface that routes for packets of the machine's own are looked up with. */
const LOOPBACK = 1n;

function is(field: string, value: bigint, operator: '==' | '!=' = '=='): RawExpr {
  return { kind: 'compare', ref: { field }, operator, value };
}

/** By a trace event's own name: the entries that are worth recording whatever is asked for. */
export const STANDING_CONDITIONS: ReadonlyMap<string, RawExpr> = new Map<string, RawExpr>([
  ...['udp_connect', 'udp_connect6', 'udp_send', 'udp_send6', 'sock_send_length'].map(
    (name) => [name, is('protocol', UDP_PROTOCOL)] as const,
  ),
  ...['fib_table_lookup', 'fib6_table_lookup'].map(
    (name) => [name, { kind: 'and', operands: [is('proto', UDP_PROTOCOL), is('iif', LOOPBACK)] }] as const,
  ),
  [
    'udp_query',
    {
      kind: 'and',
      operands: [
        is('protocol', UDP_PROTOCOL),
        { kind: 'or', operands: [is('peer_port', DNS_PORT_IN_PACKETS), is('header', NO_OPTIONS, '!=')] },
      ],
    },
  ],
  ['udp_query6', { kind: 'and', operands: [is('protocol', UDP_PROTOCOL), is('peer_port', DNS_PORT_IN_PACKETS)] }],
]);

/** The field whose changes a probe of the agent's own tells, of every event that has a process. */
export const USER_FIELD = 'process.user';

/** Costs for a node, as measured on Linux 6.18, for people. */
export const EVENT_COSTS = {
  lite:
    'ordinary work is slowed little, by up to a fifth what does nothing but start programs or open connections (README, ' +
    '"Measured"); 1 % of a core for every 33,000 recorded events/s',
  modules: 'next to nothing, as modules are seldom loaded',
  syscall:
    'while any such event is on every system call of every process takes 55-71 ns more (18-21 % on dd bs=1); one that is ' +
    'recorded about 300 ns more, one that the filter leaves out 70-200 ns',
  udp:
    'a datagram takes 0.3-1 µs more, one of a connected socket 0.1-0.7, a send by TCP no time that could be measured; where ' +
    'the kernel has no kprobes every system call of every process takes 55-71 ns more. With kprobes this was not measured',
} as const;

/** By event type. Types of the topic `host` are the agent's own and not here. */
export const CATALOGUE: ReadonlyMap<string, CatalogueEntry> = new Map(
  [...LITE, ...SECURITY, ...SYSCALL, ...FILE, ...UDP].map((each) => [each.type, each]),
);

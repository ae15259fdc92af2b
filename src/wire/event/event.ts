/**
 * An event in memory at the node: filters evaluate it and the event writer encodes it. The shape mirrors
 * proto/backplane/v1/event.proto with camelCase names; unset fields are undefined.
 */
import type { JsonValue } from '../json-value.js';
import type { Position } from '../position.js';

export interface BusEvent {
  /** "process.exec" and so on: one of EVENT_TYPES. */
  readonly type: string;
  readonly topic: string;
  readonly position: Position;
  /** Wall time, nanoseconds since 1970, non-decreasing in position order. */
  readonly wallNs: bigint;
  readonly process?: ProcessContext | undefined;
  readonly container?: ContainerContext | undefined;
  readonly k8s?: KubernetesContext | undefined;
  readonly network?: NetworkContext | undefined;
  readonly dns?: DnsContext | undefined;
  readonly signal?: SignalContext | undefined;
  readonly notice?: NoticeContext | undefined;
  readonly raw?: RawContext | undefined;
  readonly syscall?: SyscallContext | undefined;
  readonly file?: FileContext | undefined;
  readonly mount?: MountContext | undefined;
  readonly object?: ObjectContext | undefined;
  readonly app?: AppContext | undefined;
  readonly alert?: AlertContext | undefined;
  readonly audit?: AuditContext | undefined;
  /** Where it is evaluated elsewhere than on the node of its own. */
  readonly node?: string | undefined;
  /** The acting process belongs to this Backplane; such events are left out unless asked for. */
  readonly self?: boolean | undefined;
}

export interface ProcessContext {
  readonly pid: number;
  readonly parentPid?: number | undefined;
  readonly comm?: string | undefined;
  readonly executable?: ExecutableContext | undefined;
  readonly parent?: ParentContext | undefined;
  /** Names of the programs above it, its parent's first; only where somebody names it. */
  readonly ancestors?: readonly string[] | undefined;
  readonly commandArgs?: readonly string[] | undefined;
  readonly commandArgsMissed?: boolean | undefined;
  readonly commandArgsTruncated?: boolean | undefined;
  readonly redactions?: number | undefined;
  readonly workingDirectory?: string | undefined;
  readonly user?: UserContext | undefined;
  /** Wall time, nanoseconds since 1970. */
  readonly creationTimeNs?: bigint | undefined;
  readonly cgroup?: { readonly path: string } | undefined;
  readonly threadId?: number | undefined;
  readonly previousComm?: string | undefined;
  /** process.exit: one of them, where the kernel says how it ended; only where somebody names it. */
  readonly exitCode?: number | undefined;
  readonly exitSignal?: string | undefined;
  /** Only where somebody names them. */
  readonly loginUser?: UserContext | undefined;
  readonly tty?: string | undefined;
  /** Names of fields that nobody read of this process: see the proto. */
  readonly inferred?: readonly string[] | undefined;
}

export interface ContainerContext {
  readonly id: string;
  readonly name?: string | undefined;
  /** Name without tag and digest. */
  readonly image?: { readonly name: string; readonly tags?: readonly string[] | undefined } | undefined;
  /** No runtime said in time what it is: the rest is absent, and may be anything. */
  readonly unresolved?: boolean | undefined;
}

export interface KubernetesContext {
  readonly podName: string;
  readonly podUid?: string | undefined;
  readonly namespaceName: string;
}

export interface UserContext {
  readonly id: number;
  /** Only where somebody names it. */
  readonly name?: string | undefined;
}

/** Who started it, as that is at the event. */
export interface ParentContext {
  readonly pid: number;
  readonly executable?: ExecutableContext | undefined;
  /** Only where somebody names them. */
  readonly commandArgs?: readonly string[] | undefined;
  readonly creationTimeNs?: bigint | undefined;
}

export interface ExecutableContext {
  readonly path: string;
  readonly name: string;
  /** Only where somebody names it. */
  readonly deleted?: boolean | undefined;
}

export interface Endpoint {
  /** Empty where it is not known. */
  readonly address: string;
  /** 0 where it is not known. */
  readonly port: number;
}

export interface NetworkContext {
  readonly type: 'ipv4' | 'ipv6';
  readonly transport: 'tcp' | 'udp';
  readonly local: Endpoint;
  readonly peer: Endpoint;
  /**
   * network.tcp.connect: no connection came about. network.tcp.accept: it ended before a process took it.
   * network.udp.connect: the kernel refused the peer.
   */
  readonly failed?: boolean | undefined;
  /** network.udp.send: those to this peer since the last such event, this one included. */
  readonly datagrams?: number | undefined;
}

/** What was asked of the domain name system. */
export interface DnsContext {
  readonly question?: { readonly name: string; readonly type: string } | undefined;
  readonly questionMissed?: boolean | undefined;
  readonly redactions?: number | undefined;
}

export interface SignalContext {
  readonly number: number;
  readonly name: string;
  readonly targetPid: number;
  readonly targetComm: string;
  readonly code: number;
  readonly result: number;
}

export interface NoticeContext {
  readonly reason: string;
  readonly message: string;
  readonly lost?: number | undefined;
  readonly lostUnknown?: boolean | undefined;
  readonly source: string;
}

/** A kernel event without a typed form of its own: its fields as text. */
export interface RawContext {
  readonly name: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** Numbers are exact: 64-bit values as two's complement. */
export interface SyscallContext {
  readonly id: bigint;
  /** Empty for a number that has no known name. */
  readonly name: string;
  readonly args: readonly bigint[];
  readonly result: bigint;
  /** The event is the call's return, not its begin. */
  readonly returned: boolean;
  /** The kernel's name of what the call is to do: BPF_PROG_LOAD. */
  readonly command?: string | undefined;
  /** As the caller's namespace numbers it; of kill also a group. */
  readonly targetPid?: number | undefined;
}

export interface MountContext {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  /** Not all that the call named is known. */
  readonly missed: boolean;
}

/** Something in the kernel that has a name: a memfd, a module. */
export interface ObjectContext {
  readonly name: string;
  readonly nameMissed: boolean;
}

export interface FileContext {
  readonly path: string;
  readonly pathMissed: boolean;
  /** Not as the program gave it: where the file is, or where the descriptor that an open returned led to. */
  readonly pathResolved?: boolean | undefined;
  /** The name that a rename, link or symlink makes. */
  readonly newPath?: string | undefined;
  /**
   * The directory that the path starts from, of file.symlink newPath's, or AT_FDCWD (-100). For file.open the call's
   * result: below 0 it is the error.
   */
  readonly descriptor: number;
  readonly flags: number;
  readonly mode: number;
  /** Of file.chown, as the program gave them: -1 leaves one as it is. */
  readonly ownerId?: number | undefined;
  readonly groupId?: number | undefined;
  /** Of file.truncate, in bytes. */
  readonly size?: bigint | undefined;
  /** The number of the mount namespace that a resolved path is of; absent: that of the machine's first process. */
  readonly mountNamespace?: number | undefined;
}

/** What an application published. Times are wall times, nanoseconds since 1970. */
export interface AppContext {
  readonly id: string;
  readonly source: string;
  readonly subject?: string | undefined;
  readonly timeNs?: bigint | undefined;
  readonly traceparent?: string | undefined;
  readonly key?: string | undefined;
  readonly body?: JsonValue | undefined;
}

export interface AlertContext {
  readonly id: string;
  readonly revision?: number | undefined;
  readonly state?: string | undefined;
  readonly ruleId?: string | undefined;
  readonly ruleVersion?: string | undefined;
  readonly title?: string | undefined;
  readonly severity?: number | undefined;
  readonly key?: string | undefined;
  readonly nodes?: readonly string[] | undefined;
  readonly firstSeenNs?: bigint | undefined;
  readonly lastSeenNs?: bigint | undefined;
  readonly occurrences?: number | undefined;
  readonly details?: JsonValue | undefined;
}

export interface AuditContext {
  readonly action: string;
  readonly identity?: string | undefined;
  readonly peer?: string | undefined;
  readonly outcome: 'done' | 'refused';
  readonly code?: string | undefined;
  readonly message?: string | undefined;
  readonly count?: number | undefined;
  readonly details?: JsonValue | undefined;
}

/** Every event type of the kernel's topics, with a line for people. Other topics: see document-topics.ts. */
export const TOPICS: Readonly<Record<string, { readonly description: string; readonly types: readonly string[] }>> = {
  process: {
    description: 'programs started, forked, renamed, signalled and ended',
    types: ['process.exec', 'process.fork', 'process.exit', 'process.rename', 'process.signal'],
  },
  network: {
    description: 'TCP connections opened, accepted, listened for and closed; UDP peers, datagrams, names asked of DNS',
    types: [
      'network.tcp.connect',
      'network.tcp.accept',
      'network.tcp.listen',
      'network.tcp.close',
      'network.udp.connect',
      'network.udp.send',
      'network.dns.query',
    ],
  },
  security: {
    description: 'calls that gain or use privilege: ptrace, mount, namespaces, bpf, user ids, kill, modules',
    types: [
      'security.ptrace',
      'security.mount',
      'security.umount',
      'security.fsopen',
      'security.fsconfig',
      'security.move_mount',
      'security.pivot_root',
      'security.open_tree',
      'security.fsmount',
      'security.fspick',
      'security.mount_setattr',
      'security.setns',
      'security.unshare',
      'security.bpf',
      'security.memfd_create',
      'security.process_vm_readv',
      'security.process_vm_writev',
      'security.setuid',
      'security.setgid',
      'security.setreuid',
      'security.setregid',
      'security.setresuid',
      'security.setresgid',
      'security.kill',
      'security.tkill',
      'security.tgkill',
      'security.module_load',
      'security.module_free',
    ],
  },
  file: {
    description: 'files opened, unlinked, renamed, linked and given other modes, directories made and removed',
    types: [
      'file.open',
      'file.unlink',
      'file.rmdir',
      'file.rename',
      'file.mkdir',
      'file.link',
      'file.symlink',
      'file.chmod',
      'file.chown',
      'file.truncate',
    ],
  },
  syscall: {
    description: 'every system call, its arguments and its result',
    types: ['syscall.enter', 'syscall.exit'],
  },
  host: {
    description: 'agents about themselves: start, stop, loss, degraded',
    types: ['host.start', 'host.stop', 'host.loss', 'host.degraded'],
  },
};

export function topicOf(type: string): string {
  return type.slice(0, type.indexOf('.'));
}

const MOUNTING = ['mount', 'umount', 'fsopen', 'fsconfig', 'move_mount'].map((call) => `security.${call}`);
const MODULES = ['module_load', 'module_free'].map((call) => `security.${call}`);
const NAMED_OBJECTS = ['security.memfd_create', ...MODULES];

/** Event parts that only some types have. Any event may have a part that is not listed here. */
const CARRIERS: Readonly<Record<string, (type: string, topic: string) => boolean>> = {
  network: (_type, topic) => topic === 'network',
  dns: (type) => type === 'network.dns.query',
  signal: (type) => type === 'process.signal',
  notice: (_type, topic) => topic === 'host',
  raw: (type) => MODULES.includes(type),
  syscall: (type, topic) => topic === 'syscall' || (topic === 'security' && !MODULES.includes(type)),
  file: (_type, topic) => topic === 'file',
  mount: (type) => MOUNTING.includes(type),
  object: (type) => NAMED_OBJECTS.includes(type),
  // Only of topics whose types are not known here.
  app: () => false,
  alert: () => false,
  audit: () => false,
};

const KNOWN_TYPES: ReadonlySet<string> = new Set(Object.values(TOPICS).flatMap(({ types }) => types));

/** False only when no event of this type has the part (`network`, `file`, ...) of BusEvent. */
export function carries(type: string, part: string): boolean {
  const carrier = Object.hasOwn(CARRIERS, part) ? CARRIERS[part] : undefined;
  return carrier === undefined || !KNOWN_TYPES.has(type) || carrier(type, topicOf(type));
}

/**
 * Turns the kernel's trace events into Backplane's typed ones. Called in
 * position order for every recorded event of these kinds, because the process
 * and socket tables follow what happens whether or not somebody asks for it.
 */
import { constants } from 'node:os';
import type { BusEvent, NetworkContext, ProcessContext } from '../../wire/event/event.js';
import type { Position } from '../../wire/position.js';
import type { Origin, RecordedExec, RecordedQuery } from '../recorder/recording.js';
import { containerId } from '../source/cgroups.js';
import type { FieldValues } from '../source/pages/decoder.js';
import type { FormatTable } from '../source/pages/format.js';
import { ipv4Text, ipv6Text, isV4Mapped } from './addresses.js';
import { CallJoin, namesSomething } from './calls/call-join.js';
import { ContainerTable } from './containers/container-table.js';
import { DATAGRAM_EVENTS, DatagramEvents } from './datagrams/datagram-events.js';
import { PathJoin } from './paths/path-join.js';
import type { ProcessState } from './process-state.js';
import { ProcessTable } from './process-table.js';
import { type SocketMeaning, SocketTable } from './socket-table.js';
import { isOthersEvent, onDemandParts, onDemandType, returnedParts } from './syscall-events.js';
import type { NamedContext, TimelineInterest } from './timeline-sink.js';

/** One decoded trace event, before it has a meaning. */
export interface TraceEvent {
  readonly name: string;
  /** common_pid: the task on the CPU, which in interrupt context has nothing to do with the event. */
  readonly pid: number;
  /** common_flags. */
  readonly flags: number;
  readonly values: FieldValues;
  /** Path of the file that was opened, where it could be read beside the event. */
  path?: string;
  /** Of a datagram to the port of DNS: what it asked, where that was copied beside the event. */
  query?: RecordedQuery;
}

export interface EventPlace {
  readonly position: Position;
  readonly wallNs: bigint;
}

/**
 * The trace events that context comes from, or whose meaning depends on those before them. Together with those of
 * ON_DEMAND they are all that have a typed form.
 */
export const TYPED_TRACE_EVENTS = [
  'sched_process_exec',
  'sched_process_exit',
  'task_newtask',
  'task_rename',
  'signal_generate',
  'inet_sock_set_state',
  'do_exit',
  'do_group_exit',
  'security_sock_graft',
  'commit_creds',
  'cgroup_attach_task',
  'cgroup_transfer_tasks',
  ...DATAGRAM_EVENTS,
] as const;
const OF_DATAGRAMS: ReadonlySet<string> = new Set(DATAGRAM_EVENTS);
const DATAGRAM_TYPE = /^network\.(udp|dns)\./;

/** Those that the container of their process is waited for. The rest only helps to tell others, or is on demand. */
const WAITS_FOR_CONTAINER: ReadonlySet<string> = new Set([
  'sched_process_exec',
  'sched_process_exit',
  'task_newtask',
  'task_rename',
  'signal_generate',
  'inet_sock_set_state',
  'security_sock_graft',
  ...DATAGRAM_EVENTS,
]);
/** The process that they are about is in their values. */
const ABOUT_ANOTHER: ReadonlySet<string> = new Set(['sched_process_exec', 'sched_process_exit', 'task_rename']);

/** A process goes to another cgroup. */
const MOVES: ReadonlySet<string> = new Set(['cgroup_attach_task', 'cgroup_transfer_tasks']);

/** include/uapi/linux/sched.h */
const CLONE_PARENT = 0x8000n;
export const CLONE_THREAD = 0x10000n;
const CLONE_INTO_CGROUP = 0x2_0000_0000n;
/** TRACE_FLAG_HARDIRQ | TRACE_FLAG_SOFTIRQ, include/linux/trace_events.h */
const IN_INTERRUPT = 0x08 | 0x10;
/** TRACE_FLAG_BH_OFF: in process context, but on behalf of the network, as a tunnel works for what it carries. */
const BOTTOM_HALVES_OFF = 0x80;
const AF_INET6 = 10;
const IPPROTO_TCP = 6;

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number as number, name]));

const SIGKILL = 9;

function statusOf({ values }: TraceEvent): number {
  return Number(BigInt.asUintN(16, values['code'] as bigint));
}

/** How a process ended, from what wait() would tell; nothing where that is not known. */
function endOf(status: number | undefined): Pick<ProcessContext, 'exitCode' | 'exitSignal'> {
  if (status === undefined) return {};
  const signal = status & 0x7f;
  return signal === 0 ? { exitCode: status >> 8 } : { exitSignal: signalName(signal) };
}

const TCP_SYN_SENT = 2;
const TCP_LISTEN = 10;

/** Whether a process connects or listens, as the user that it is. */
export function actsOnNetwork({ name, flags, values }: TraceEvent): boolean {
  if (name !== 'inet_sock_set_state' || (flags & IN_INTERRUPT) !== 0) return false;
  return Number(values['newstate']) === TCP_SYN_SENT || Number(values['newstate']) === TCP_LISTEN;
}

function signalName(number: number): string {
  return SIGNAL_NAMES.get(number) ?? (number >= 34 ? `SIGRTMIN+${number - 34}` : `SIG${number}`);
}

export class KernelEvents {
  readonly processes = new ProcessTable();
  readonly sockets = new SocketTable();
  readonly paths = new PathJoin();
  readonly calls = new CallJoin();
  readonly datagrams = new DatagramEvents();
  /** Not cleared: an id is never another container's. */
  readonly containers = new ContainerTable();
  /** See TimelineInterest, of both. */
  named: NamedContext | undefined;
  #wantsExec: TimelineInterest['wantsExec'];
  /** `address:port`: see SelfSockets. */
  brokers: ReadonlySet<string> = new Set();

  ask({ named, wantsExec }: Pick<TimelineInterest, 'named' | 'wantsExec'>): void {
    this.named = named;
    this.#wantsExec = wantsExec;
  }

  /** What is told depends on the events that the kernel has, and on the machine. */
  recordedWith(formats: FormatTable, { selfSockets, mountNamespace }: Origin): void {
    this.brokers = new Set(selfSockets?.brokers);
    this.paths.usualNamespace = mountNamespace;
    const has = (name: string) => formats.byName(name) !== undefined;
    this.sockets.tellsAccepts = has('security_sock_graft');
    this.datagrams.tellsConnects = has('sys_enter_connect') && has('sys_exit_connect');
    this.calls.begin(has);
    this.processes.follows = { users: has('commit_creds'), cgroups: has('cgroup_attach_task') };
  }

  /** Another recording begins, of which nothing is known. */
  clear(): void {
    this.processes.clear();
    this.sockets.clear();
    this.paths.clear();
    this.calls.clear();
    this.datagrams.clear();
  }

  /** Events are missing from here on: nothing is joined with one from before. */
  interrupt(): void {
    this.paths.clear();
    this.calls.clear();
    this.datagrams.interrupt();
  }

  /** Events of these types were off until here: nothing is joined with one from before. */
  switchedOn(types: ReadonlySet<string>): void {
    this.paths.switchedOn(types);
    this.calls.switchedOn(types);
    if ([...types].some((type) => DATAGRAM_TYPE.test(type))) this.datagrams.interrupt();
  }

  /**
   * Notes the container that a process is moved into, as soon as that is read: runtimes do so before the container's first
   * program runs, and what is held back must not keep it from being asked about meanwhile.
   */
  noteContainer({ name, values }: TraceEvent): void {
    if (MOVES.has(name)) this.containers.seen(containerId(String(values['dst_path'])));
  }

  /** The container of the process that an event is about, where nothing is recorded of it and something will be. */
  awaits({ name, pid, flags, values }: TraceEvent, exec: RecordedExec | undefined): string | undefined {
    if (!this.containers.asked || !WAITS_FOR_CONTAINER.has(name)) return undefined;
    const isAboutAnother = ABOUT_ANOTHER.has(name);
    if (!isAboutAnother && (flags & IN_INTERRUPT) !== 0) return undefined;
    const known = this.processes.of(isAboutAnother ? Number(values['pid']) : pid);
    const { containerId } = exec?.process?.cgroup === undefined ? (known ?? {}) : exec.process;
    return containerId === undefined || this.containers.knows(containerId) ? undefined : containerId;
  }

  /**
   * Follows one event; returns its typed form, or undefined where it has none
   * or `wants` says that nobody asks for its type.
   */
  follow(
    event: TraceEvent,
    place: EventPlace,
    exec: RecordedExec | undefined,
    wants: (type: string) => boolean,
  ): BusEvent | undefined {
    switch (event.name) {
      case 'sched_process_exec':
        return this.#exec(event, place, exec, wants);
      case 'sched_process_exit':
        return this.#exit(event, place, wants);
      case 'task_newtask':
        return this.#fork(event, place, wants);
      case 'task_rename':
        return this.#rename(event, place, wants);
      case 'signal_generate':
        return this.#signal(event, place, wants);
      case 'inet_sock_set_state':
        return this.#socket(event, place, wants);
      case 'do_exit':
        this.#threadEnds(event);
        return undefined;
      case 'do_group_exit':
        this.#groupEnds(event);
        return undefined;
      case 'security_sock_graft':
        return this.#accept(event, place, wants);
      case 'commit_creds':
        this.#userChanges(event);
        return undefined;
      case 'cgroup_attach_task':
      case 'cgroup_transfer_tasks':
        this.#moves(event);
        return undefined;
      default:
        return OF_DATAGRAMS.has(event.name) ? this.#datagram(event, place, wants) : this.#onDemand(event, place, wants);
    }
  }

  #exec(event: TraceEvent, place: EventPlace, exec: RecordedExec | undefined, wants: (type: string) => boolean) {
    const pid = Number(event.values['pid']);
    this.paths.forget(pid);
    this.datagrams.forget(pid);
    const process = this.processes.exec(pid, String(event.values['filename']), exec?.process);
    const startNs = exec?.process?.startTimeNs;
    this.processes.started?.push(pid);
    if (startNs !== undefined) process.createdWallNs ??= place.wallNs - (place.position.timeNs - startNs);
    if (!wants('process.exec')) return undefined;
    // One that is late has no record with it, and is told as late whatever its arguments are.
    if (exec && this.#wantsExec?.(process.args) === false) return undefined;
    return this.#typed('process.exec', place, process, pid);
  }

  /** As wait() has it: a process ends as its first thread does. */
  #threadEnds(event: TraceEvent): void {
    const process = this.processes.ensure(event.pid);
    if (event.pid === process.pid) process.exitStatus = statusOf(event);
  }

  /**
   * All threads are to end. The first is told to end so, too; where it had ended before, the process ends as the one that
   * said so. Those that are ended by another say SIGKILL.
   */
  #groupEnds(event: TraceEvent): void {
    const process = this.processes.ensure(event.pid);
    if (process.exitStatus === undefined) process.groupEnds = 'with the first';
    if (process.groupEnds === 'with the first') return;
    if (process.groupEnds === 'behind the first' && process.exitStatus !== SIGKILL) return;
    process.exitStatus = statusOf(event);
    process.groupEnds = 'behind the first';
  }

  #exit(event: TraceEvent, place: EventPlace, wants: (type: string) => boolean) {
    const threadId = Number(event.values['pid']);
    this.paths.forget(threadId);
    this.calls.forget(threadId);
    this.datagrams.forget(threadId);
    const process = this.processes.ensure(threadId);
    // Kernels before 6.15 do not say whether the group died; there the first thread's end stands for it.
    const groupDead = event.values['group_dead'];
    const last = groupDead === undefined ? threadId === process.pid : Boolean(groupDead);
    if (last && this.sockets.listens(process)) this.sockets.ended(process, this.processes.childrenOf(process.pid));
    this.processes.exit(threadId, process, last);
    if (!last || !wants('process.exit')) return undefined;
    const typed = this.#typed('process.exit', place, process, process.pid);
    // Made just now, and nobody else has it: not copied.
    if (this.named) Object.assign(typed.process!, endOf(process.exitStatus));
    return typed;
  }

  #fork(event: TraceEvent, place: EventPlace, wants: (type: string) => boolean) {
    const childPid = Number(event.values['pid']);
    const flags = BigInt(event.values['clone_flags'] as bigint);
    const parent = this.processes.ensure(event.pid);
    if (flags & CLONE_THREAD) {
      this.processes.addThread(childPid, parent);
      return undefined;
    }
    const parentPid = flags & CLONE_PARENT ? (parent.parentPid ?? 0) : parent.pid;
    const isPlaced = (flags & CLONE_INTO_CGROUP) !== 0n;
    const comm = String(event.values['comm']);
    const child = this.processes.fork(childPid, parent, parentPid, comm, place.wallNs, isPlaced);
    this.processes.started?.push(childPid);
    return wants('process.fork') ? this.#typed('process.fork', place, child, childPid) : undefined;
  }

  /** A thread may have a user of its own; its process has that of its first thread, as in /proc. */
  #userChanges({ pid, values }: TraceEvent): void {
    const process = this.processes.ensure(pid);
    if (pid === process.pid) this.processes.userChanged(process, Number(values['user']));
  }

  /** The first thread's place is its process's, as in /proc. */
  #moves({ values }: TraceEvent): void {
    const pid = Number(values['pid']);
    const process = this.processes.ensure(pid);
    if (pid !== process.pid) return;
    this.processes.moved(process, Number(values['dst_root']), String(values['dst_path']));
  }

  #rename(event: TraceEvent, place: EventPlace, wants: (type: string) => boolean): BusEvent | undefined {
    const threadId = Number(event.values['pid']);
    const process = this.processes.ensure(threadId);
    const comm = String(event.values['newcomm']);
    if (threadId === process.pid) process.comm = comm;
    if (!wants('process.rename')) return undefined;
    const typed = this.#typed('process.rename', place, process, threadId);
    Object.assign(typed.process!, { comm, previousComm: String(event.values['oldcomm']) });
    return typed;
  }

  #signal(event: TraceEvent, place: EventPlace, wants: (type: string) => boolean): BusEvent | undefined {
    if (!wants('process.signal')) return undefined;
    const sender = event.flags & IN_INTERRUPT ? undefined : this.processes.ensure(event.pid);
    const number = Number(event.values['sig']);
    const target = Number(event.values['pid']);
    const signal = {
      number,
      name: signalName(number),
      targetPid: this.processes.of(target)?.pid ?? target,
      targetComm: String(event.values['comm']),
      code: Number(event.values['code']),
      result: Number(event.values['result']),
    };
    return Object.assign(this.#typed('process.signal', place, sender, event.pid), { signal });
  }

  /** System calls happen in process context: common_pid is the task that made them. */
  #onDemand(event: TraceEvent, place: EventPlace, wants: (type: string) => boolean): BusEvent | undefined {
    if (this.paths.follow(event.pid, event.name, event.values)) return undefined;
    const type = onDemandType(event.name);
    if (type !== undefined && namesSomething(type)) return this.#naming(type, event, place, wants);
    const given = type?.startsWith('file.') ? this.paths.take(event.pid, type === 'file.open') : undefined;
    if (type === undefined || !wants(type) || isOthersEvent(event.name, event.values)) return undefined;
    const process = event.flags & IN_INTERRUPT ? undefined : this.processes.ensure(event.pid);
    return {
      ...this.#typed(type, place, process, event.pid),
      ...onDemandParts(event.name, event.values, { link: event.path, given }),
    };
  }

  #naming(type: string, event: TraceEvent, place: EventPlace, wants: (type: string) => boolean): BusEvent | undefined {
    const { pid, name, values } = event;
    if (this.calls.follow(pid, name, type, values)) return undefined;
    const call = name.startsWith('sys_exit_') ? this.calls.take(pid, type) : undefined;
    if (!wants(type)) return undefined;
    const parts = call === undefined ? onDemandParts(name, values) : returnedParts(call, values);
    return { ...this.#typed(type, place, this.processes.ensure(pid), pid), ...parts };
  }

  #socket(event: TraceEvent, place: EventPlace, wants: (type: string) => boolean): BusEvent | undefined {
    const v = event.values;
    if (Number(v['protocol']) !== IPPROTO_TCP) return undefined;
    const ipv6 = Number(v['family']) === AF_INET6 && !isV4Mapped(v['saddr_v6'] as readonly number[]);
    const addressText = (short: string, long: string) =>
      ipv6 ? ipv6Text(v[long] as readonly number[]) : ipv4Text(v[short] as readonly number[]);
    const local = { address: addressText('saddr', 'saddr_v6'), port: Number(v['sport']) };
    const meaning: SocketMeaning | undefined = this.sockets.follow({
      socket: v['skaddr'] as bigint,
      oldState: Number(v['oldstate']),
      newState: Number(v['newstate']),
      localAddress: local.address,
      localPort: local.port,
      wallNs: place.wallNs,
      process: event.flags & IN_INTERRUPT ? undefined : this.processes.ensure(event.pid),
    });
    if (meaning === undefined) return undefined;
    const peer = { address: addressText('daddr', 'daddr_v6'), port: Number(v['dport']) };
    const network = { type: ipv6 ? 'ipv6' : 'ipv4', transport: 'tcp', local, peer } as const;
    if (meaning.waits) this.sockets.wait(v['skaddr'] as bigint, network);
    return meaning.waits ? undefined : this.#connection(meaning, network, place, wants);
  }

  #datagram(event: TraceEvent, place: EventPlace, wants: (type: string) => boolean): BusEvent | undefined {
    const { name, values, query, flags, pid } = event;
    const process = flags & (IN_INTERRUPT | BOTTOM_HALVES_OFF) ? undefined : this.processes.ensure(pid);
    const found = this.datagrams.follow({
      ...{ name, values, query, timeNs: place.position.timeNs },
      ...{ threadId: process && pid, pid: process?.pid },
    });
    if (found === undefined || !wants(found.type)) return undefined;
    const { type, ...parts } = found;
    const typed = this.#typed(type, place, process, pid);
    return { ...typed, ...parts, self: typed.self };
  }

  /** A process has taken a connection: only then is it known who accepts it. */
  #accept(event: TraceEvent, place: EventPlace, wants: (type: string) => boolean): BusEvent | undefined {
    const process = this.processes.ensure(event.pid);
    const network = this.sockets.taken(event.values['socket'] as bigint, process);
    return network && this.#connection({ type: 'network.tcp.accept', process }, network, place, wants);
  }

  #connection(
    { type, process, failed }: SocketMeaning,
    network: NetworkContext,
    place: EventPlace,
    wants: (type: string) => boolean,
  ): BusEvent | undefined {
    if (!wants(type)) return undefined;
    const own = this.#isBroker(network.local) || this.#isBroker(network.peer);
    const context = this.#typed(type, place, process, process?.pid);
    return { ...context, network: { ...network, failed }, self: own || context.self };
  }

  #isBroker({ address, port }: { address: string; port: number }): boolean {
    return this.brokers.has(`${address}:${port}`);
  }

  #typed(type: string, place: EventPlace, process: ProcessState | undefined, threadId: number | undefined): BusEvent {
    const { container, k8s } = this.containers.of(process?.containerId);
    return {
      type,
      topic: type.slice(0, type.indexOf('.')),
      position: place.position,
      wallNs: place.wallNs,
      process: process && this.processes.context(process, threadId, this.named),
      container,
      k8s,
      self: process?.self,
    };
  }
}

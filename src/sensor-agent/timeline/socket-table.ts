/**
 * Finds the process that a TCP socket belongs to, and says nothing rather than the wrong one. Transitions in interrupt
 * context carry the pid of whatever task ran, so the owner is taken from transitions in process context and remembered
 * by the socket's address in the kernel. A connection is accepted in interrupt context: it belongs to the process that
 * listens on its port, where only one can be meant. The kernel does not say in which network namespace it is, and of
 * several sockets that listen on one port not which one took it: then the first transition in process context decides,
 * at the latest the one by which it is closed. Where the kernel tells who accepts (source/probe/recorded-points.ts), a
 * connection is accepted when that is told, and not before.
 */
import { SOCKETS_MAX } from '../../limits.js';
import type { NetworkContext } from '../../wire/event/event.js';
import { BoundedMap } from './bounded-map.js';
import type { ProcessState } from './process-state.js';

/** include/net/tcp_states.h */
export const TcpState = {
  ESTABLISHED: 1,
  SYN_SENT: 2,
  SYN_RECV: 3,
  CLOSE: 7,
  LISTEN: 10,
} as const;

export interface SocketTransition {
  readonly socket: bigint;
  readonly oldState: number;
  readonly newState: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** Wall time, nanoseconds since 1970. */
  readonly wallNs: bigint;
  /** The task on the CPU, unless in interrupt context. */
  readonly process: ProcessState | undefined;
}

export interface SocketMeaning {
  readonly type: 'network.tcp.connect' | 'network.tcp.accept' | 'network.tcp.listen' | 'network.tcp.close';
  readonly process: ProcessState | undefined;
  /** network.tcp.connect: no connection came about. network.tcp.accept: it ended before a process took it. */
  readonly failed?: boolean;
  /** It is to be told when a process takes it: see wait(). */
  readonly waits?: boolean;
}

/** How a socket came to be what it is. */
const Role = { UNKNOWN: 0, CONNECTING: 1, CONNECTED: 2, ACCEPTED: 3 } as const;
type Role = (typeof Role)[keyof typeof Role];

interface Connection {
  process: ProcessState | undefined;
  role: Role;
  /** Set while no process has taken it, where the kernel tells who does. */
  waiting?: NetworkContext | undefined;
  /** A process has taken it before it was established. */
  isTaken?: boolean;
}

interface ListeningSocket {
  /** Its address in the kernel. */
  readonly socket: bigint;
  readonly endpoint: string;
  /** Undefined where the one that listened has ended and left it to several. */
  readonly process: ProcessState | undefined;
  /** Processes that were forked later have the socket too. */
  readonly sinceWallNs: bigint;
}

/** Indices are those of processes; -1: unknown. Earlier versions wrote only the first two of each. */
export interface SocketTableState {
  /** Socket, process, role, and of an accepted one what waits to be taken, or true: it is taken. */
  readonly owners: readonly (readonly [bigint, number, number?, (NetworkContext | true)?])[];
  /** `address:port`, process, socket, since when. */
  readonly listeners: readonly (readonly [string, number, bigint?, bigint?])[];
}

export class SocketTable {
  #connections = new BoundedMap<bigint, Connection>(SOCKETS_MAX);
  #listening = new BoundedMap<bigint, ListeningSocket>(SOCKETS_MAX);
  /** The same by endpoint, and by who listens. */
  #byEndpoint = new Map<string, Set<ListeningSocket>>();
  #byPid = new Map<number, Set<ListeningSocket>>();
  /** Sockets that listened before recording began have no known address: they get negative ones. */
  #unseen = -1n;

  /** Whether the kernel tells who accepts a connection. */
  tellsAccepts = false;

  /** The typed event that a transition stands for; undefined when none. */
  follow(t: SocketTransition): SocketMeaning | undefined {
    switch (t.newState) {
      case TcpState.LISTEN:
        return this.#listen(t);
      case TcpState.SYN_SENT:
        this.#connections.set(t.socket, { process: t.process, role: Role.CONNECTING });
        return undefined;
      case TcpState.SYN_RECV:
        // One that connects to itself, or to one that connects to it at the same moment, comes this way too.
        if (this.#connections.get(t.socket)?.role !== Role.CONNECTING) this.#accept(t);
        return undefined;
      case TcpState.ESTABLISHED:
        return this.#establish(t);
      case TcpState.CLOSE:
        return this.#close(t);
      default:
        this.#touch(t);
        return this.#actedOn(t);
    }
  }

  /** Keeps what is told of a connection when a process takes it. */
  wait(socket: bigint, network: NetworkContext): void {
    const connection = this.#connections.get(socket);
    if (connection) connection.waiting = network;
  }

  /** A process has taken a connection: returns what is told of it now; undefined where that was told, or waits on. */
  taken(socket: bigint, process: ProcessState): NetworkContext | undefined {
    const connection = this.#connections.get(socket);
    // Sockets of other families are accepted, too.
    if (connection?.role !== Role.ACCEPTED) return undefined;
    const { waiting } = connection;
    connection.process = process;
    connection.isTaken = true;
    connection.waiting = undefined;
    return waiting;
  }

  /** Adds a socket that listened before recording began. `endpoint`: `address:port`. */
  listening(endpoint: string, process: ProcessState): void {
    for (const { process: known } of this.#byEndpoint.get(endpoint) ?? []) if (known?.pid === process.pid) return;
    this.#addListener({ socket: this.#unseen--, endpoint, process, sinceWallNs: 0n });
  }

  /** Whether a process that ends has sockets that listen: those who were forked since have them too. */
  listens(process: ProcessState): boolean {
    return this.#byPid.has(process.pid);
  }

  /** The process has ended. `heirs` are those that it forked and that live. */
  ended(process: ProcessState, heirs: readonly ProcessState[]): void {
    for (const listener of [...(this.#byPid.get(process.pid) ?? [])]) {
      const having = heirs.filter(({ createdWallNs }) => (createdWallNs ?? 0n) >= listener.sinceWallNs);
      this.#drop(listener.socket);
      // The kernel closes what nobody has.
      if (having.length > 0) this.#addListener({ ...listener, process: having.length === 1 ? having[0] : undefined });
    }
  }

  #listen(t: SocketTransition): SocketMeaning {
    const process = t.process ?? this.#connections.get(t.socket)?.process;
    const endpoint = `${t.localAddress}:${t.localPort}`;
    // It may have been found before recording began, without its address in the kernel.
    for (const other of this.#byEndpoint.get(endpoint) ?? [])
      if (other.socket < 0n && other.process?.pid === process?.pid) this.#drop(other.socket);
    this.#addListener({ socket: t.socket, endpoint, process, sinceWallNs: t.wallNs });
    return { type: 'network.tcp.listen', process };
  }

  /** A connection's socket is born in interrupt context: its owner is who can only have been listening. */
  #accept(t: SocketTransition): Connection {
    const accepted: Connection = { process: this.#onlyListener(t), role: Role.ACCEPTED };
    this.#connections.set(t.socket, accepted);
    return accepted;
  }

  #onlyListener({ localAddress, localPort }: SocketTransition): ProcessState | undefined {
    const everywhere = localAddress.includes(':') ? ['::'] : ['0.0.0.0', '::'];
    let found: ProcessState | undefined;
    for (const address of [localAddress, ...everywhere]) {
      for (const { process } of this.#byEndpoint.get(`${address}:${localPort}`) ?? []) {
        if (process === undefined || (found !== undefined && found.pid !== process.pid)) return undefined;
        found = process;
      }
    }
    return found;
  }

  #establish(t: SocketTransition): SocketMeaning {
    const known = this.#connections.get(t.socket);
    if (t.oldState === TcpState.SYN_SENT || known?.role === Role.CONNECTING) {
      const process = known?.process ?? t.process;
      this.#connections.set(t.socket, { process, role: Role.CONNECTED });
      return { type: 'network.tcp.connect', process };
    }
    const { process, isTaken } = known?.role === Role.ACCEPTED ? known : this.#accept(t);
    return { type: 'network.tcp.accept', process, waits: this.tellsAccepts && isTaken !== true };
  }

  /** Who acts on a connection has taken it, also where that was not told: a probe may have been removed. */
  #actedOn({ socket, process }: SocketTransition): SocketMeaning | undefined {
    const known = this.#connections.get(socket);
    if (process === undefined || known?.waiting === undefined) return undefined;
    known.waiting = undefined;
    known.isTaken = true;
    return { type: 'network.tcp.accept', process };
  }

  /** In process context who acts on a socket has it; an accepted one was its listener's by inference only. */
  #touch({ socket, process }: SocketTransition): void {
    if (process === undefined) return;
    const known = this.#connections.get(socket);
    if (known === undefined) this.#connections.set(socket, { process, role: Role.UNKNOWN });
    else if (known.role === Role.ACCEPTED || known.process === undefined) known.process = process;
  }

  #close(t: SocketTransition): SocketMeaning | undefined {
    if (t.oldState === TcpState.LISTEN) {
      this.#closeListener(t);
      this.#connections.delete(t.socket);
      return undefined;
    }
    this.#touch(t);
    const known = this.#connections.get(t.socket);
    this.#connections.delete(t.socket);
    const process = known?.process;
    if (t.oldState === TcpState.SYN_SENT || known?.role === Role.CONNECTING)
      return { type: 'network.tcp.connect', process, failed: true };
    if (known?.waiting) return { type: 'network.tcp.accept', process, failed: true };
    // A half-open connection was never told as accepted, so its end is not told either.
    if (t.oldState === TcpState.SYN_RECV) return undefined;
    return { type: 'network.tcp.close', process };
  }

  #closeListener(t: SocketTransition): void {
    if (this.#drop(t.socket)) return;
    // One from before recording began: which of several on this endpoint, only who closes it tells.
    const endpoint = `${t.localAddress}:${t.localPort}`;
    const unseen = [...(this.#byEndpoint.get(endpoint) ?? [])].filter(({ socket }) => socket < 0n);
    const closed = unseen.find(({ process }) => process?.pid === t.process?.pid) ?? unseen[0];
    if (closed !== undefined) this.#drop(closed.socket);
  }

  #addListener(listener: ListeningSocket): void {
    this.#drop(listener.socket);
    if (this.#listening.size >= SOCKETS_MAX) this.#drop(this.#listening.keys().next().value!);
    this.#listening.set(listener.socket, listener);
    addTo(this.#byEndpoint, listener.endpoint, listener);
    if (listener.process) addTo(this.#byPid, listener.process.pid, listener);
  }

  #drop(socket: bigint): boolean {
    const listener = this.#listening.get(socket);
    if (listener === undefined) return false;
    this.#listening.delete(socket);
    removeFrom(this.#byEndpoint, listener.endpoint, listener);
    if (listener.process) removeFrom(this.#byPid, listener.process.pid, listener);
    return true;
  }

  clear(): void {
    this.#connections.clear();
    this.#listening.clear();
    this.#byEndpoint.clear();
    this.#byPid.clear();
  }

  save(indexOf: (process: ProcessState) => number): SocketTableState {
    const index = (process: ProcessState | undefined) => (process === undefined ? -1 : indexOf(process));
    return {
      owners: Array.from(this.#connections, ([socket, { process, role, waiting, isTaken }]) => {
        const taken = waiting ?? (isTaken || undefined);
        return taken === undefined ? [socket, index(process), role] : [socket, index(process), role, taken];
      }),
      listeners: Array.from(this.#listening, ([socket, { endpoint, process, sinceWallNs }]) => [
        endpoint,
        index(process),
        socket,
        sinceWallNs,
      ]),
    };
  }

  load(state: SocketTableState, processes: readonly ProcessState[]): void {
    this.clear();
    for (const [socket, at, role = Role.UNKNOWN, taken] of state.owners) {
      if (at >= 0 && processes[at] === undefined) continue;
      const waiting = taken === true ? undefined : taken;
      this.#connections.set(socket, { process: processes[at], role: role as Role, waiting, isTaken: taken === true });
    }
    for (const [endpoint, at, socket, sinceWallNs] of state.listeners) {
      if (at >= 0 && processes[at] === undefined) continue;
      const address = socket ?? this.#unseen--;
      if (address < 0n && address <= this.#unseen) this.#unseen = address - 1n;
      this.#addListener({ socket: address, endpoint, process: processes[at], sinceWallNs: sinceWallNs ?? 0n });
    }
  }
}

function addTo<Key>(index: Map<Key, Set<ListeningSocket>>, key: Key, listener: ListeningSocket): void {
  const same = index.get(key);
  if (same) same.add(listener);
  else index.set(key, new Set([listener]));
}

function removeFrom<Key>(index: Map<Key, Set<ListeningSocket>>, key: Key, listener: ListeningSocket): void {
  const same = index.get(key);
  same?.delete(listener);
  if (same?.size === 0) index.delete(key);
}

/**
 * Finds the process that a TCP socket belongs to. Transitions in interrupt
 * context carry the pid of whatever task ran, so the owner is taken from
 * transitions in process context and remembered by the socket's address in the
 * kernel. An accepted connection belongs to the process that listened on its
 * port.
 */
import { SOCKETS_MAX } from '../../limits.js';
import { BoundedMap } from './bounded-map.js';
import type { ProcessState } from './process-table.js';

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
  /** The task on the CPU, unless in interrupt context. */
  readonly process: ProcessState | undefined;
}

export interface SocketMeaning {
  readonly type: 'network.tcp.connect' | 'network.tcp.accept' | 'network.tcp.listen' | 'network.tcp.close';
  readonly process: ProcessState | undefined;
}

export interface SocketTableState {
  /** Socket, index of its process. */
  readonly owners: readonly (readonly [bigint, number])[];
  /** `address:port`, index of the process that listens. */
  readonly listeners: readonly (readonly [string, number])[];
}

export class SocketTable {
  #owners = new BoundedMap<bigint, ProcessState>(SOCKETS_MAX);
  #listeners = new BoundedMap<string, ProcessState>(SOCKETS_MAX);

  /** The typed event that a transition stands for; undefined when none. */
  follow(t: SocketTransition): SocketMeaning | undefined {
    if (t.process && !this.#owners.has(t.socket)) this.#owners.set(t.socket, t.process);
    switch (t.newState) {
      case TcpState.LISTEN:
        return this.#listen(t);
      case TcpState.SYN_RECV:
        this.#inherit(t);
        return undefined;
      case TcpState.ESTABLISHED:
        if (t.oldState === TcpState.SYN_SENT)
          return { type: 'network.tcp.connect', process: this.#owners.get(t.socket) };
        this.#inherit(t);
        return { type: 'network.tcp.accept', process: this.#owners.get(t.socket) };
      case TcpState.CLOSE:
        return this.#close(t);
      default:
        return undefined;
    }
  }

  /** Adds a socket that listened before recording began. `endpoint`: `address:port`. */
  listening(endpoint: string, process: ProcessState): void {
    this.#listeners.set(endpoint, process);
  }

  #listen(t: SocketTransition): SocketMeaning {
    const process = t.process ?? this.#owners.get(t.socket);
    if (process) this.#listeners.set(`${t.localAddress}:${t.localPort}`, process);
    return { type: 'network.tcp.listen', process };
  }

  /** A new connection's socket is born in interrupt context: its owner is the listener. */
  #inherit(t: SocketTransition): void {
    const listener =
      this.#listeners.get(`${t.localAddress}:${t.localPort}`) ??
      this.#listeners.get(`0.0.0.0:${t.localPort}`) ??
      this.#listeners.get(`:::${t.localPort}`);
    if (listener) this.#owners.set(t.socket, listener);
    else if (!t.process) this.#owners.delete(t.socket);
  }

  #close(t: SocketTransition): SocketMeaning | undefined {
    const process = this.#owners.get(t.socket) ?? t.process;
    this.#owners.delete(t.socket);
    if (t.oldState === TcpState.LISTEN) {
      this.#listeners.delete(`${t.localAddress}:${t.localPort}`);
      return undefined;
    }
    // A half-open connection was never told as accepted, so its end is not told either.
    if (t.oldState === TcpState.SYN_RECV) return undefined;
    return { type: 'network.tcp.close', process };
  }

  clear(): void {
    this.#owners.clear();
    this.#listeners.clear();
  }

  save(indexOf: (process: ProcessState) => number): SocketTableState {
    return {
      owners: Array.from(this.#owners, ([socket, process]) => [socket, indexOf(process)]),
      listeners: Array.from(this.#listeners, ([key, process]) => [key, indexOf(process)]),
    };
  }

  load(state: SocketTableState, processes: readonly ProcessState[]): void {
    this.clear();
    for (const [socket, at] of state.owners) if (processes[at]) this.#owners.set(socket, processes[at]);
    for (const [key, at] of state.listeners) if (processes[at]) this.#listeners.set(key, processes[at]);
  }
}

/**
 * Where the kernel has no kprobes: what UDP sockets do, from the routes that the kernel looks up for them. It does so in
 * the thread that connects a socket or sends by one that is not connected, and only then; the look-up has the socket's
 * port and the peer, the end of a send has the socket.
 *
 *   connect() begins ─▶ look-ups ─▶ connect() returns       a socket was connected
 *   look-ups ─▶ a send ends                                 a datagram was sent
 *
 * A connected socket has its route and looks none up: what it sends is not seen. Look-ups for several peers before one
 * send, as tunnels make them for what they carry, say nothing.
 */
import { DATAGRAM_ROUTE_NS_MAX, DATAGRAM_THREADS_MAX } from '../../../limits.js';
import { BoundedMap } from '../bounded-map.js';

/** What a look-up asks for. Addresses are text; that of the socket is empty where it has none yet. */
export interface Route {
  readonly ipv6: boolean;
  readonly localAddress: string;
  readonly localPort: number;
  readonly peerAddress: string;
  readonly peerPort: number;
  /** Trace clock. */
  readonly timeNs: bigint;
}

interface Thread {
  /** It is in connect(). */
  readonly connects: boolean;
  /** What was asked for; several where that is not one. */
  route: Route | 'several' | undefined;
}

/** A thread, and what it is about. */
export type DatagramThreadState = readonly [number, boolean, (Route | 'several')?];

export class DatagramRoutes {
  readonly #threads = new BoundedMap<number, Thread>(DATAGRAM_THREADS_MAX);

  connects(threadId: number): void {
    this.#threads.set(threadId, { connects: true, route: undefined });
  }

  /** The thread's connect() has returned: the peer that was asked for in it. */
  connected(threadId: number): Route | undefined {
    const thread = this.#take(threadId);
    // One that had begun before these events were recorded may have asked for more than was seen.
    return thread?.connects === true ? single(thread) : undefined;
  }

  asked(threadId: number, route: Route): void {
    const thread = this.#threads.get(threadId);
    if (thread === undefined) this.#threads.set(threadId, { connects: false, route });
    else if (thread.route === undefined || thread.route === 'several') thread.route ??= route;
    else thread.route = isSame(thread.route, route) ? route : 'several';
  }

  /** A send of the thread has ended, at `timeNs`: the peer that was asked for by it. */
  sent(threadId: number, timeNs: bigint): Route | undefined {
    const thread = this.#take(threadId);
    const route = thread?.connects === false ? single(thread) : undefined;
    return route !== undefined && timeNs - route.timeNs <= DATAGRAM_ROUTE_NS_MAX ? route : undefined;
  }

  /** The thread has ended, or does something else now. */
  forget(threadId: number): void {
    this.#threads.delete(threadId);
  }

  /** Events are missing from here on. */
  clear(): void {
    this.#threads.clear();
  }

  save(): DatagramThreadState[] {
    return Array.from(this.#threads, ([threadId, { connects, route }]) =>
      route === undefined ? [threadId, connects] : [threadId, connects, route],
    );
  }

  load(threads: readonly DatagramThreadState[]): void {
    this.clear();
    for (const [threadId, connects, route] of threads) this.#threads.set(threadId, { connects, route });
  }

  #take(threadId: number): Thread | undefined {
    const thread = this.#threads.get(threadId);
    this.#threads.delete(threadId);
    return thread;
  }
}

function single({ route }: Thread): Route | undefined {
  return route === 'several' ? undefined : route;
}

/** A second look-up of the same connect() has the address that the first one gave the socket. */
function isSame(one: Route, other: Route): boolean {
  return one.peerAddress === other.peerAddress && one.peerPort === other.peerPort && one.localPort === other.localPort;
}

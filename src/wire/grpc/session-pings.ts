/**
 * Signs of life of a gRPC connection, beyond its TCP: a process that is stopped keeps its connection, and no longer
 * answers HTTP/2's PING. The library has one interval for all connections of a server; here those that need it are asked
 * more often.
 */
import type { ServerHttp2Session } from 'node:http2';
import type { Metadata, Server } from '@grpc/grpc-js';
import { GROUP_PING_INTERVAL_MS } from '../../limits.js';
import { interceptStreams } from './stream-gate.js';

/** Metadata key under which a handler finds its call's connection; what a caller sends under it is dropped. */
const CONNECTION_KEY = 'backplane-connection';
/** Asked at least so many times before a connection counts as silent. */
const PINGS_MIN = 5;

const sessions = new Map<string, ServerHttp2Session>();
const ids = new WeakMap<ServerHttp2Session, string>();
let lastId = 0;

/** Lets handlers find the connections of their calls. Call after bind. */
export function nameConnections(server: Server): void {
  interceptStreams(server, ({ session }, headers) => {
    if (session === undefined) delete headers[CONNECTION_KEY];
    else headers[CONNECTION_KEY] = idOf(session as ServerHttp2Session);
  });
}

/** The connection of a call; undefined when it has ended. */
export function connectionOf(metadata: Metadata): Connection | undefined {
  const session = sessions.get(String(metadata.get(CONNECTION_KEY)[0] ?? ''));
  return session && new Connection(session);
}

/** A connection of HTTP/2 that carries no gRPC. */
export function connectionOfSession(session: ServerHttp2Session): Connection {
  return new Connection(session);
}

function idOf(session: ServerHttp2Session): string {
  let id = ids.get(session);
  if (id === undefined) {
    id = String(++lastId);
    ids.set(session, id);
    const own = id;
    sessions.set(own, session);
    session.once('close', () => sessions.delete(own));
  }
  return id;
}

class Connection {
  readonly #session: ServerHttp2Session;

  constructor(session: ServerHttp2Session) {
    this.#session = session;
  }

  get isOpen(): boolean {
    return !this.#session.closed && !this.#session.destroyed && this.#session.socket?.destroyed === false;
  }

  /** Ends it at once, with all of its calls. */
  end(): void {
    this.#session.destroy();
  }

  /**
   * Calls `onSilent` once when no PING was answered for so long; returns a function that ends the watch. All watches of a
   * connection must have the same time.
   */
  watch(timeoutMs: number, onSilent: () => void): () => void {
    let pings = pingsOf.get(this.#session);
    if (pings === undefined) {
      pings = new Pings(this.#session, timeoutMs);
      pingsOf.set(this.#session, pings);
    }
    return pings.watch(onSilent);
  }
}

const pingsOf = new WeakMap<ServerHttp2Session, Pings>();

/** Asks one connection for signs of life while anybody watches it. */
class Pings {
  readonly #watchers = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #silentMs = 0;
  #asked = false;
  #lookedMs = 0;
  readonly #session: ServerHttp2Session;
  readonly #timeoutMs: number;
  readonly #intervalMs: number;

  constructor(session: ServerHttp2Session, timeoutMs: number) {
    this.#session = session;
    this.#timeoutMs = timeoutMs;
    this.#intervalMs = Math.min(GROUP_PING_INTERVAL_MS, Math.ceil(timeoutMs / PINGS_MIN));
  }

  watch(onSilent: () => void): () => void {
    // An own function for each, so that the same one may watch twice.
    const watcher = () => onSilent();
    this.#watchers.add(watcher);
    if (this.#timer === undefined) {
      this.#lookedMs = performance.now();
      this.#silentMs = 0;
      this.#timer = setInterval(() => this.#look(), this.#intervalMs).unref();
    }
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.#stop();
    };
  }

  #look(): void {
    const nowMs = performance.now();
    // From the last answer on, in steps, so that a pause of this process is not taken for the peer's.
    this.#silentMs += Math.min(nowMs - this.#lookedMs, 2 * this.#intervalMs);
    this.#lookedMs = nowMs;
    if (this.#silentMs >= this.#timeoutMs) {
      const silent = [...this.#watchers];
      this.#watchers.clear();
      this.#stop();
      for (const onSilent of silent) onSilent();
      return;
    }
    if (this.#asked || this.#session.destroyed || this.#session.closed) return;
    this.#asked = this.#session.ping((error) => {
      this.#asked = false;
      if (error === null) this.#silentMs = 0;
    });
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

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

  /** Calls `onSilent` once when no PING was answered for so long; returns a function that ends the watch. */
  watch(timeoutMs: number, onSilent: () => void): () => void {
    return watchPings(this.#session, timeoutMs, onSilent);
  }
}

/** The time counts in steps, so that a pause of this process is not taken for the peer's. */
function watchPings(session: ServerHttp2Session, timeoutMs: number, onSilent: () => void): () => void {
  const intervalMs = Math.min(GROUP_PING_INTERVAL_MS, Math.ceil(timeoutMs / PINGS_MIN));
  let silentMs = 0;
  let asked = false;
  let lookedMs = performance.now();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    if (asked) silentMs += Math.min(nowMs - lookedMs, 2 * intervalMs);
    lookedMs = nowMs;
    if (silentMs >= timeoutMs) {
      clearInterval(timer);
      onSilent();
      return;
    }
    if (asked || session.destroyed || session.closed) return;
    asked = session.ping((error) => {
      asked = false;
      if (error === null) silentMs = 0;
    });
  }, intervalMs).unref();
  return () => clearInterval(timer);
}

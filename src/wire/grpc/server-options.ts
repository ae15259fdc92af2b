/**
 * The gRPC server's options, and its HTTP/2 receive windows, for which the library has no option: it ignores
 * `grpc-node.flow_control_window` on servers, and would leave an uplink 64 KB a round trip.
 */
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { Server, ServerInterceptor, ServerOptions } from '@grpc/grpc-js';
import { BackplaneError } from '../../errors.js';
import { ConnectionPlaces } from '../../flow/connection-places.js';
import { everySecond } from '../../flow/long-timer.js';
import {
  CONNECTION_IDLE_MS,
  GRPC_CONNECTIONS_MAX,
  MESSAGE_BYTES_MAX,
  SESSION_WINDOW_BYTES,
  STREAMS_PER_CONNECTION_MAX,
  UPLINK_WINDOW_BYTES,
  UPLINK_WINDOW_BYTES_MIN,
  UPLINK_WINDOWS_BYTES_MAX,
} from '../../limits.js';
import { endClosedStreams } from './closed-streams.js';
import { guardMessages } from './message-guard.js';
import { SignsOfLife } from './signs-of-life.js';

/**
 * @param interceptor with any, the library passes nothing to a handler once a call was cancelled or its deadline has
 *   passed. Without one, it starts a call whose request ends later than that, and never tells the handler that it is over.
 */
export function serverOptions(interceptor: ServerInterceptor): ServerOptions {
  return {
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_send_message_length': MESSAGE_BYTES_MAX + 64 * 1024,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION_MAX,
    'grpc.max_connection_idle_ms': CONNECTION_IDLE_MS,
    'grpc.enable_channelz': 0,
    interceptors: [interceptor],
  };
}

/** Internals of the library; checked before they are used, so that an upgrade cannot silently disable the windows. */
interface Internals {
  commonServerOptions?: { settings?: { maxConcurrentStreams?: number; initialWindowSize?: number } };
  http2Servers?: Map<Http2Server, unknown>;
}

/** Call between construction and bind. */
export function setStreamWindow(server: Server): void {
  const { commonServerOptions } = server as unknown as Internals;
  if (commonServerOptions?.settings === undefined) throw changed();
  commonServerOptions.settings.initialWindowSize = UPLINK_WINDOW_BYTES;
}

/**
 * Call after bind: every new connection gets the larger window, or its streams smaller ones where there are many, and its
 * messages are guarded. Returns a function that
 * ends all connections at once, because the library's shutdown waits for peers that may never close.
 */
export function setSessionWindow(
  server: Server,
  connectionsMax = GRPC_CONNECTIONS_MAX,
  windowsBytesMax = UPLINK_WINDOWS_BYTES_MAX,
): () => void {
  const sockets = new Set<Socket>();
  const places = new ConnectionPlaces<ServerHttp2Session>(connectionsMax);
  const signs = new SignsOfLife();
  const endLooks = everySecond(() => signs.look());
  for (const http2Server of http2Servers(server)) {
    http2Server.on('session', (session: ServerHttp2Session) => {
      places.add(session);
      if (session.destroyed) return;
      session.setLocalWindowSize(SESSION_WINDOW_BYTES);
      const initialWindowSize = Math.max(UPLINK_WINDOW_BYTES_MIN, Math.floor(windowsBytesMax / places.size));
      if (initialWindowSize < UPLINK_WINDOW_BYTES) session.settings({ initialWindowSize });
      signs.add(session);
      endClosedStreams(session);
      guardMessages(session, (busy) => (busy ? places.keep(session) : places.release(session)));
    });
    http2Server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
  }
  return () => {
    endLooks();
    for (const socket of sockets) socket.destroy();
  };
}

/** The servers that the library listens with. Throws before bind. */
export function http2Servers(server: Server): readonly Http2Server[] {
  const { http2Servers: bound } = server as unknown as Internals;
  if (bound === undefined || bound.size === 0) throw changed();
  return [...bound.keys()];
}

function changed(): BackplaneError {
  return new BackplaneError('internal', 'the gRPC library has changed inside: its receive windows cannot be set');
}

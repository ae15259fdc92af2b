/**
 * Ends streams of HTTP/2 that their peers have closed. A peer may close one without an error code (RST_STREAM NO_ERROR);
 * Node then waits until all that was written to it has been sent, which never happens: the stream would stay, with all that
 * was begun for it, as long as its connection.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';

/** Call once for each connection, before its first stream. */
export function endClosedStreams(session: ServerHttp2Session): void {
  session.on('stream', (stream) => endWhenClosed(stream as ServerHttp2Stream));
}

function endWhenClosed(stream: ServerHttp2Stream): void {
  // Later, because the close that is told here is still under way.
  const look = () => setImmediate(() => stream.closed && stream.destroy());
  // The first where the answer was still being written, the second where it had been written whole.
  stream.on('aborted', look);
  stream.on('end', look);
}

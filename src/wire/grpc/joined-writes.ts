/**
 * Messages that wait on a gRPC stream are written together. Each by itself takes a turn of the event loop: of a loaded process,
 * whose turns are long, one would get a few dozen a second.
 */
import type { ServerWritableStream } from '@grpc/grpc-js';

/** @param call nothing of it was written yet */
export function joinWrites(call: Pick<ServerWritableStream<unknown, unknown>, '_write' | '_writev'>): void {
  call._writev = (chunks, callback) => {
    let left = chunks.length;
    let failed: Error | null | undefined;
    const written = (error?: Error | null) => {
      left -= 1;
      failed ??= error;
      if (left === 0) callback(failed);
    };
    for (const { chunk, encoding } of chunks) call._write(chunk, encoding, written);
  };
}
